/** Runs a machine on this thread: slices of work, sleep while the guest is idle, input in between. */
import type { Machine } from '../domain/machine.ts';
import type { StopReason } from '../domain/stop-reason.ts';

export interface RunnerParts {
  readonly hostMilliseconds: () => number;
  /** Calls back after about so many milliseconds; 0 means as soon as input and output were served. */
  readonly after: (milliseconds: number, call: () => void) => { cancel(): void };
  /** Called after each slice: where output is passed on. A promise delays the next slice (back pressure). */
  readonly served: () => Promise<void> | undefined;
}

const sliceMs = 10;
/** Sleeps are cut so that a host that was suspended is noticed. */
const sleepMsMax = 1000;

export class Runner {
  readonly #machine: Machine;
  readonly #parts: RunnerParts;
  #wake: (() => void) | undefined;
  #interrupted = false;
  #paused: Promise<void> | undefined;
  #resume: (() => void) | undefined;

  constructor(machine: Machine, parts: RunnerParts) {
    this.#machine = machine;
    this.#parts = parts;
  }

  /** Input arrived: an idle machine goes on at once. */
  kick(): void {
    this.#wake?.();
  }
  /** Ends the run as soon as the slice at hand is over. */
  interrupt(): void {
    this.#interrupted = true;
    this.kick();
    this.resume();
  }
  pause(): void {
    this.#paused ??= new Promise((resolve) => {
      this.#resume = resolve;
    });
  }
  resume(): void {
    this.#resume?.();
    this.#resume = undefined;
    this.#paused = undefined;
  }

  /** Until the machine stops; undefined when it was interrupted from here. */
  async run(): Promise<StopReason | undefined> {
    const { hostMilliseconds, served } = this.#parts;
    while (!this.#interrupted) {
      if (this.#paused) await this.#paused;
      const end = this.#machine.runSlice(hostMilliseconds, hostMilliseconds() + sliceMs);
      await served();
      if (end.kind === 'stopped') return end.reason;
      if (end.kind === 'idle') await this.#rest(end.untilNs);
      else await this.#sleep(0);
    }
    return undefined;
  }
  #rest(untilNs: number): Promise<void> {
    const { clock } = this.#machine;
    const milliseconds = (untilNs - clock.nowNs()) / 1e6;
    clock.rest();
    return this.#sleep(milliseconds);
  }
  #sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#parts.after(Math.min(sleepMsMax, Math.max(0, milliseconds)), done);
      function done(): void {
        timer.cancel();
        resolve();
      }
      this.#wake = () => {
        this.#wake = undefined;
        done();
      };
    });
  }
}
