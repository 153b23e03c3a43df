/** Which entries of the software TLBs are filled, so that a flush costs what is in use. Global pages outlive a change of CR3 (SDM 3A, 4.10.2.4). */
import type { JumpLevels } from './jump-epochs.ts';
import { type LargePageBits, LargePages, type PageBits } from './large-pages.ts';
import { tlbEntryWords, userCode } from './state.ts';

const pageBits = 12;
/** The word of an entry that says in which lists it is: a bit for each, set when it is not. */
const listed = tlbEntryWords - 1;

class Entries {
  readonly #words: Int32Array;
  readonly #places: Int32Array;
  readonly #bit: number;
  #count = 0;

  constructor(words: Int32Array, capacity: number, bit: number) {
    this.#words = words;
    this.#places = new Int32Array(capacity);
    this.#bit = bit;
  }
  add(place: number): void {
    const lists = this.#words[place + listed] ?? 0;
    if ((lists & this.#bit) === 0) return;
    this.#words[place + listed] = lists & ~this.#bit;
    this.#places[this.#count++] = place;
  }
  /** Says whether code at CPL 0 to 2 was among them; the code TLB begins at `code`. */
  clear(code: number): boolean {
    const words = this.#words;
    let hadKernelCode = false;
    for (let n = 0; n < this.#count; n++) {
      const place = this.#places[n] ?? 0;
      hadKernelCode ||= place >= code && words[place] !== -1 && ((words[place] ?? 0) & userCode) === 0;
      words[place] = words[place + 1] = -1;
      words[place + listed] = (words[place + listed] ?? 0) | this.#bit;
    }
    this.#count = 0;
    return hadKernelCode;
  }
  clearFrame(frame: number, from: number, to: number, second: number): void {
    const words = this.#words;
    const isWithin = (place: number): boolean => place >= from && place < to;
    for (let n = 0; n < this.#count; n++) {
      const place = this.#places[n] ?? 0;
      const leads = ((words[place] ?? 0) + (words[place + 2] ?? 0)) >>> pageBits;
      if (leads === frame && (isWithin(place) || isWithin(place - second))) words[place] = words[place + 1] = -1;
    }
  }
}

/** The entries that one TLB context has filled, named by the index of their first word in machine memory. All words of an empty TLB are -1. */
export class FilledEntries {
  readonly #global: Entries;
  readonly #local: Entries;
  readonly #large = { global: new LargePages(), local: new LargePages() };
  readonly #flushed: (levels: JumpLevels) => void;
  readonly #code: number;
  /** There was code at CPL 0 to 2 that a change of CR3 drops, though another page may have its place by now. */
  #hasLocalKernel = false;

  /** `capacity`: how many entries there are, of its own and those that it shares. `flushed` is called after each flush, with whose code was dropped. The code TLB begins at `code`. */
  constructor(words: Int32Array, context: number, capacity: number, code: number, flushed: (levels: JumpLevels) => void) {
    this.#code = code;
    this.#flushed = flushed;
    this.#local = new Entries(words, capacity, 1 << (2 * context));
    this.#global = new Entries(words, capacity, 2 << (2 * context));
  }
  /** An entry is written. */
  note(place: number, global: boolean): void {
    (global ? this.#global : this.#local).add(place);
  }
  /** Likewise, of the code TLB. */
  noteCode(place: number, global: boolean, mode: number): void {
    this.note(place, global);
    this.#hasLocalKernel ||= !global && (mode & userCode) === 0;
  }
  /** A piece of a large page is translated. */
  noteLarge(low: number, high: number, bits: LargePageBits, global: boolean): void {
    this.#large[global ? 'global' : 'local'].note(low, high, bits);
  }
  /** What goes with an address when its translation is to go. */
  pageBitsAt(low: number, high: number): PageBits {
    const [a, b] = [this.#large.global.at(low, high), this.#large.local.at(low, high)];
    return a > b ? a : b;
  }
  flush(): void {
    this.#global.clear(this.#code);
    this.#large.global.clear();
    this.#hasLocalKernel = true;
    this.flushLocal();
  }
  flushLocal(): void {
    // a global page may have the place of one that was not, of another context too: it leaves the code TLB now, and INVLPG would not find it
    const hadKernelCode = this.#local.clear(this.#code);
    this.#large.local.clear();
    this.#flushed(this.#hasLocalKernel || hadKernelCode ? 'all' : 'user');
    this.#hasLocalKernel = false;
  }
  /** Drops the entries between two places, and so far behind these, that lead to a frame. */
  dropFrame(frame: number, from: number, to: number, second: number): void {
    this.#global.clearFrame(frame, from, to, second);
    this.#local.clearFrame(frame, from, to, second);
  }
}
