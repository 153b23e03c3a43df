/**
 * Pages of decoded code in machine memory: each has a map from the offset of an instruction to its record. A page is named by
 * frame * 8 + code mode; the code TLB tells which page lies at a guest-virtual address.
 */
import { Bug } from '../../base/assert.ts';
import { PageBits } from '../../cpu/large-pages.ts';
import { accessOf } from '../../cpu/page-walk.ts';
import type { Processor } from '../../cpu/processor.ts';
import { At, codeTlbOffset, codeTlbSlot, jumpCacheOffset } from '../../cpu/state.ts';
import { pageBytes } from '../../memory/pool.ts';
import { Record } from './record.ts';

export interface ArenaRange {
  /** Where decoded code lives in machine memory: byte addresses. */
  readonly start: number;
  readonly end: number;
}

export const mapBytes = pageBytes * 4;

export class CodePages {
  readonly #p: Processor;
  readonly #arena: ArenaRange;
  #next: number;
  readonly #maps = new Map<number, number>();
  /** Pages by their maps. */
  readonly #pages = new Map<number, number>();

  constructor(p: Processor, arena: ArenaRange) {
    this.#p = p;
    this.#arena = arena;
    this.#next = arena.start;
  }
  /** Whether so many bytes are left. */
  hasRoom(bytes: number): boolean {
    return this.#next + bytes <= this.#arena.end;
  }
  /** Where `allocate` would have so many bytes. */
  room(bytes: number): number {
    if (!this.hasRoom(bytes)) throw new Bug('the arena of decoded code is too small for one trace');
    return this.#next;
  }
  allocate(bytes: number): number {
    const at = this.room(bytes);
    this.#next += bytes;
    return at;
  }
  /** Forgets all pages and records. */
  clear(): void {
    this.#maps.clear();
    this.#pages.clear();
    this.#next = this.#arena.start;
  }

  /** The map of a page, or 0. */
  mapOf(page: number): number {
    return this.#maps.get(page) ?? 0;
  }
  /** The record at an offset in a page, or 0. */
  recordAt(page: number, offset: number): number {
    const map = this.#maps.get(page);
    return map === undefined ? 0 : (this.#p.v.words[(map >>> 2) + offset] ?? 0);
  }
  #map(page: number): number {
    let map = this.#maps.get(page);
    if (map === undefined) {
      map = this.allocate(mapBytes);
      this.#p.v.pool.bytes.fill(0, map, map + mapBytes);
      this.#maps.set(page, map);
      this.#pages.set(map, page);
    }
    return map;
  }
  /** The frame at a linear address with its map, which the code TLB has from now on. */
  enter(linear: bigint): { readonly frame: number; readonly map: number } {
    const { v, paging } = this.#p;
    const low = Number(linear & 0xffff_ffffn) | 0;
    const high = Number(linear >> 32n) | 0;
    let frame = 0;
    try {
      frame = v.space.frameOf(paging.translate(low, high, accessOf(v, 'fetch')));
    } finally {
      if (frame === 0) v.jumps.dropCurrent(); // a page fault drops what was known of its page (SDM 3A, 4.10.4.1)
    }
    if (frame === 0) return { frame, map: 0 };
    const mode = Number(v.get64(At.codeMode));
    const map = this.#map(frame * 8 + (mode & 7));
    const entry = (v.base + codeTlbOffset + codeTlbSlot(low, mode)) >>> 2;
    const { global, bits } = paging.found;
    v.filled.noteCode(entry, global, mode);
    if (bits !== PageBits.small) v.filled.noteLarge(low, v.longActive ? high : 0, bits, global);
    const before = v.words[entry] ?? 0;
    if (before !== -1 && (before !== ((low & ~0xfff) | mode) || v.words[entry + 1] !== high)) v.jumps.evict(before);
    v.words[entry] = (low & ~0xfff) | mode;
    v.words[entry + 1] = high;
    v.words[entry + 2] = map;
    return { frame, map };
  }
  /** Which page of code the TLB has for a guest-virtual address in a code mode. */
  pageAt(address: bigint, mode: number): number | undefined {
    const { v } = this.#p;
    const tag = BigInt.asUintN(64, address) | BigInt(mode);
    const entry = v.base + codeTlbOffset + codeTlbSlot(Number(address & 0xffff_ffffn), mode);
    if (v.pool.view.getBigUint64(entry, true) !== tag) return undefined;
    return this.#pages.get(v.words[(entry + 8) >>> 2] ?? 0);
  }
  /** The guest-virtual address of a record, as far as the TLB has its page. */
  addressOf(record: number): bigint | undefined {
    const { v } = this.#p;
    const map = this.#maps.get(v.pool.view.getUint32(record + Record.page, true));
    if (map === undefined) return undefined;
    const start = (v.base + codeTlbOffset) >>> 2;
    for (let entry = start; entry < (v.base + jumpCacheOffset) >>> 2; entry += 4) {
      if (v.words[entry + 2] !== map || v.words[entry] === -1) continue;
      const page = (BigInt((v.words[entry + 1] ?? 0) >>> 0) << 32n) | BigInt(((v.words[entry] ?? 0) & ~0xfff) >>> 0);
      return page + BigInt(v.pool.view.getUint16(record + Record.offset, true));
    }
    return undefined;
  }
  /** Writes to these bytes of a frame will be noticed. */
  markCode(frame: number, start: number, end: number): void {
    const { v } = this.#p;
    const { code } = v.pool;
    if (((code[frame * 2] ?? 0) | (code[frame * 2 + 1] ?? 0)) === 0) v.dropWriteTlb(frame);
    for (let granule = start >> 6; granule <= (end - 1) >> 6; granule++) {
      const word = frame * 2 + (granule >> 5);
      code[word] = (code[word] ?? 0) | (1 << (granule & 31));
    }
  }
}
