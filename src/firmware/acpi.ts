/** ACPI tables: RSDP, XSDT, FADT, FACS, MADT, MCFG, HPET when there is one, and a DSDT put together as AML. ACPI 6.4, chapters 5 and 20. */
import * as aml from './aml.ts';
import { bytes, checksum, text, u8, u16, u32, u64 } from './bytes.ts';

export interface AcpiParts {
  readonly cpuCount: number;
  readonly ecamBase: number;
  readonly pciWindow: { readonly base: number; readonly end: number };
  readonly serialPorts: readonly { readonly port: number; readonly irq: number }[];
  readonly hpetBase: number | undefined;
}

export interface AcpiTables {
  /** Bytes to place at `base`, page-aligned. */
  readonly tables: Uint8Array;
  readonly rsdp: Uint8Array;
}

function table(signature: string, revision: number, body: readonly number[] | Uint8Array): Uint8Array {
  const data = bytes(text(signature, 4), u32(36 + body.length), u8(revision), u8(0), text('TSTUDO', 6), text('TESTUDO', 8), u32(1), text('TSTD', 4), u32(1), body);
  checksum(data, 9);
  return data;
}

function fadt(facs: number, dsdt: number): Uint8Array {
  const body = new Uint8Array(276 - 36);
  const view = new DataView(body.buffer);
  const at = (offset: number): number => offset - 36;
  const address = (offset: number, port: number, bits: number): void => {
    view.setUint8(at(offset), 1); // system I/O
    view.setUint8(at(offset) + 1, bits);
    view.setUint8(at(offset) + 3, bits === 8 ? 1 : bits === 16 ? 2 : 3);
    view.setUint32(at(offset) + 4, port, true);
  };
  view.setUint32(at(36), facs, true);
  view.setUint32(at(40), dsdt, true);
  view.setUint16(at(46), 9, true); // SCI
  view.setUint32(at(56), 0x600, true); // PM1a event
  view.setUint32(at(64), 0x604, true); // PM1a control
  view.setUint32(at(76), 0x608, true); // PM timer
  view.setUint32(at(80), 0x620, true); // GPE0
  view.setUint8(at(88), 4);
  view.setUint8(at(89), 2);
  view.setUint8(at(91), 4);
  view.setUint8(at(92), 16);
  view.setUint16(at(96), 0xfff, true); // no C2
  view.setUint16(at(98), 0xfff, true); // no C3
  view.setUint8(at(108), 0x32); // century in CMOS
  view.setUint16(at(109), 1 | 4, true); // legacy devices; no i8042 (bit 1), no VGA (bit 2)
  view.setUint32(at(112), 1 | 4 | 0x20 | 0x100 | 0x400, true); // WBINVD, C1, no sleep button, 32-bit PM timer, reset register
  address(116, 0xcf9, 8);
  view.setUint8(at(128), 0x0e);
  view.setBigUint64(at(140), BigInt(dsdt), true);
  address(148, 0x600, 32);
  address(172, 0x604, 16);
  address(208, 0x608, 32);
  address(220, 0x620, 128);
  view.setUint8(at(223), 1);
  return table('FACP', 6, body);
}

function madt(cpuCount: number): Uint8Array {
  const cpus = Array.from({ length: cpuCount }, (_, n) => [0, 8, n, n, ...u32(1)]).flat();
  return table('APIC', 5, [
    ...u32(0xfee0_0000), ...u32(1), ...cpus,
    1, 12, 0, 0, ...u32(0xfec0_0000), ...u32(0),
    2, 10, 0, 0, ...u32(2), ...u16(0), // the PIT's IRQ 0 is pin 2
    2, 10, 0, 9, ...u32(9), ...u16(0xd), // SCI: level, active high
    4, 6, 0xff, ...u16(0), 1, // NMI on LINT1 of all
  ]);
}

function dsdt({ ecamBase, pciWindow, serialPorts }: AcpiParts): Uint8Array {
  const routes = Array.from({ length: 32 * 4 }, (_, n) => {
    const [slot, pin] = [n >> 2, n & 3];
    return aml.packageOf([aml.integer(slot * 0x1_0000 + 0xffff), aml.integer(pin), aml.integer(0), aml.integer(16 + ((slot + pin) & 3))]);
  });
  const hostResources = [
    ...aml.wordBusNumber(0, 255), ...aml.io(0xcf8, 8), ...aml.wordIo(0, 0xcf7), ...aml.wordIo(0xd00, 0xffff), ...aml.dwordMemory(pciWindow.base, pciWindow.end - 1),
  ];
  const pci = aml.device('PCI0', [
    ...aml.name('_HID', aml.eisaId('PNP0A08')), ...aml.name('_CID', aml.eisaId('PNP0A03')), ...aml.name('_UID', aml.integer(0)),
    ...aml.name('_SEG', aml.integer(0)), ...aml.name('_BBN', aml.integer(0)), ...aml.name('_CRS', aml.resources(hostResources)),
    ...aml.name('_PRT', aml.packageOf(routes)),
  ]);
  const motherboard = aml.device('MBRD', [
    ...aml.name('_HID', aml.eisaId('PNP0C02')), ...aml.name('_UID', aml.integer(1)),
    ...aml.name('_CRS', aml.resources([...aml.memory32Fixed(ecamBase, 0x1000_0000), ...aml.io(0x600, 0x80)])),
  ]);
  const serial = serialPorts.flatMap(({ port, irq }, n) =>
    aml.device(`COM${n + 1}`, [
      ...aml.name('_HID', aml.eisaId('PNP0501')), ...aml.name('_UID', aml.integer(n + 1)), ...aml.name('_CRS', aml.resources([...aml.io(port, 8), ...aml.irq(irq)])),
    ]),
  );
  const rtc = aml.device('RTC0', [...aml.name('_HID', aml.eisaId('PNP0B00')), ...aml.name('_CRS', aml.resources([...aml.io(0x70, 2), ...aml.irq(8)]))]);
  const s5 = aml.name('\\_S5_', aml.packageOf([aml.integer(0), aml.integer(0), aml.integer(0), aml.integer(0)]));
  return table('DSDT', 2, [...s5, ...aml.scope('\\_SB_', [...pci, ...motherboard, ...serial, ...rtc])]);
}

export function acpiTables(base: number, parts: AcpiParts): AcpiTables {
  const chunks: Uint8Array[] = [];
  let next = base;
  const place = (data: Uint8Array): number => {
    const at = next;
    const padded = new Uint8Array((data.length + 63) & ~63);
    padded.set(data);
    chunks.push(padded);
    next += padded.length;
    return at;
  };
  const facs = place(bytes(text('FACS', 4), u32(64), new Uint8Array(24), u8(2), new Uint8Array(31)));
  const dsdtAt = place(dsdt(parts));
  const entries = [place(fadt(facs, dsdtAt)), place(madt(parts.cpuCount)), place(table('MCFG', 1, [...u64(0), ...u64(parts.ecamBase), ...u16(0), 0, 255, ...u32(0)]))];
  if (parts.hpetBase !== undefined) entries.push(place(table('HPET', 1, [...u32(0x8086_a201), 0, 64, 0, 0, ...u64(parts.hpetBase), 0, ...u16(0x80), 0])));
  const xsdt = place(table('XSDT', 1, entries.flatMap((e) => u64(e))));
  const rsdp = bytes(text('RSD PTR ', 8), u8(0), text('TSTUDO', 6), u8(2), u32(0), u32(36), u64(xsdt), u8(0), [0, 0, 0]);
  checksum(rsdp, 8, 20);
  checksum(rsdp, 32);
  return { tables: bytes(...chunks), rsdp };
}
