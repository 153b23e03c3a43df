/** The interrupt wiring of the machine: ISA lines to 8259 and IOAPIC, messages to local APICs. */
import type { InterruptMessage, LocalApic, LocalApicParts } from '../cpu/local-apic.ts';
import type { Line } from '../devices/device.ts';
import { IoApic } from '../devices/ioapic/ioapic.ts';
import type { MsiMessage } from '../devices/pci/function.ts';
import { Pic } from '../devices/pic/pic.ts';

export class InterruptController {
  readonly pic: Pic;
  readonly ioapic: IoApic;
  readonly #apics: LocalApic[] = [];

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
    const pin = 16 + (slot & 3);
    let own = false;
    return {
      set: (level) => {
        if (own === level) return;
        own = level;
        const count = (this.#asserted.get(pin) ?? 0) + (level ? 1 : -1);
        this.#asserted.set(pin, count);
        this.ioapic.setLine(pin, count > 0);
      },
    };
  }
  readonly #asserted = new Map<number, number>();

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
