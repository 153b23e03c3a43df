/** Timers of devices, ordered by deadline. A machine has a dozen, so a scan is the right data structure. */
export interface Timer {
  /** Infinity when not set. */
  deadlineNs: number;
  readonly fire: (nowNs: number) => void;
}

export class TimerQueue {
  readonly #timers: Timer[] = [];
  /** Told when an earlier deadline was set than any before. */
  #earlier: () => void = () => {};

  /** Deadlines in the order in which the timers were made. */
  get state(): { deadlines: number[] } {
    return { deadlines: this.#timers.map((timer) => timer.deadlineNs) };
  }
  set state({ deadlines }) {
    this.#timers.forEach((timer, n) => {
      timer.deadlineNs = deadlines[n] ?? Number.POSITIVE_INFINITY;
    });
  }
  create(fire: (nowNs: number) => void): Timer {
    const timer = { deadlineNs: Number.POSITIVE_INFINITY, fire };
    this.#timers.push(timer);
    return timer;
  }
  whenEarlier(listener: () => void): void {
    this.#earlier = listener;
  }
  set(timer: Timer, deadlineNs: number): void {
    const earlier = deadlineNs < this.nextNs();
    timer.deadlineNs = deadlineNs;
    if (earlier) this.#earlier();
  }
  clear(timer: Timer): void {
    timer.deadlineNs = Number.POSITIVE_INFINITY;
  }
  nextNs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const t of this.#timers) if (t.deadlineNs < next) next = t.deadlineNs;
    return next;
  }
  /** Fires what is due, earliest first. A timer that sets itself again in the past fires once more at the next call. */
  run(nowNs: number): void {
    const due = this.#timers.filter((t) => t.deadlineNs <= nowNs).sort((a, b) => a.deadlineNs - b.deadlineNs);
    for (const timer of due) {
      timer.deadlineNs = Number.POSITIVE_INFINITY;
      timer.fire(nowNs);
    }
  }
}
