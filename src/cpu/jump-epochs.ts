/**
 * When what the jump cache knows (engine/interpreter/jump-cache.ts) is out of date. Its entries have keys of the code mode and an epoch: one for code
 * at CPL 3, one for other code, which outlives changes of CR3 while its pages are global. A page that the code TLB gave up for another may still be in
 * the cache; it is noted, so that INVLPG finds it.
 */
import { jumpCacheBytes, jumpCacheOffset, offsetOf, userCode } from './state.ts';

/** Whose entries. */
export type JumpLevels = 'user' | 'supervisor' | 'all';

/** The lowest byte of a key is the code mode. */
const step = 256;
const last = 0x7fff_ff00;
const evictedMask = 0xfff;

export class JumpEpochs {
  readonly #words: Int32Array;
  readonly #base: number;
  /** Survives a reset: entries of before must not be found again. */
  #epoch = 0;
  /** By a hash of page and level: the epoch in which the code TLB lost such a page. */
  readonly #evicted = new Int32Array(2 * (evictedMask + 1));

  /** `base`: the vCPU's area in machine memory. */
  constructor(words: Int32Array, base: number) {
    this.#words = words;
    this.#base = base;
  }
  #word(field: 'jumpEpoch' | 'jumpKey' | 'codeMode', index = 0): number {
    return ((this.#base + offsetOf(field, index)) >>> 2) | 0;
  }
  /** To be called when the code mode has changed: the key of the entries that are found and made from now on. */
  refresh(): void {
    const mode = this.#words[this.#word('codeMode')] ?? 0;
    this.#words[this.#word('jumpKey')] = (this.#words[this.#word('jumpEpoch', levelOf(mode))] ?? 0) | mode;
  }
  /** Nothing that was known at these levels is found again. */
  drop(levels: JumpLevels): void {
    const wraps = this.#epoch >= last - 2 * step;
    if (wraps) {
      this.#epoch = 0;
      this.#words.fill(-1, (this.#base + jumpCacheOffset) >>> 2, (this.#base + jumpCacheOffset + jumpCacheBytes) >>> 2);
      this.#evicted.fill(0);
    }
    for (const level of [0, 1] as const) {
      if (!wraps && levels === (level === 0 ? 'user' : 'supervisor')) continue;
      this.#epoch += step;
      this.#words[this.#word('jumpEpoch', level)] = this.#epoch;
    }
    this.refresh();
  }
  /** Likewise, at the level of the code that runs. */
  dropCurrent(): void {
    this.drop(namesOf[levelOf(this.#words[this.#word('codeMode')] ?? 0)]);
  }
  /** The code TLB has another page where this one was: the low half of its address, with the code mode. */
  evict(tag: number): void {
    const level = levelOf(tag);
    this.#evicted[placeOf(tag, level)] = this.#words[this.#word('jumpEpoch', level)] ?? 0;
  }
  /** Drops what may be known of a page that is not in the code TLB. */
  dropEvicted(low: number): void {
    for (const level of [0, 1] as const)
      if (this.#evicted[placeOf(low, level)] === this.#words[this.#word('jumpEpoch', level)]) this.drop(namesOf[level]);
  }
}
const namesOf = ['supervisor', 'user'] as const;
/** Of a code mode, or of a code TLB entry's tag. */
const levelOf = (mode: number): 0 | 1 => ((mode & userCode) !== 0 ? 1 : 0);
/** Whose code a code TLB entry is. */
export const levelOfCode = (mode: number): JumpLevels => namesOf[levelOf(mode)];
const placeOf = (low: number, level: 0 | 1): number => 2 * (((low >>> 12) ^ (low >>> 24)) & evictedMask) + level;
