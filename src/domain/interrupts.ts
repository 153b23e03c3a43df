/** The interrupt wiring of the machine: ISA lines to 8259 and IOAPIC, messages to local APICs. */
import type { InterruptMessage, LocalApic, LocalApicParts } from '../cpu/local-apic.ts';
import type { Line } from '../devices/device.ts';
import { IoApic } from '../devices/ioapic/ioapic.ts';
import type { MsiMessage } from '../devices/pci/function.ts';
import { Pic } from '../devices/pic/pic.ts';

/** PCI lines end at so many pins of the IOAPIC, each of every fourth slot. */
const pciPins = 4;
const slotsOfPin = 0x1111_1111;

export class InterruptController {
  readonly pic: Pic;
  readonly ioapic: IoApic;
  readonly #apics: LocalApic[] = [];
  /** PCI slots that assert their line, a bit each. */
  state = { asserted: 0 };

  constructor(wake: () => void) {
    this.pic = new Pic((level) => {
      if (level) wake();
    });
    this.ioapic = new IoApic((message) => this.deliver(message));
  }
  /** Makes a local APIC with its connections to the bus, and adds it. */
  connect(make: (bus: Pick<LocalApicParts, 'send' | 'endOfInterrupt'>) => LocalApic): LocalApic {
    const apic = make({
      send: (message, shorthand, from) => this.command(message, shorthand, from),
      endOfInterrupt: (vector) => this.ioapic.endOfInterrupt(vector),
    });
    this.#apics.push(apic);
    return apic;
  }
  /** An ISA interrupt line: IRQ 0 is IOAPIC pin 2, the others have their own number. */
  isa(irq: number): Line {
    const pin = irq === 0 ? 2 : irq;
    return {
      set: (level) => {
        this.pic.setLine(irq, level);
        this.ioapic.setLine(pin, level);
      },
    };
  }
  /** A PCI line, shared by the devices of one pin: high while any of them asserts. */
  pci(slot: number): Line {
    const pin = slot & (pciPins - 1);
    const own = 1 << slot;
    const sharers = slotsOfPin << pin;
    return {
      set: (level) => {
        const before = this.state.asserted;
        this.state.asserted = level ? before | own : before & ~own;
        if (this.state.asserted !== before) this.ioapic.setLine(16 + pin, (this.state.asserted & sharers) !== 0);
      },
    };
  }

  deliver(message: InterruptMessage): void {
    const targets = this.#apics.filter((apic) => apic.accepts(message));
    // lowest priority: the first that accepts; all are equal here
    for (const apic of message.mode === 1 ? targets.slice(0, 1) : targets) apic.receive(message);
  }
  /** An interrupt command with its destination shorthand: 1 self, 2 all, 3 all but self. */
  command(message: InterruptMessage, shorthand: number, from: number): void {
    if (shorthand === 0) return this.deliver(message);
    this.#apics.forEach((apic, n) => {
      if (shorthand === 2 || (n === from) === (shorthand === 1)) apic.receive(message);
    });
  }
  message({ address, data }: MsiMessage): void {
    if (address >>> 20 !== 0xfee) return;
    this.deliver({
      destination: (address >>> 12) & 0xff,
      logical: (address & 4) !== 0,
      mode: (data >> 8) & 7,
      vector: data & 0xff,
      level: false,
    });
  }
}
