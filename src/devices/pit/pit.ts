/** 8254 programmable interval timer with port 0x61 (gate and output of counter 2). Intel 8254 data sheet. */
import type { Clock } from '../../time/clock.ts';
import type { Timer, TimerQueue } from '../../time/timers.ts';
import type { Line } from '../device.ts';
import { ByteDevice } from '../port-bus.ts';

const pitHz = 1_193_182;
const tickNs = 1e9 / pitHz;

interface Counter {
  mode: number;
  bcd: boolean;
  /** 1 low byte, 2 high byte, 3 both. */
  access: number;
  reload: number;
  startNs: number;
  /** A mode was written and no count yet. */
  waiting: boolean;
  gate: boolean;
  writeLow: number;
  writeHighNext: boolean;
  readHighNext: boolean;
  latch: number;
  latchedBytes: number;
  status: number;
}
const powerOnCounter = (gate: boolean): Counter => ({
  mode: 3, bcd: false, access: 3, reload: 0x1_0000, startNs: 0, waiting: true, gate, writeLow: 0, writeHighNext: false, readHighNext: false,
  latch: 0, latchedBytes: 0, status: -1,
});

export class Pit extends ByteDevice {
  readonly name = 'pit';
  readonly ports = [{ base: 0x40, count: 4 }, { base: 0x61, count: 1 }];
  readonly #clock: Clock;
  readonly #timers: TimerQueue;
  readonly #timer: Timer;
  readonly #irq: Line;
  state = { counters: [powerOnCounter(true), powerOnCounter(true), powerOnCounter(false)] as [Counter, Counter, Counter], speaker: 0 };

  constructor({ clock, timers, irq }: { readonly clock: Clock; readonly timers: TimerQueue; readonly irq: Line }) {
    super();
    this.#clock = clock;
    this.#timers = timers;
    this.#irq = irq;
    this.#timer = timers.create((now) => this.#fire(now));
  }

  #elapsed(c: Counter, nowNs: number): number {
    return Math.max(0, Math.floor((nowNs - c.startNs) / tickNs));
  }
  #value(c: Counter, nowNs: number): number {
    if (c.waiting) return c.reload & 0xffff;
    const ticks = this.#elapsed(c, nowNs);
    let value: number;
    if (c.mode === 2) value = c.reload - (ticks % c.reload);
    else if (c.mode === 3) value = c.reload - ((ticks * 2) % c.reload);
    else value = (c.reload - ticks) & 0xffff;
    value &= 0xffff;
    if (!c.bcd) return value;
    const digits = String(((value % 10_000) + 10_000) % 10_000).padStart(4, '0');
    return Number.parseInt(digits, 16);
  }
  #output(c: Counter, nowNs: number): boolean {
    if (c.waiting) return c.mode !== 0;
    const ticks = this.#elapsed(c, nowNs);
    switch (c.mode) {
      case 0: case 1: return ticks >= c.reload;
      case 2: return ticks % c.reload !== c.reload - 1;
      case 3: return ticks % c.reload < c.reload / 2;
      default: return ticks !== c.reload;
    }
  }
  /** Counter 0 drives IRQ 0. */
  #schedule(nowNs: number): void {
    const c = this.state.counters[0];
    if (c.waiting || c.mode === 1 || c.mode === 5) {
      this.#timers.clear(this.#timer);
      return;
    }
    const periodic = c.mode === 2 || c.mode === 3;
    const period = c.reload * tickNs;
    const periods = periodic ? Math.floor((nowNs - c.startNs) / period) + 1 : 1;
    const deadline = c.startNs + periods * period;
    if (periodic || deadline > nowNs) this.#timers.set(this.#timer, deadline);
  }
  #fire(nowNs: number): void {
    this.#irq.set(false);
    this.#irq.set(true);
    const { mode } = this.state.counters[0];
    if (mode === 2 || mode === 3) {
      this.#irq.set(false);
      this.#schedule(nowNs);
    }
  }

  readByte(port: number): number {
    const now = this.#clock.nowNs();
    if (port === 0x61) {
      const output = this.#output(this.state.counters[2], now);
      return (this.state.speaker & 3) | (output ? 0x20 : 0) | (Math.floor(now / 15_085) & 1 ? 0x10 : 0);
    }
    const c = this.state.counters[port & 3];
    if (!c) return 0xff;
    if (c.status >= 0) {
      const { status } = c;
      c.status = -1;
      return status;
    }
    if (c.latchedBytes > 0) {
      const byte = c.latch & 0xff;
      c.latch >>= 8;
      c.latchedBytes--;
      return byte;
    }
    const value = this.#value(c, now);
    if (c.access === 1) return value & 0xff;
    if (c.access === 2) return value >> 8;
    c.readHighNext = !c.readHighNext;
    return c.readHighNext ? value & 0xff : value >> 8;
  }
  writeByte(port: number, value: number): void {
    const now = this.#clock.nowNs();
    if (port === 0x61) {
      const gate = (value & 1) !== 0;
      const c = this.state.counters[2];
      if (gate && !c.gate) c.startNs = now;
      c.gate = gate;
      this.state.speaker = value & 3;
    } else if (port === 0x43) this.#control(value, now);
    else this.#count(port & 3, value, now);
  }
  #control(value: number, now: number): void {
    const index = value >> 6;
    if (index === 3) {
      for (let n = 0; n < 3; n++) {
        const c = this.state.counters[n];
        if (!c || (value & (2 << n)) === 0) continue;
        if ((value & 0x10) === 0) c.status = (this.#output(c, now) ? 0x80 : 0) | (c.waiting ? 0x40 : 0) | (c.access << 4) | (c.mode << 1) | (c.bcd ? 1 : 0);
        if ((value & 0x20) === 0) this.#latch(c, now);
      }
      return;
    }
    const c = this.state.counters[index];
    if (!c) return;
    const access = (value >> 4) & 3;
    if (access === 0) return this.#latch(c, now);
    const mode = (value >> 1) & 7;
    Object.assign(c, { ...powerOnCounter(c.gate), access, mode: mode > 5 ? mode - 4 : mode, bcd: (value & 1) !== 0 });
    if (index === 0) this.#irq.set(c.mode !== 0);
    this.#schedule(now);
  }
  #latch(c: Counter, now: number): void {
    if (c.latchedBytes > 0) return;
    const value = this.#value(c, now);
    c.latch = c.access === 2 ? value >> 8 : value;
    c.latchedBytes = c.access === 3 ? 2 : 1;
  }
  #count(index: number, value: number, now: number): void {
    const c = this.state.counters[index];
    if (!c) return;
    if (c.access === 3 && !c.writeHighNext) {
      c.writeLow = value;
      c.writeHighNext = true;
      return;
    }
    const count = c.access === 3 ? c.writeLow | (value << 8) : c.access === 1 ? value : value << 8;
    c.writeHighNext = false;
    const binary = c.bcd ? Number(count.toString(16)) || 0 : count;
    c.reload = binary === 0 ? (c.bcd ? 10_000 : 0x1_0000) : binary;
    c.startNs = now;
    c.waiting = false;
    if (index === 0) {
      if (c.mode === 0) this.#irq.set(false);
      this.#schedule(now);
    }
  }
}
