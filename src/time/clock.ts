/**
 * Guest time: one clock from which TSC, APIC timer, PIT, PM timer and RTC all follow. Nanoseconds since power-on as a number
 * (exact for 104 days). It advances with the host's clock, or with retired instructions in deterministic mode.
 */
export interface Clock {
  /** Never goes back, and moves on between two reads. */
  nowNs(): number;
}

/** The host's clock: milliseconds with fractions, from any start. */
export type HostMilliseconds = () => number;

export class HostClock implements Clock {
  readonly #host: HostMilliseconds;
  #start: number;
  #last = 0;

  constructor(host: HostMilliseconds) {
    this.#host = host;
    this.#start = host();
  }
  nowNs(): number {
    const now = Math.round((this.#host() - this.#start) * 1e6);
    this.#last = now > this.#last ? now : this.#last + 1;
    return this.#last;
  }
}

/** One instruction is one nanosecond; each look at the clock costs a little, so that polling loops end. */
export class InstructionClock implements Clock {
  readonly #retired: () => number;
  readonly #readCostNs: number;
  #skippedNs = 0;

  constructor(retired: () => number, readCostNs = 20) {
    this.#retired = retired;
    this.#readCostNs = readCostNs;
  }
  nowNs(): number {
    this.#skippedNs += this.#readCostNs;
    return this.#retired() + this.#skippedNs;
  }
  /** Without the cost of a look: for the run loop. */
  peekNs(): number {
    return this.#retired() + this.#skippedNs;
  }
  /** An idle processor: time jumps to the next event. */
  skipTo(ns: number): void {
    const now = this.peekNs();
    if (ns > now) this.#skippedNs += ns - now;
  }
}
