/** The VMX-preemption timer: counts down with the TSC shifted right, while the guest runs or is halted. SDM 3C, 26.5.1. */
import { tscHz } from '../cpu/local-apic.ts';
import { At } from '../cpu/state.ts';
import type { Vcpu } from '../cpu/vcpu.ts';
import type { Timer, TimerQueue } from '../time/timers.ts';
import { preemptionRate } from './capabilities.ts';

export class PreemptionTimer {
  readonly #v: Vcpu;
  readonly #timers: TimerQueue;
  readonly #timer: Timer;

  constructor(v: Vcpu, timers: TimerQueue) {
    this.#v = v;
    this.#timers = timers;
    this.#timer = timers.create(() => v.wake());
  }
  /** Sets the alarm for the deadline in the state. */
  restore(): void {
    if (this.running) this.#timers.set(this.#timer, Number(this.#v.get64(At.preemptionDeadline)) * (1e9 / tscHz));
    else this.#timers.clear(this.#timer);
  }
  /** `value` in units of 2^rate TSC ticks. It counts at the processor's own TSC, whatever the offset. */
  start(value: number): void {
    const now = this.#v.clock.tsc();
    const deadline = ((now >> BigInt(preemptionRate)) + BigInt(value)) << BigInt(preemptionRate);
    this.#v.set64(At.preemptionDeadline, deadline === 0n ? 1n : deadline);
    if (value !== 0) this.#timers.set(this.#timer, Number(deadline) * (1e9 / tscHz));
  }
  get running(): boolean {
    return this.#v.get64(At.preemptionDeadline) !== 0n;
  }
  get expired(): boolean {
    const deadline = this.#v.get64(At.preemptionDeadline);
    return deadline !== 0n && this.#v.clock.peekTsc() >= deadline;
  }
  /** What is left, for the field. */
  get left(): number {
    const deadline = this.#v.get64(At.preemptionDeadline);
    const left = (deadline >> BigInt(preemptionRate)) - (this.#v.clock.tsc() >> BigInt(preemptionRate));
    return left > 0n ? Number(left) : 0;
  }
  stop(): void {
    this.#v.set64(At.preemptionDeadline, 0n);
    this.#timers.clear(this.#timer);
  }
}
