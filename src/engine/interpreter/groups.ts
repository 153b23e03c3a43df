/** Which instructions in a row have a handler together: a tree over their own handlers. */

/** Instructions. */
export const longestGroup = 4;

interface Way {
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
  /** The longest group that `handlerOf` 0, 1, ... less than `count` begins with: its handler and how many it does; 0 and 1 without one. */
  longest(handlerOf: (n: number) => number, count: number): { readonly handler: number; readonly length: number } {
    let found = 0;
    let length = 1;
    let at: Way | undefined = this.#start;
    for (let n = 0; n < count; n++) {
      at = at.next.get(handlerOf(n));
      if (!at) break;
      if (at.handler !== 0) {
        found = at.handler;
        length = n + 1;
      }
    }
    return { handler: found, length };
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
