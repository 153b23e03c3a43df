/** Which entries of the software TLBs are filled, so that a flush costs what is in use. Global pages outlive a change of CR3 (SDM 3A, 4.10.2.4). */
const capacity = 8192;

class Entries {
  readonly #places = new Int32Array(capacity);
  #count = 0;
  /** False when there is no room: then all must be cleared. */
  add(place: number): boolean {
    if (this.#count === capacity) return false;
    this.#places[this.#count++] = place;
    return true;
  }
  clear(words: Int32Array): void {
    for (let n = 0; n < this.#count; n++) {
      const place = this.#places[n] ?? 0;
      words[place] = -1;
      words[place + 1] = -1;
    }
    this.#count = 0;
  }
  forget(): void {
    this.#count = 0;
  }
  get isEmpty(): boolean {
    return this.#count === 0;
  }
}

/** Entries are named by the index of their first word in machine memory. */
export class FilledEntries {
  readonly #words: Int32Array;
  readonly #clearAll: () => void;
  readonly #global = new Entries();
  readonly #local = new Entries();

  constructor(words: Int32Array, clearAll: () => void) {
    this.#words = words;
    this.#clearAll = clearAll;
  }
  /** Called before the entry is written. */
  note(place: number, global: boolean): void {
    const list = global ? this.#global : this.#local;
    if (list.add(place)) return;
    this.#clearAll();
    this.#global.forget();
    this.#local.forget();
    list.add(place);
  }
  flush(): void {
    this.#global.clear(this.#words);
    this.#local.clear(this.#words);
  }
  /** Whether anything was filled since the last flush. */
  get isUsed(): boolean {
    return !this.#global.isEmpty || !this.#local.isEmpty;
  }
  flushLocal(): void {
    this.#local.clear(this.#words);
  }
}
