/** ACPI fixed hardware at 0x600: power management events, sleep control, PM timer; and the reset register 0xCF9. ACPI 6.4, 4.8. */
import type { Clock } from '../../time/clock.ts';
import type { Line, PortDevice } from '../device.ts';

const pmTimerHz = 3_579_545;
const Event = { global: 0x20, powerButton: 0x100 } as const;

export interface PowerParts {
  readonly clock: Clock;
  readonly sci: Line;
  readonly powerOff: () => void;
}
const powerOn = () => ({ status: 0, enable: 0, control: 1, events: new Uint8Array(16) });

export class Power implements PortDevice {
  readonly name = 'acpi';
  readonly ports = [{ base: 0x600, count: 12 }, { base: 0x620, count: 16 }];
  readonly #clock: Clock;
  readonly #sci: Line;
  readonly #powerOff: () => void;
  state = powerOn();

  constructor({ clock, sci, powerOff }: PowerParts) {
    this.#clock = clock;
    this.#sci = sci;
    this.#powerOff = powerOff;
  }

  pressButton(): void {
    this.state.status |= Event.powerButton;
    this.#update();
  }
  #update(): void {
    this.#sci.set((this.state.status & this.state.enable) !== 0);
  }
  #byte(port: number): number {
    const s = this.state;
    if (port >= 0x620) return this.state.events[port - 0x620] ?? 0;
    const words = [s.status, s.enable, s.control | 1];
    const word = words[(port - 0x600) >> 1];
    return word === undefined ? 0 : (word >> (8 * (port & 1))) & 0xff;
  }
  read(port: number, width: number): number {
    if (port === 0x608 && width === 4) return Math.floor((this.#clock.nowNs() * pmTimerHz) / 1e9) >>> 0;
    let value = 0;
    for (let n = 0; n < width; n++) value |= this.#byte(port + n) << (8 * n);
    return value >>> 0;
  }
  write(port: number, width: number, value: number): void {
    const s = this.state;
    if (port >= 0x620) {
      // general-purpose events: status bits never rise, enables are kept
      for (let n = 0; n < width; n++) if (port + n >= 0x628) this.state.events[port + n - 0x620] = value >>> (8 * n);
      return;
    }
    if (width === 4 && port === 0x600) {
      this.write(0x600, 2, value & 0xffff);
      this.write(0x602, 2, value >>> 16);
      return;
    }
    const shift = 8 * (port & 1);
    const mask = (width === 1 ? 0xff : 0xffff) << shift;
    const word = (value << shift) & mask;
    switch (port & ~1) {
      case 0x600: s.status &= ~word; break;
      case 0x602: s.enable = (s.enable & ~mask) | word; break;
      case 0x604:
        s.control = (s.control & ~mask) | (word & ~0x2000) | 1;
        // the only sleep state is S5, with type 0
        if ((word & 0x2000) !== 0 && ((s.control >> 10) & 7) === 0) this.#powerOff();
        break;
    }
    this.#update();
  }
}
