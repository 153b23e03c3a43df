/**
 * Which pages of code are known to lie where they did when control comes to a block: its own, and all that every way there went through. No mapping can
 * change while a region runs: what changes one leaves the region.
 */
import { type Block, pageOf } from './discover.ts';

/** Pages of a region that are told apart; further ones are looked at each time. */
const pagesMax = 31;

export class VerifiedPages {
  readonly #bits = new Map<number, number>();
  readonly #pages: readonly number[];
  /** By block: a bit for each page that is verified at its start. */
  readonly #verified: Int32Array;

  /** `next`: the blocks that may follow each. `order`: those that control reaches, in reverse postorder. */
  constructor(blocks: readonly Block[], next: readonly (readonly number[])[], order: readonly number[]) {
    this.#pages = blocks.map((b) => pageOf(b.offset));
    for (const page of this.#pages) if (!this.#bits.has(page) && this.#bits.size < pagesMax) this.#bits.set(page, 1 << this.#bits.size);
    this.#verified = new Int32Array(blocks.length).fill(-1);
    for (let n = 0; n < blocks.length; n++) if (blocks[n]?.entered) this.#verified[n] = this.#bitOf(n);
    for (let changed = true; changed; ) {
      changed = false;
      for (const from of order)
        for (const to of next[from] ?? []) {
          const before = this.#verified[to] ?? 0;
          const after = before & ((this.#verified[from] ?? 0) | this.#bitOf(to));
          if (after === before) continue;
          this.#verified[to] = after;
          changed = true;
        }
    }
  }
  #bitOf(block: number): number {
    return this.#bits.get(this.#pages[block] ?? 0) ?? 0;
  }
  /** Whether control may go from one block to another without a look at the code TLB. */
  has(from: number, to: number): boolean {
    return this.#pages[from] === this.#pages[to] || ((this.#verified[from] ?? 0) & this.#bitOf(to)) !== 0;
  }
}
