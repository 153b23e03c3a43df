/** The local APIC: xAPIC window and x2APIC MSRs, priorities, timer, interrupt command. SDM 3A, chapter 11. */
import type { Clock } from '../time/clock.ts';
import type { Timer, TimerQueue } from '../time/timers.ts';

const DeliveryMode = { fixed: 0, lowestPriority: 1, smi: 2, nmi: 4, init: 5, startup: 6, external: 7 } as const;

/** One interrupt message: from a device (MSI), the IOAPIC or another local APIC. */
export interface InterruptMessage {
  readonly destination: number;
  readonly logical: boolean;
  readonly mode: number;
  readonly vector: number;
  readonly level: boolean;
}

export interface LocalApicParts {
  readonly id: number;
  readonly clock: Clock;
  readonly timers: TimerQueue;
  /** The system bus, for interprocessor interrupts; shorthand 0 none, 1 self, 2 all, 3 all but self. */
  readonly send: (message: InterruptMessage, shorthand: number, from: number) => void;
  /** A level-triggered vector was ended: the IOAPIC may deliver it again. */
  readonly endOfInterrupt: (vector: number) => void;
  /** Something may be waiting for the processor now. */
  readonly wake: () => void;
}

/** Offsets of the registers in the APIC's page; an x2APIC MSR is 0x800 and the offset divided by 16. */
export const ApicRegister = {
  id: 0x20, version: 0x30, tpr: 0x80, apr: 0x90, ppr: 0xa0, eoi: 0xb0, ldr: 0xd0, dfr: 0xe0, svr: 0xf0, isr: 0x100, tmr: 0x180, irr: 0x200, esr: 0x280,
  lvtCmci: 0x2f0, icrLow: 0x300, icrHigh: 0x310, lvtTimer: 0x320, lvtThermal: 0x330, lvtCounter: 0x340, lvtLint0: 0x350, lvtLint1: 0x360, lvtError: 0x370,
  initialCount: 0x380, currentCount: 0x390, divide: 0x3e0, self: 0x3f0,
} as const;

const masked = 0x1_0000;
/** The timer's input clock: the crystal of CPUID leaf 0x15. */
export const crystalHz = 25_000_000;
const crystalPeriodNs = 1e9 / crystalHz;
export const tscHz = 1_000_000_000;

export interface LocalApicState {
  id: number;
  enabled: boolean;
  x2apic: boolean;
  tpr: number;
  ldr: number;
  dfr: number;
  svr: number;
  isr: Uint32Array;
  tmr: Uint32Array;
  irr: Uint32Array;
  esr: number;
  esrPending: number;
  icrLow: number;
  icrHigh: number;
  lvt: Uint32Array;
  initialCount: number;
  divide: number;
  /** When the count started, and TSC deadline (0: disarmed). */
  timerStartNs: number;
  deadline: bigint;
  nmi: boolean;
  init: boolean;
  startup: number;
  external: boolean;
}

const powerOn = (id: number): LocalApicState => ({
  id, enabled: true, x2apic: false, tpr: 0, ldr: 0, dfr: 0xffff_ffff, svr: 0xff,
  isr: new Uint32Array(8), tmr: new Uint32Array(8), irr: new Uint32Array(8), esr: 0, esrPending: 0, icrLow: 0, icrHigh: 0,
  lvt: new Uint32Array(6).fill(masked), initialCount: 0, divide: 0, timerStartNs: 0, deadline: 0n, nmi: false, init: false, startup: -1, external: false,
});

const lvtIndex: Readonly<Record<number, number>> = {
  [ApicRegister.lvtTimer]: 0, [ApicRegister.lvtThermal]: 1, [ApicRegister.lvtCounter]: 2, [ApicRegister.lvtLint0]: 3, [ApicRegister.lvtLint1]: 4, [ApicRegister.lvtError]: 5,
};

export class LocalApic {
  readonly #parts: LocalApicParts;
  readonly #timer: Timer;
  state: LocalApicState;
  /** Guest TSC offset, in ticks, for the deadline timer. */
  tscOffset = 0n;

