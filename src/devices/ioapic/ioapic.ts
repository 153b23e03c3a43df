/** The I/O APIC (82093AA, version 0x20 with an EOI register), 24 pins. */
import type { InterruptMessage } from '../../cpu/local-apic.ts';
import type { DeviceWindow } from '../device.ts';

const pins = 24;
const Bit = { status: 0x1000, polarity: 0x2000, remoteIrr: 0x4000, level: 0x8000, masked: 0x1_0000 } as const;
const powerOn = () => ({ select: 0, id: 0, low: new Uint32Array(pins).fill(Bit.masked), high: new Uint32Array(pins), lines: 0, edges: 0 });

export class IoApic implements DeviceWindow {
  readonly base = 0xfec0_0000;
  readonly size = 0x1000;
  readonly #send: (message: InterruptMessage) => void;
  state = powerOn();

  constructor(send: (message: InterruptMessage) => void) {
    this.#send = send;
  }

  setLine(pin: number, level: boolean): void {
    const s = this.state;
    const bit = 1 << pin;
    const rises = level && (s.lines & bit) === 0;
    s.lines = level ? s.lines | bit : s.lines & ~bit;
    if (rises) s.edges |= bit;
    this.#service(pin);
  }
  /** A local APIC ended a level-triggered vector. */
  endOfInterrupt(vector: number): void {
    const s = this.state;
    for (let pin = 0; pin < pins; pin++) {
      const low = s.low[pin] ?? 0;
      if ((low & 0xff) !== vector || (low & Bit.level) === 0) continue;
      s.low[pin] = low & ~Bit.remoteIrr;
      this.#service(pin);
    }
  }
  #service(pin: number): void {
    const s = this.state;
    const low = s.low[pin] ?? 0;
    const bit = 1 << pin;
    if ((low & Bit.masked) !== 0) return;
    if ((low & Bit.level) !== 0) {
      if ((s.lines & bit) === 0 || (low & Bit.remoteIrr) !== 0) return;
      s.low[pin] = low | Bit.remoteIrr;
    } else {
      if ((s.edges & bit) === 0) return;
      s.edges &= ~bit;
    }
    this.#send({ destination: (s.high[pin] ?? 0) >>> 24, logical: (low & 0x800) !== 0, mode: (low >> 8) & 7, vector: low & 0xff, level: (low & Bit.level) !== 0 });
  }

  read(offset: number, _width: number): number {
    const s = this.state;
    if ((offset & ~3) === 0) return s.select;
    if ((offset & ~3) !== 0x10) return 0;
    const register = s.select;
    if (register === 0 || register === 2) return s.id << 24;
    if (register === 1) return ((pins - 1) << 16) | 0x20;
    const pin = (register - 0x10) >> 1;
    if (register < 0x10 || pin >= pins) return 0;
    return (register & 1 ? s.high[pin] : s.low[pin]) ?? 0;
  }
  write(offset: number, _width: number, value: number): void {
    const s = this.state;
    if (offset === 0) s.select = value & 0xff;
    else if (offset === 0x40) this.endOfInterrupt(value & 0xff);
    if (offset !== 0x10) return;
    const register = s.select;
    if (register === 0) s.id = (value >>> 24) & 15;
    const pin = (register - 0x10) >> 1;
    if (register < 0x10 || pin >= pins) return;
    if (register & 1) {
      s.high[pin] = value & 0xff00_0000;
      return;
    }
    const kept = (s.low[pin] ?? 0) & (Bit.remoteIrr | Bit.status);
    const next = (value & 0x1_afff) | kept;
    s.low[pin] = (next & Bit.level) === 0 ? next & ~Bit.remoteIrr : next;
    if ((value & Bit.masked) !== 0) s.edges &= ~(1 << pin); // an edge while masked is lost
    this.#service(pin);
  }
}
