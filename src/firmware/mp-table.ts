/**
 * The table of processors and interrupts that PCs had before ACPI, for kernels that are told to do without. MultiProcessor Specification 1.4, chapter 4.
 * Linux looks for it in any case, and maps memory 4,000 times until it has found none.
 */
import { bytes, checksum, text, u8, u16, u32 } from './bytes.ts';

/** Where it is looked for second: the last KiB of conventional memory, whose first word is the area's own size. */
export const mpAddress = 0x9_fc10;

const revision = 4; // of the specification: 1.4
const Entry = { processor: 0, bus: 1, ioapic: 2, interrupt: 3, localInterrupt: 4 } as const;
const InterruptKind = { vectored: 0, nmi: 1, external: 3 } as const;
const enabledBootProcessor = 3;
const anyApic = 0xff;
const pci = { bus: 0, slots: 32, firstPin: 16, pins: 4 } as const;
const isa = { bus: 1, lines: 16 } as const;

/** One processor and one IOAPIC, both with ID 0: IRQ 0 of the ISA bus at pin 2, INTA of PCI's slots at pins 16 to 19 in turns. `signature`: what CPUID says in EAX. */
export function mpTable(signature: number): Uint8Array {
  const interrupt = (kind: number, bus: number, source: number, pin: number): number[] => [Entry.interrupt, kind, ...u16(0), bus, source, 0, pin];
  const local = (kind: number, pin: number): number[] => [Entry.localInterrupt, kind, ...u16(0), isa.bus, 0, anyApic, pin];
  const lines = Array.from({ length: isa.lines }, (_, irq) => irq).filter((irq) => irq !== 2); // the second 8259 is no source
  const slots = Array.from({ length: pci.slots }, (_, slot) => slot);
  const entries = [
    [Entry.processor, 0, 0x14, enabledBootProcessor, ...u32(signature), ...u32(0x201), ...u32(0), ...u32(0)], // it has an FPU and a local APIC
    [Entry.bus, pci.bus, ...text('PCI', 6)],
    [Entry.bus, isa.bus, ...text('ISA', 6)],
    [Entry.ioapic, 0, 0x20, 1, ...u32(0xfec0_0000)],
    ...lines.map((irq) => interrupt(InterruptKind.vectored, isa.bus, irq, irq === 0 ? 2 : irq)),
    ...slots.map((slot) => interrupt(InterruptKind.vectored, pci.bus, slot << 2, pci.firstPin + (slot % pci.pins))),
    local(InterruptKind.external, 0),
    local(InterruptKind.nmi, 1),
  ];
  const body = entries.flat();
  const headerBytes = 44;
  const table = bytes(
    ...[text('PCMP', 4), u16(headerBytes + body.length), u8(revision), u8(0), text('TESTUDO', 8), text('PC', 12)],
    ...[u32(0), u16(0), u16(entries.length), u32(0xfee0_0000), u16(0), u8(0), u8(0), body],
  );
  checksum(table, 7);
  const pointer = bytes(text('_MP_', 4), u32(mpAddress + 16), u8(1), u8(revision), u8(0), u8(0), u32(0));
  checksum(pointer, 10);
  return bytes(pointer, table);
}