  constructor(parts: LocalApicParts) {
    this.#parts = parts;
    this.#timer = parts.timers.create((now) => this.#expire(now));
    this.state = powerOn(parts.id);
  }
  reset(): void {
    this.state = powerOn(this.#parts.id);
    this.#parts.timers.clear(this.#timer);
  }

  // --- what waits for the processor
  #highest(bits: Uint32Array): number {
    for (let n = 7; n >= 0; n--) {
      const word = bits[n] ?? 0;
      if (word !== 0) return n * 32 + 31 - Math.clz32(word);
    }
    return -1;
  }
  #processorPriority(): number {
    const servicing = this.#highest(this.state.isr);
    const tpr = this.state.tpr & 0xff;
    return servicing >> 4 > tpr >> 4 ? servicing & 0xf0 : tpr;
  }
  /** The vector that may interrupt now, or -1. */
  pendingVector(): number {
    if (!this.#softwareEnabled()) return -1;
    const vector = this.#highest(this.state.irr);
    return vector >= 0 && vector >> 4 > this.#processorPriority() >> 4 ? vector : -1;
  }
  acknowledge(vector: number): void {
    const { irr, isr } = this.state;
    irr[vector >> 5] = (irr[vector >> 5] ?? 0) & ~(1 << (vector & 31));
    isr[vector >> 5] = (isr[vector >> 5] ?? 0) | (1 << (vector & 31));
  }
  /** Whether the 8259's output reaches the processor: LINT0 as ExtINT, or the APIC off. */
  get acceptsExternal(): boolean {
    const lint0 = this.state.lvt[3] ?? masked;
    return !this.state.enabled || ((lint0 & masked) === 0 && ((lint0 >> 8) & 7) === DeliveryMode.external);
  }
  #softwareEnabled(): boolean {
    return this.state.enabled && (this.state.svr & 0x100) !== 0;
  }

  // --- messages
  accepts(message: InterruptMessage): boolean {
    const s = this.state;
    if (!s.enabled) return false;
    const broadcast = s.x2apic ? 0xffff_ffff : 0xff;
    if (!message.logical) return message.destination === s.id || message.destination === broadcast || message.destination === 0xff;
    if (s.x2apic) {
      const cluster = s.id >> 4;
      return message.destination >>> 16 === cluster && (message.destination & (1 << (s.id & 15))) !== 0;
    }
    const own = s.ldr >>> 24;
    if (s.dfr >>> 28 === 0xf) return (own & message.destination) !== 0;
    return (own >> 4 === message.destination >> 4 || message.destination >> 4 === 0xf) && (own & message.destination & 0xf) !== 0;
  }
  receive(message: InterruptMessage): void {
    const s = this.state;
    switch (message.mode) {
      case DeliveryMode.fixed:
      case DeliveryMode.lowestPriority:
        this.#request(message.vector, message.level);
        return;
      case DeliveryMode.nmi:
        s.nmi = true;
        break;
      case DeliveryMode.init:
        s.init = true;
        break;
      case DeliveryMode.startup:
        s.startup = message.vector;
        break;
      case DeliveryMode.external:
        s.external = true;
        break;
    }
    this.#parts.wake();
  }
  #request(vector: number, level: boolean): void {
    const s = this.state;
    if (vector < 16) {
      s.esrPending |= 0x40; // received illegal vector
      return;
    }
    if (!this.#softwareEnabled()) return;
    const [word, bit] = [vector >> 5, 1 << (vector & 31)];
    s.irr[word] = (s.irr[word] ?? 0) | bit;
    s.tmr[word] = level ? (s.tmr[word] ?? 0) | bit : (s.tmr[word] ?? 0) & ~bit;
    this.#parts.wake();
  }
  #endOfInterrupt(): void {
    const s = this.state;
    const vector = this.#highest(s.isr);
    if (vector < 0) return;
    const [word, bit] = [vector >> 5, 1 << (vector & 31)];
    s.isr[word] = (s.isr[word] ?? 0) & ~bit;
    if (((s.tmr[word] ?? 0) & bit) !== 0) this.#parts.endOfInterrupt(vector);
    if (this.pendingVector() >= 0) this.#parts.wake();
  }
  /** A local source: LVT entry n fires. */
  #fireLocal(n: number): void {
    const entry = this.state.lvt[n] ?? masked;
    if ((entry & masked) !== 0) return;
    if (((entry >> 8) & 7) === DeliveryMode.nmi) {
      this.state.nmi = true;
      this.#parts.wake();
    } else this.#request(entry & 0xff, false);
  }

  // --- timer
  #divisorNs(): number {
    const d = this.state.divide;
    const power = (((d >> 1) & 4) | (d & 3)) + 1;
    return crystalPeriodNs * (power === 8 ? 1 : 2 ** power);
  }
  #timerMode(): number {
    return ((this.state.lvt[0] ?? 0) >> 17) & 3;
  }
  #startCount(nowNs: number): void {
    const s = this.state;
    s.timerStartNs = nowNs;
    if (s.initialCount === 0 || this.#timerMode() === 2) this.#parts.timers.clear(this.#timer);
    else this.#parts.timers.set(this.#timer, nowNs + s.initialCount * this.#divisorNs());
  }
  #currentCount(): number {
    const s = this.state;
    if (s.initialCount === 0 || this.#timerMode() === 2) return 0;
    const ticks = Math.floor((this.#parts.clock.nowNs() - s.timerStartNs) / this.#divisorNs());
    if (this.#timerMode() === 1) return s.initialCount - (ticks % s.initialCount);
    return Math.max(0, s.initialCount - ticks);
  }
  #expire(nowNs: number): void {
    const s = this.state;
    const mode = this.#timerMode();
    if (mode === 2) s.deadline = 0n;
    if (mode === 1 && s.initialCount !== 0) {
      const period = s.initialCount * this.#divisorNs();
      s.timerStartNs += Math.max(1, Math.floor((nowNs - s.timerStartNs) / period)) * period;
      this.#parts.timers.set(this.#timer, s.timerStartNs + period);
    }
    this.#fireLocal(0);
  }
  /** IA32_TSC_DEADLINE. */
  get deadline(): bigint {
    return this.#timerMode() === 2 ? this.state.deadline : 0n;
  }
  setDeadline(value: bigint): void {
    if (this.#timerMode() !== 2) return;
    this.state.deadline = value;
    if (value === 0n) this.#parts.timers.clear(this.#timer);
    else this.#parts.timers.set(this.#timer, Number(value - this.tscOffset) * (1e9 / tscHz));
  }

  // --- registers
  read(offset: number): number {
    const s = this.state;
    const bank = (bits: Uint32Array): number => bits[(offset >> 4) & 7] ?? 0;
    if (offset >= ApicRegister.isr && offset < ApicRegister.tmr) return bank(s.isr);
    if (offset >= ApicRegister.tmr && offset < ApicRegister.irr) return bank(s.tmr);
    if (offset >= ApicRegister.irr && offset < ApicRegister.esr) return bank(s.irr);
    const local = lvtIndex[offset];
    if (local !== undefined) return s.lvt[local] ?? masked;
    switch (offset) {
      case ApicRegister.id: return s.x2apic ? s.id : (s.id << 24) >>> 0;
      case ApicRegister.version: return 0x0005_0014;
      case ApicRegister.tpr: return s.tpr;
      case ApicRegister.ppr: return this.#processorPriority();
      case ApicRegister.ldr: return s.x2apic ? ((s.id >> 4) << 16) | (1 << (s.id & 15)) : s.ldr;
      case ApicRegister.dfr: return s.dfr;
      case ApicRegister.svr: return s.svr;
      case ApicRegister.esr: return s.esr;
      case ApicRegister.icrLow: return s.icrLow;
      case ApicRegister.icrHigh: return s.icrHigh;
      case ApicRegister.initialCount: return s.initialCount;
      case ApicRegister.currentCount: return this.#currentCount();
      case ApicRegister.divide: return s.divide;
      default: return 0;
    }
  }
  write(offset: number, value: number): void {
    const s = this.state;
    const local = lvtIndex[offset];
    if (local !== undefined) return this.#writeLocal(local, value);
    switch (offset) {
      case ApicRegister.id:
        s.id = value >>> 24;
        break;
      case ApicRegister.tpr:
        s.tpr = value & 0xff;
        if (this.pendingVector() >= 0) this.#parts.wake();
        break;
      case ApicRegister.eoi:
        this.#endOfInterrupt();
        break;
      case ApicRegister.ldr:
        s.ldr = value & 0xff00_0000;
        break;
      case ApicRegister.dfr:
        s.dfr = value | 0x0fff_ffff;
        break;
      case ApicRegister.svr:
        s.svr = value & 0x1ff;
        if ((value & 0x100) === 0) for (let n = 0; n < 6; n++) s.lvt[n] = (s.lvt[n] ?? 0) | masked;
        break;
      case ApicRegister.esr:
        s.esr = s.esrPending;
        s.esrPending = 0;
        break;
      case ApicRegister.icrHigh:
        s.icrHigh = value;
        break;
      case ApicRegister.icrLow:
        s.icrLow = value & ~0x1000;
        this.sendCommand(value, s.x2apic ? s.icrHigh : s.icrHigh >>> 24);
        break;
      case ApicRegister.initialCount:
        if (this.#timerMode() === 2) break;
        s.initialCount = value >>> 0;
        this.#startCount(this.#parts.clock.nowNs());
        break;
      case ApicRegister.divide:
        s.divide = value & 0xb;
        break;
      case ApicRegister.self:
        if (s.x2apic) this.#request(value & 0xff, false);
        break;
    }
  }
  #writeLocal(n: number, value: number): void {
    const s = this.state;
    const before = this.#timerMode();
    const forced = this.#softwareEnabled() ? 0 : masked;
    s.lvt[n] = (value & (n === 0 ? 0x7_10ff : 0x1_f7ff)) | forced;
    if (n === 0 && before !== this.#timerMode() && (before === 2 || this.#timerMode() === 2)) {
      s.deadline = 0n;
      s.initialCount = 0;
      this.#parts.timers.clear(this.#timer);
    }
  }
  sendCommand(low: number, destination: number): void {
    const mode = (low >> 8) & 7;
    if (mode === DeliveryMode.init && (low & 0xc000) === 0x8000) return; // INIT level de-assert
    this.#parts.send({ destination, logical: (low & 0x800) !== 0, mode, vector: low & 0xff, level: false }, (low >> 18) & 3, this.#parts.id);
  }
}
