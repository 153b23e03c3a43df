/**
 * Guest time: one clock from which TSC, APIC timer, PIT, PM timer and RTC all follow. Nanoseconds since power-on as a number
 * (exact for 104 days). It advances with the host's clock, or with retired instructions in deterministic mode.
 */
export interface Clock {
  /** Never goes back, and moves on between two reads. */
  nowNs(): number;
  /** For the machine's own looks: the guest must not see how often these happen, since that depends on what executes it. */
  peekNs(): number;
  /** The guest has nothing to do: however long it takes until the next look, no time was taken from it. */
  rest(): void;
  /** Setting it makes the clock go on from where another was. */
  state: ClockState;
}
/** Nanoseconds: the time, or in deterministic mode what was added to the retired instructions. */
export interface ClockState {
  ns: number;
}

/** The host's clock: milliseconds with fractions, from any start. */
export type HostMilliseconds = () => number;

/** Longer gaps between two looks, while the guest has work to do, are time that the host did not give it. */
const stallNs = 20e6;
/** Still longer ones are pauses: the guest is to see that time has passed. */
const pauseNs = 2e9;
/** What is taken from a guest comes back at a quarter of the clock's rate. */
const returnRate = 0.25;

/**
 * Follows the host's clock, but does not jump when the host had no time for a guest that was at work: a kernel that measures how many timer
 * interrupts come while the TSC counts to some number would find too few (Linux gives up its boot so). The clock then catches up slowly.
 */
export class HostClock implements Clock {
  readonly #host: HostMilliseconds;
  #start: number;
  #last = 0;
  #looked = 0;
  #owed = 0;
  #resting = true;

  constructor(host: HostMilliseconds) {
    this.#host = host;
    this.#start = host();
  }
  get state(): ClockState {
    return { ns: this.nowNs() };
  }
  set state({ ns }) {
    this.#start = this.#host() - ns / 1e6;
    this.#last = this.#looked = ns;
    this.#owed = 0;
    this.#resting = true;
  }
  nowNs(): number {
    const host = Math.round((this.#host() - this.#start) * 1e6);
    const gap = host - this.#looked;
    this.#looked = host;
    if (gap > stallNs && gap < pauseNs && !this.#resting) this.#owed += gap - stallNs;
    else if (this.#owed > 0 && gap > 0) this.#owed -= Math.min(this.#owed, this.#resting ? gap : gap * returnRate);
    this.#resting = false;
    const now = Math.round(host - this.#owed);
    this.#last = now > this.#last ? now : this.#last + 1;
    return this.#last;
  }
  peekNs(): number {
    return this.nowNs();
  }
  rest(): void {
    this.#resting = true;
  }
}

/** One instruction is one nanosecond; each look at the clock costs a little, so that polling loops end. */
export class InstructionClock implements Clock {
  readonly #retired: () => number;
  readonly #readCostNs: number;
  state: ClockState = { ns: 0 };

  constructor(retired: () => number, readCostNs = 20) {
    this.#retired = retired;
    this.#readCostNs = readCostNs;
  }
  nowNs(): number {
    this.state.ns += this.#readCostNs;
    return this.#retired() + this.state.ns;
  }
  rest(): void {}
  peekNs(): number {
    return this.#retired() + this.state.ns;
  }
  /** An idle processor: time jumps to the next event. */
  skipTo(ns: number): void {
    const now = this.peekNs();
    if (ns > now) this.state.ns += ns - now;
  }
}
