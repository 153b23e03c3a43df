/** The regions in use: which code they were made of, and which places enter them. */
import type { Interpreter } from '../interpreter/interpreter.ts';
import type { RegionEntry } from '../interpreter/translation.ts';
import type { CodeRange, LibraryRegion } from './library.ts';

export interface Installed {
  readonly region: LibraryRegion;
  /** Its number in the table of handlers. */
  readonly slot: number;
  /** Where the maps of its pages stand. */
  readonly maps: number;
  /** The pages its code lies on: frame * 8 + code mode. */
  readonly ranges: readonly CodeRange[];
  readonly entries: readonly (readonly [page: number, offset: number])[];
}

export class InstalledRegions {
  readonly #interpreter: Interpreter;
  readonly #entries = new Map<number, Map<number, RegionEntry>>();
  readonly #byPage = new Map<number, Set<Installed>>();
  /** All, the oldest first. */
  readonly #order = new Set<Installed>();
  #dropped = 0;

  constructor(interpreter: Interpreter) {
    this.#interpreter = interpreter;
  }
  get size(): number {
    return this.#order.size;
  }
  /** How many have been dropped. */
  get dropped(): number {
    return this.#dropped;
  }
  entry(page: number, offset: number): RegionEntry | undefined {
    return this.#entries.get(page)?.get(offset);
  }
  /** The region that is entered at a place. */
  at(page: number, offset: number): Installed | undefined {
    const slot = this.entry(page, offset)?.slot;
    for (const region of this.#byPage.get(page) ?? []) if (region.slot === slot) return region;
    return undefined;
  }
  /** Has its places enter it. A region that has lost the last of its entries to others goes. */
  add(region: Installed): void {
    this.#order.add(region);
    for (const { page } of region.ranges) {
      const regions = this.#byPage.get(page);
      if (regions) regions.add(region);
      else this.#byPage.set(page, new Set([region]));
    }
    for (const [entry, [page, offset]] of region.entries.entries()) {
      let entries = this.#entries.get(page);
      if (!entries) {
        entries = new Map();
        this.#entries.set(page, entries);
      }
      const before = this.at(page, offset);
      const now = { slot: region.slot, entry, maps: region.maps };
      entries.set(offset, now);
      if (before && !before.entries.some(([p, o]) => this.entry(p, o)?.slot === before.slot)) this.drop(before);
      this.#interpreter.enter(page, offset, now);
    }
  }
  drop(region: Installed): void {
    for (const [page, offset] of region.entries) {
      const entries = this.#entries.get(page);
      if (entries?.get(offset)?.slot !== region.slot) continue;
      entries.delete(offset);
      this.#interpreter.leave(page, offset, region.slot);
    }
    for (const { page } of region.ranges) this.#byPage.get(page)?.delete(region);
    this.#order.delete(region);
    this.#interpreter.release(region.slot);
    this.#dropped++;
  }
  /** Drops those made of bytes of a page. */
  forget(page: number, start: number, end: number): void {
    for (const region of this.#byPage.get(page) ?? [])
      if (region.ranges.some((r) => r.page === page && r.start < end && r.end > start)) this.drop(region);
  }
  /** Drops so many, what was made first; returns how many there were. */
  evict(count: number): number {
    let evicted = 0;
    for (const region of this.#order) {
      if (evicted === count) break;
      this.drop(region);
      evicted++;
    }
    return evicted;
  }
  /** All records are gone. */
  clear(): void {
    for (const region of this.#order) this.#interpreter.release(region.slot);
    this.#order.clear();
    this.#byPage.clear();
    this.#entries.clear();
  }
}
