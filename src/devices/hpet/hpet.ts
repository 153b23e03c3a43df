/** High precision event timer with three comparators. IA-PC HPET specification 1.0a. */
import type { Clock } from '../../time/clock.ts';
import type { Timer, TimerQueue } from '../../time/timers.ts';
import type { DeviceWindow } from '../device.ts';

export const hpetBase = 0xfed0_0000;
const periodFs = 10_000_000;
const tickNs = periodFs / 1e6;
const comparators = 3;
/** Interrupt inputs a comparator may use: IOAPIC pins 16 to 23. */
const routes = 0x00ff_0000;
const Config = { level: 2n, enable: 4n, periodic: 8n, periodicCapable: 0x10n, wide: 0x20n, setAccumulator: 0x40n, narrow: 0x100n } as const;
const writable = Config.level | Config.enable | Config.periodic | Config.setAccumulator | Config.narrow | 0x3e00n;

interface Comparator {
  config: bigint;
  value: bigint;
  period: bigint;
  accumulator: boolean;
}
const powerOn = () => ({
  config: 0n, status: 0n, counter: 0n, startNs: 0,
  comparators: Array.from({ length: comparators }, (): Comparator => ({ config: Config.periodicCapable | Config.wide | (BigInt(routes) << 32n), value: ~0n & 0xffff_ffff_ffff_ffffn, period: 0n, accumulator: false })),
});

const bitsOf = (c: Comparator): 32 | 64 => ((c.config & Config.narrow) !== 0n ? 32 : 64);

export class Hpet implements DeviceWindow {
  readonly base = hpetBase;
  readonly size = 0x400;
  readonly #clock: Clock;
  readonly #timers: TimerQueue;
  readonly #deadlines: readonly Timer[];
  readonly #line: (pin: number, level: boolean) => void;
  state = powerOn();

  /** `line` drives IOAPIC pins; legacy replacement uses pins 2 and 8. */
  constructor({ clock, timers, line }: { readonly clock: Clock; readonly timers: TimerQueue; readonly line: (pin: number, level: boolean) => void }) {
    this.#clock = clock;
    this.#timers = timers;
    this.#line = line;
    this.#deadlines = Array.from({ length: comparators }, (_, n) => timers.create(() => this.#fire(n)));
  }

  get #running(): boolean {
    return (this.state.config & 1n) !== 0n;
  }
  #counter(): bigint {
    const s = this.state;
    return this.#running ? BigInt.asUintN(64, s.counter + BigInt(Math.floor((this.#clock.nowNs() - s.startNs) / tickNs))) : s.counter;
  }
  #pin(n: number): number {
    if ((this.state.config & 2n) !== 0n && n < 2) return n === 0 ? 2 : 8;
    return Number(((this.state.comparators[n]?.config ?? 0n) >> 9n) & 31n);
  }
  #schedule(n: number): void {
    const c = this.state.comparators[n];
    const timer = this.#deadlines[n];
    if (!c || !timer) return;
    // without its interrupt a match changes nothing that can be seen
    if (!this.#running || (c.config & Config.enable) === 0n) return this.#timers.clear(timer);
    const counter = this.#counter();
    const period = BigInt.asUintN(bitsOf(c), c.period);
    const behind = BigInt.asIntN(bitsOf(c), counter - c.value);
    // periods that passed unnoticed are one interrupt, as with a line that stays up
    if ((c.config & Config.periodic) !== 0n && period > 0n && behind >= 0n) c.value = BigInt.asUintN(64, c.value + period * (behind / period + 1n));
    const ahead = BigInt.asUintN(bitsOf(c), c.value - counter);
    this.#timers.set(timer, this.#clock.nowNs() + Number(ahead) * tickNs);
  }
  #fire(n: number): void {
    const c = this.state.comparators[n];
    if (!c) return;
    if ((c.config & Config.periodic) !== 0n && BigInt.asUintN(bitsOf(c), c.period) > 0n) this.#schedule(n);
    const level = (c.config & Config.level) !== 0n;
    if (level) this.state.status |= 1n << BigInt(n);
    this.#line(this.#pin(n), true);
    if (!level) this.#line(this.#pin(n), false);
  }

  #register(offset: number): bigint {
    const s = this.state;
    const c = s.comparators[(offset - 0x100) >> 5];
    switch (offset) {
      case 0x00: return (BigInt(periodFs) << 32n) | 0x8086_a201n;
      case 0x10: return s.config;
      case 0x20: return s.status;
      case 0xf0: return this.#counter();
    }
    if (offset < 0x100 || !c) return 0n;
    return (offset & 0x18) === 0 ? c.config : (offset & 0x18) === 8 ? c.value : 0n;
  }
  read(offset: number, _width: number): number {
    const value = this.#register(offset & ~7);
    return Number((offset & 4 ? value >> 32n : value) & 0xffff_ffffn);
  }
  write(offset: number, width: number, value: number): void {
    if (width !== 4 || (offset & 3) !== 0) return;
    const shift = offset & 4 ? 32n : 0n;
    const mask = 0xffff_ffffn << shift;
    const merged = (old: bigint): bigint => (old & ~mask) | (BigInt(value >>> 0) << shift);
    const s = this.state;
    const at = offset & ~7;
    if (at === 0x10) return this.#configure(merged(s.config) & 3n);
    if (at === 0x20) {
      const cleared = s.status & (BigInt(value >>> 0) << shift);
      s.status &= ~cleared;
      for (let n = 0; n < comparators; n++) if ((cleared >> BigInt(n)) & 1n) this.#line(this.#pin(n), false);
      return;
    }
    if (at === 0xf0) {
      if (!this.#running) s.counter = merged(s.counter);
      return;
    }
    const n = (at - 0x100) >> 5;
    const c = s.comparators[n];
    if (at < 0x100 || !c) return;
    if ((at & 0x18) === 0) {
      const next = merged(c.config);
      c.accumulator = (next & Config.setAccumulator) !== 0n;
      c.config = (c.config & ~writable) | (next & writable & ~Config.setAccumulator);
    } else if ((at & 0x18) === 8) {
      if ((c.config & Config.periodic) !== 0n && !c.accumulator) c.period = merged(c.period);
      else c.value = merged(c.value);
      if ((c.config & Config.periodic) !== 0n && c.accumulator && shift === 0n) c.period = c.value;
      c.accumulator = false;
    }
    this.#schedule(n);
  }
  #configure(config: bigint): void {
    const s = this.state;
    const counter = this.#counter();
    s.counter = counter;
    s.startNs = this.#clock.nowNs();
    s.config = config;
    for (let n = 0; n < comparators; n++) this.#schedule(n);
  }
}
