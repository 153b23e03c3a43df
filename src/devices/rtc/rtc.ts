/** MC146818 real-time clock and its CMOS memory. Time of day comes from an injected epoch plus guest time. */
import type { Clock } from '../../time/clock.ts';
import type { Timer, TimerQueue } from '../../time/timers.ts';
import type { Line } from '../device.ts';
import { ByteDevice } from '../port-bus.ts';

const bcd = (n: number): number => (Math.floor(n / 10) << 4) | (n % 10);
const fromBcd = (n: number): number => (n >> 4) * 10 + (n & 15);
const Reg = { seconds: 0, secondsAlarm: 1, minutes: 2, minutesAlarm: 3, hours: 4, hoursAlarm: 5, weekday: 6, day: 7, month: 8, year: 9, a: 10, b: 11, c: 12, d: 13, century: 0x32 } as const;
const B = { set: 0x80, periodic: 0x40, alarm: 0x20, update: 0x10, binary: 4, hours24: 2 } as const;

export interface RtcParts {
  readonly clock: Clock;
  readonly timers: TimerQueue;
  readonly irq: Line;
  /** Milliseconds since 1970 at power-on. */
  readonly epochMs: number;
}

const powerOn = (epochMs: number) => ({ epochMs, index: 0, memory: new Uint8Array(128), a: 0x26, b: 2, c: 0, offsetMs: 0, nextSecondNs: 0 });

export class Rtc extends ByteDevice {
  readonly name = 'rtc';
  readonly ports = [{ base: 0x70, count: 2 }];
  readonly #clock: Clock;
  readonly #timers: TimerQueue;
  readonly #periodic: Timer;
  readonly #second: Timer;
  readonly #irq: Line;
  state: ReturnType<typeof powerOn>;

  constructor({ clock, timers, irq, epochMs }: RtcParts) {
    super();
    this.#clock = clock;
    this.#timers = timers;
    this.#irq = irq;
    this.state = powerOn(epochMs);
    this.#periodic = timers.create((now) => this.#periodicTick(now));
    this.#second = timers.create((now) => this.#secondTick(now));
  }

  /** Shows another time of day, in milliseconds since 1970, from now on; to the second, since timers follow its seconds. */
  follow(epochMs: number): void {
    const ahead = epochMs - (this.state.epochMs + this.#clock.nowNs() / 1e6);
    this.state.epochMs += Math.round(ahead / 1000) * 1000;
  }
  #now(): Date {
    return new Date(this.state.epochMs + this.state.offsetMs + Math.floor(this.#clock.nowNs() / 1e6));
  }
  #encode(value: number): number {
    return (this.state.b & B.binary) !== 0 ? value : bcd(value);
  }
  #decode(value: number): number {
    return (this.state.b & B.binary) !== 0 ? value : fromBcd(value);
  }
  #hours(hours: number): number {
    if ((this.state.b & B.hours24) !== 0) return this.#encode(hours);
    return this.#encode(hours % 12 === 0 ? 12 : hours % 12) | (hours >= 12 ? 0x80 : 0);
  }
  readByte(port: number): number {
    if (port === 0x70) return 0xff;
    const s = this.state;
    const now = this.#now();
    switch (s.index) {
      case Reg.seconds: return this.#encode(now.getUTCSeconds());
      case Reg.minutes: return this.#encode(now.getUTCMinutes());
      case Reg.hours: return this.#hours(now.getUTCHours());
      case Reg.weekday: return this.#encode(now.getUTCDay() + 1);
      case Reg.day: return this.#encode(now.getUTCDate());
      case Reg.month: return this.#encode(now.getUTCMonth() + 1);
      case Reg.year: return this.#encode(now.getUTCFullYear() % 100);
      case Reg.century: return bcd(Math.floor(now.getUTCFullYear() / 100));
      case Reg.a: return s.a;
      case Reg.b: return s.b;
      case Reg.c: {
        const flags = s.c;
        s.c = 0;
        this.#irq.set(false);
        return flags;
      }
      case Reg.d: return 0x80;
      default: return s.memory[s.index] ?? 0;
    }
  }
  writeByte(port: number, value: number): void {
    const s = this.state;
    if (port === 0x70) {
      s.index = value & 0x7f;
      return;
    }
    switch (s.index) {
      case Reg.seconds: case Reg.minutes: case Reg.hours: case Reg.day: case Reg.month: case Reg.year: case Reg.century:
        this.#setTime(s.index, value);
        return;
      case Reg.weekday: case Reg.c: case Reg.d: return;
      case Reg.a:
        s.a = value & 0x7f;
        return this.#schedule();
      case Reg.b:
        s.b = value;
        return this.#schedule();
      default:
        s.memory[s.index] = value;
    }
  }
  #setTime(field: number, value: number): void {
    const now = this.#now();
    const before = now.getTime();
    const n = this.#decode(field === Reg.hours ? value & 0x7f : value);
    switch (field) {
      case Reg.seconds: now.setUTCSeconds(n); break;
      case Reg.minutes: now.setUTCMinutes(n); break;
      case Reg.hours: now.setUTCHours((this.state.b & B.hours24) !== 0 ? n : (n % 12) + (value & 0x80 ? 12 : 0)); break;
      case Reg.day: now.setUTCDate(n); break;
      case Reg.month: now.setUTCMonth(n - 1); break;
      case Reg.year: now.setUTCFullYear(Math.floor(now.getUTCFullYear() / 100) * 100 + n); break;
      case Reg.century: now.setUTCFullYear(fromBcd(value) * 100 + (now.getUTCFullYear() % 100)); break;
    }
    this.state.offsetMs += now.getTime() - before;
  }

  // --- interrupts: periodic, alarm, update ended
  #schedule(): void {
    const s = this.state;
    const now = this.#clock.nowNs();
    const rate = s.a & 15;
    if ((s.b & B.periodic) !== 0 && rate !== 0) this.#timers.set(this.#periodic, now + this.#periodNs(rate));
    else this.#timers.clear(this.#periodic);
    if ((s.b & (B.alarm | B.update)) !== 0) this.#timers.set(this.#second, now + 1e9 - ((this.state.epochMs + s.offsetMs + now / 1e6) % 1000) * 1e6);
    else this.#timers.clear(this.#second);
  }
  #periodNs(rate: number): number {
    return (1e9 * 2 ** ((rate < 3 ? rate + 7 : rate) - 1)) / 32_768;
  }
  #periodicTick(now: number): void {
    this.#raise(B.periodic);
    this.#timers.set(this.#periodic, now + this.#periodNs(this.state.a & 15));
  }
  #secondTick(now: number): void {
    const time = this.#now();
    const matches = (register: number, value: number): boolean => {
      const wanted = this.state.memory[register] ?? 0;
      return wanted >= 0xc0 || wanted === value;
    };
    const alarm =
      matches(Reg.secondsAlarm, this.#encode(time.getUTCSeconds())) && matches(Reg.minutesAlarm, this.#encode(time.getUTCMinutes())) && matches(Reg.hoursAlarm, this.#hours(time.getUTCHours()));
    this.#raise(B.update | (alarm ? B.alarm : 0));
    this.#timers.set(this.#second, now + 1e9);
  }
  #raise(flags: number): void {
    const s = this.state;
    s.c |= flags;
    if ((s.c & s.b & (B.periodic | B.alarm | B.update)) === 0) return;
    s.c |= 0x80;
    this.#irq.set(true);
  }
}
