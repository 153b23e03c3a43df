/** Which instructions in a row have a handler together: a tree over their own handlers. */
import { handlersEnd } from './record.ts';

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
  /** By handler: whether a group begins with it, as few do. */
  readonly #begins = new Uint8Array(handlersEnd);
  /** The handler of a group's first instruction, by the group's own. */
  readonly #first = new Map<number, number>();

  /** Instructions with these handlers have this one together. */
  add(handlers: readonly number[], handler: number): void {
    let at = this.#start;
    this.#begins[handlers[0] ?? 0] = 1;
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
  begins(handler: number): boolean {
    return this.#begins[handler] === 1;
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
    this.#begins.fill(0);
    this.#first.clear();
  }
}
