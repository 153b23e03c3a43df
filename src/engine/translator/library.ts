/**
 * Regions by the code they were made of. A region's function is told where its pages lie by the record that enters it, so the same code at another place,
 * as the kernel of a guest's own guest, needs none of its own: the bytes are compared, and it enters the one there is.
 */
import { pageBytes } from '../../memory/pool.ts';
import type { Callee } from '../interpreter/callees.ts';
import type { FunctionBody } from '../wasm/module.ts';
import { pageOf, type Step } from './discover.ts';

/** Bytes of a page; pages count from the region's first. */
export interface CodeRange {
  readonly page: number;
  readonly start: number;
  readonly end: number;
}
/** A region's function, and the code it does, wherever that lies. Offsets count from the start of its first page. */
export interface LibraryRegion {
  readonly run: () => number;
  /** The code mode, as names of pages have it. */
  readonly mode: number;
  /** No windows that accesses share. */
  readonly isNarrow: boolean;
  readonly entries: readonly number[];
  /** The pages whose maps the function asks for, in its order. */
  readonly pages: readonly number[];
  readonly ranges: readonly CodeRange[];
  /** The bytes of each range. */
  readonly code: readonly Uint8Array[];
  /** For profiles. */
  readonly profiled: { readonly steps: readonly Step[]; readonly body: FunctionBody; readonly callees: readonly Callee[] } | undefined;
}
/** A place where a region may be entered, if its code is what it was made of. */
export interface Candidate {
  readonly region: LibraryRegion;
  readonly entry: number;
}

const keyBits = 16;
/** Of regions that begin alike so many are kept, the latest. */
const alikeMax = 4;

/** What code at an offset of a page, in a code mode, has in common with what is the same: its first four bytes. */
function keyOf(word: number, offset: number, mode: number): number {
  return Math.imul(word ^ Math.imul(offset * 8 + mode, 0x9e3779b1), 0x85ebca6b) >>> (32 - keyBits);
}
function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24);
}

export class RegionLibrary {
  readonly #max: number;
  /** How many candidates there are by key. */
  readonly #counts = new Uint16Array(1 << keyBits);
  readonly #candidates = new Map<number, Candidate[]>();
  /** All regions with the keys of their entries, the oldest first. */
  readonly #keys = new Map<LibraryRegion, readonly number[]>();

  /** So many regions are kept. */
  constructor(max: number) {
    this.#max = max;
  }
  get size(): number {
    return this.#keys.size;
  }
  add(region: LibraryRegion): void {
    const keys: number[] = [];
    for (const entry of region.entries) {
      const page = pageOf(entry);
      const within = entry - page * pageBytes;
      const n = region.ranges.findIndex((r) => r.page === page && r.start <= within && within + 4 <= r.end);
      const { start = 0 } = region.ranges[n] ?? {};
      const code = region.code[n];
      if (!code) continue;
      const key = keyOf(wordAt(code, within - start), within, region.mode);
      const alike = this.#candidates.get(key) ?? [];
      this.#candidates.set(key, alike);
      alike.push({ region, entry });
      this.#counts[key] = alike.length;
      keys.push(key);
      if (alike.length > alikeMax) this.remove((alike[0] as Candidate).region);
    }
    this.#keys.set(region, keys);
    if (this.#keys.size > this.#max) for (const oldest of this.#keys.keys()) return this.remove(oldest);
  }
  remove(region: LibraryRegion): void {
    for (const key of this.#keys.get(region) ?? []) {
      const left = (this.#candidates.get(key) ?? []).filter((c) => c.region !== region);
      if (left.length > 0) this.#candidates.set(key, left);
      else this.#candidates.delete(key);
      this.#counts[key] = left.length;
    }
    this.#keys.delete(region);
  }
  /** Whether there may be a region for the code at an offset of a frame, in a code mode. */
  mayKnow(memory: Uint8Array, frame: number, offset: number, mode: number): boolean {
    return this.#counts[keyOf(wordAt(memory, frame * pageBytes + offset), offset, mode)] !== 0;
  }
  candidates(memory: Uint8Array, frame: number, offset: number, mode: number): readonly Candidate[] {
    const alike = this.#candidates.get(keyOf(wordAt(memory, frame * pageBytes + offset), offset, mode)) ?? [];
    return alike.filter((c) => c.region.mode === mode && c.entry - pageOf(c.entry) * pageBytes === offset);
  }
}
