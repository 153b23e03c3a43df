/** Which instructions in a row have a handler together: a tree over their own handlers. */

/** Instructions. */
export const longestGroup = 4;

export interface Way {
  readonly next: Map<number, Way>;
  /** Of the group that ends here; 0 when none does. */
  handler: number;
}
const way = (): Way => ({ next: new Map(), handler: 0 });

export class Groups {
  readonly #start = way();
  /** The handler of a group's first instruction, by the group's own. */
  readonly #first = new Map<number, number>();

  /** Instructions with these handlers have this one together. */
  add(handlers: readonly number[], handler: number): void {
    let at = this.#start;
    for (const h of handlers) {
      let next = at.next.get(h);
      if (!next) {
        next = way();
        at.next.set(h, next);
      }
      at = next;
    }
    at.handler = handler;
    this.#first.set(handler, handlers[0] ?? 0);
  }
  /** Goes on along the tree by a handler; `undefined` begins at its root. What comes back has the handler of the group that ends there, or 0. */
  step(from: Way | undefined, handler: number): Way | undefined {
    return (from ?? this.#start).next.get(handler);
  }
  /** The handler of the first instruction alone; undefined when this one is no group's. */
  firstOf(handler: number): number | undefined {
    return this.#first.get(handler);
  }
  clear(): void {
    this.#start.next.clear();
    this.#first.clear();
  }
}
