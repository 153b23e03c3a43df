/** The interpreter: decodes code into records, has handlers made for new shapes, and runs them in WebAssembly until something needs TypeScript. */

import { present } from '../../base/assert.ts';
import { Fault, Vector } from '../../cpu/fault.ts';
import type { Processor } from '../../cpu/processor.ts';
import { At } from '../../cpu/state.ts';
import { type Decoded, longestInstruction } from '../../isa/decode.ts';
import { pageBytes } from '../../memory/pool.ts';
import type { CodeWatch } from '../../memory/space.ts';
import type { CompiledCode, EngineOptions } from '../options.ts';
import type { EngineProfile } from '../profile.ts';
import { type ArenaRange, CodePages, mapBytes } from './code-pages.ts';
import { longestGroup } from './groups.ts';
import { Handlers } from './handlers.ts';
import { type Parts, partsOf } from './outcomes.ts';
import { countHandler, crossingHandler, gotoHandler, longCode, Record, recordBytes, relookupHandler } from './record.ts';
import { RecordWriter } from './record-writer.ts';
import type { RegionEntry, Translation } from './translation.ts';

const longestTrace = 64;
/** Code that may be known is entered so often before it is looked for: its other pages are there by then. */
const knownEntries = 200;

export class Interpreter implements CodeWatch {
  readonly #p: Processor;
  readonly #handlers: Handlers;
  readonly #writer: RecordWriter;
  /** Where decoded code lies. */
  readonly pages: CodePages;
  readonly #profile: EngineProfile | undefined;
  #translation: Translation | undefined;
  /** Records of instructions that end on a frame and begin on another. */
  readonly #crossings = new Map<number, number[]>();
  readonly #crossingBytes = new Uint8Array(16);
  /** How often what happened; for profiles. */
  readonly #counts = { traces: 0, invalidations: 0, arenaFlushes: 0 };

  constructor(p: Processor, arena: ArenaRange, options: EngineOptions = {}) {
    const { profile } = options;
    this.#p = p;
    this.#profile = profile;
    this.pages = new CodePages(p, arena);
    const left = profile ? (next: number, entered: number, retired: number): void => this.#left(next, entered, retired) : undefined;
    this.#handlers = new Handlers(p, { hot: (record) => this.#hot(record), left }, options);
    this.#writer = new RecordWriter(p, this.pages, this.#handlers, p.decoder);
  }

  /** Makes the functions of a module of regions. */
  instantiate(module: BufferSource | WebAssembly.Module, code: CompiledCode): WebAssembly.Exports {
    return this.#handlers.instantiate(module, code);
  }
  get counts(): { readonly traces: number; readonly records: number; readonly invalidations: number; readonly arenaFlushes: number } {
    return { ...this.#counts, records: this.#writer.count };
  }
  /** Shapes of instructions that have a handler. */
  get shapes(): number {
    return this.#handlers.count;
  }
  /** From here on, places that are entered often are reported. */
  translateWith(translation: Translation): void {
    this.#translation = translation;
  }

  /** Runs until the fuel is spent or something waits for the run loop. Faults of the guest are thrown. */
  run(): void {
    const { v } = this.#p;
    const { base } = v;
    for (;;) {
      const record = v.get(At.record) >>> 0 || this.#handlers.search(base) >>> 0 || this.#findTimed();
      const fuel = v.get(At.fuel);
      this.#handlers.run(base, record);
      this.#translation?.tick(fuel - v.get(At.fuel));
      if (v.get(At.record) !== 0 || v.get(At.fuel) <= 0 || v.get(At.pending) !== 0 || v.get(At.halted) !== 0) return;
    }
  }

  // --- finding and decoding code

  #findTimed(): number {
    return this.#profile ? this.#profile.time('decoding', () => this.#find()) : this.#find();
  }
  #find(): number {
    const { v } = this.#p;
    const ip = v.get64(At.ip);
    const long = v.long;
    const linear = BigInt.asUintN(long ? 64 : 32, ip + v.get64(At.segmentBase, 1));
    if (!long && ip > BigInt(v.get(At.segmentLimit, 1) >>> 0)) throw new Fault(Vector.protection, 0);
    const low = Number(linear & 0xffff_ffffn) | 0;
    const high = Number(linear >> 32n) | 0;
    if (long && high >> 15 !== 0 && high >> 15 !== -1) throw new Fault(Vector.protection, 0);
    if (!this.pages.hasRoom(2 * mapBytes + (longestTrace + 2) * recordBytes)) this.flush();
    if (this.#handlers.isNearlyFull(longestTrace + 4)) {
      this.flush(); // all code is decoded again, with handlers for what is in use
      this.#handlers.forget();
      this.#writer.forget();
    }
    const { frame, map } = this.pages.enter(linear);
    if (frame === 0) throw new Fault(Vector.undefined); // nobody's memory reads as ones: FF FF is no instruction
    const offset = low & 0xfff;
    const mode = Number(v.get64(At.codeMode)) & 7;
    v.set64(At.codePage, BigInt.asUintN(64, ip - BigInt(offset)));
    const known = v.words[(map >>> 2) + offset] ?? 0;
    if (known === 0) return this.#decodeTrace(frame, mode, map, offset, linear);
    const crosses = v.pool.view.getUint16(known + Record.handler, true) === crossingHandler;
    return crosses ? this.#crossing(frame, map, offset, linear, mode) : known;
  }

  #decodeTrace(frame: number, mode: number, map: number, start: number, linear: bigint): number {
    const { words } = this.#p.v;
    const host = frame * pageBytes;
    this.#counts.traces++;
    let first = 0;
    let offset = start;
    let n = 0;
    let ended = false;
    for (; n < longestTrace && offset < pageBytes && !ended; n++) {
      if (n > 0 && (words[(map >>> 2) + offset] ?? 0) !== 0) break;
      const written = this.#writer.next(host + offset, host + pageBytes, offset, mode);
      if (!written) {
        if (offset === start) return this.#crossing(frame, map, offset, linear, mode);
        break;
      }
      const { record, target } = written;
      words[(map >>> 2) + offset] = record;
      this.#place(record, frame * 8 + mode, offset, first === 0);
      first ||= record;
      const back = target >= 0 && target <= offset ? (words[(map >>> 2) + target] ?? 0) : 0;
      if (back !== 0) this.#count(back); // the target of a jump back is a place worth counting
      offset += written.length;
      ended = written.ends;
    }
    this.pages.markCode(frame, start, Math.min(pageBytes, offset));
    this.#writer.group(first, n);
    if (!ended) {
      const known = offset < pageBytes ? (words[(map >>> 2) + offset] ?? 0) : 0;
      this.#writer.pseudo(known !== 0 ? gotoHandler : relookupHandler, frame * 8 + mode, offset, known);
    }
    this.#handlers.compile();
    return first;
  }

  /** An instruction on two pages: its record holds while the second page is where it was. */
  #crossing(frame: number, map: number, offset: number, linear: bigint, mode: number): number {
    const { v } = this.#p;
    const here = pageBytes - offset;
    const second = this.pages.enter(BigInt.asUintN(v.long ? 64 : 32, linear + BigInt(here)));
    const known = v.words[(map >>> 2) + offset] ?? 0;
    v.jumps.dropCurrent();
    if (known !== 0 && (v.words[(known + Record.second) >>> 2] ?? 0) === second.map) return known;
    const bytes = this.#crossingBytes;
    bytes.fill(0xff);
    const first = frame * pageBytes + offset;
    for (let n = 0; n < here; n++) bytes[n] = v.pool.bytes[first + n] ?? 0;
    if (second.frame !== 0) for (let n = here; n < 16; n++) bytes[n] = v.pool.bytes[second.frame * pageBytes + n - here] ?? 0;
    const decoded = this.#p.decoder.decode(bytes, 0, 16, v.codeSize);
    const record = this.#writer.write(decoded === 'short' ? 'long' : decoded, offset);
    v.pool.view.setUint32(record + Record.page, frame * 8 + mode, true);
    v.words[(record + Record.second) >>> 2] = second.map;
    this.#writer.pseudo(relookupHandler, frame * 8 + mode, offset + (typeof decoded === 'string' ? 1 : decoded.length), 0);
    this.#handlers.compile();
    if (second.frame === 0) return record; // used once: there is nothing that would tell when it is out of date
    v.pool.view.setUint16(record + Record.handler, crossingHandler, true);
    v.words[(map >>> 2) + offset] = record;
    this.pages.markCode(frame, offset, pageBytes);
    this.pages.markCode(second.frame, 0, 16 - here);
    const records = this.#crossings.get(second.frame);
    if (records) records.push(record);
    else this.#crossings.set(second.frame, [record]);
    return record;
  }

  // --- what is entered at a place: the instruction, a count, a region

  /** A new record finds out where in the page it is and what is entered there. */
  #place(record: number, page: number, offset: number, isEntry: boolean): void {
    const { view } = this.#p.v.pool;
    view.setUint32(record + Record.page, page, true);
    const region = this.#translation?.entry(page, offset);
    if (region) this.#enterAt(record, region);
    else if (isEntry) this.#count(record);
  }
  #enterAt(record: number, { slot, entry, maps }: RegionEntry): void {
    const { view } = this.#p.v.pool;
    view.setUint16(record + Record.handler, slot, true);
    view.setUint16(record + Record.entry, entry, true);
    view.setUint32(record + Record.maps, maps, true);
  }
  /** The record's entries are counted from here on, in 64-bit code. */
  #count(record: number): void {
    const { view } = this.#p.v.pool;
    if (!this.#translation || (view.getUint32(record + Record.page, true) & 3) !== longCode) return;
    if (view.getUint16(record + Record.handler, true) !== view.getUint16(record + Record.own, true)) return;
    view.setUint16(record + Record.handler, countHandler, true);
    if (!this.#translation.mayKnow(...this.placeOf(record))) return;
    view.setUint16(record + Record.entry, Math.max(0, this.#p.v.get(At.hotEntries) - knownEntries), true);
    view.setUint32(record + Record.known, 1, true);
  }
  /** A place was hot, but nothing came of it. */
  countAgain(page: number, offset: number): void {
    const record = this.pages.recordAt(page, offset);
    if (record !== 0) this.#count(record);
  }
  #hot(record: number): void {
    const { view } = this.#p.v.pool;
    const translation = present(this.#translation, 'translation');
    const isKnown = view.getUint32(record + Record.known, true) === 1;
    view.setUint32(record + Record.known, 0, true);
    view.setUint16(record + Record.handler, view.getUint16(record + Record.own, true), true);
    this.#p.v.jumps.dropCurrent(); // so that it is counted again when a region is left for it
    view.setUint16(record + Record.entry, this.#p.v.get(At.hotEntries) / 2, true); // should no region be made of it, it has some time
    const place = this.placeOf(record);
    if (translation.reuse(...place)) return;
    if (!isKnown) return translation.hot(...place);
    view.setUint16(record + Record.handler, countHandler, true);
    view.setUint16(record + Record.entry, 0, true);
  }
  /** The record at a place no longer enters the region in `slot`. */
  leave(page: number, offset: number, slot: number): void {
    const record = this.pages.recordAt(page, offset);
    const { view } = this.#p.v.pool;
    if (record === 0 || view.getUint16(record + Record.handler, true) !== slot) return;
    view.setUint16(record + Record.handler, countHandler, true);
    view.setUint16(record + Record.entry, 0, true);
    view.setUint32(record + Record.known, 0, true);
  }
  /** Which page a record is of, and its offset there. */
  placeOf(record: number): readonly [page: number, offset: number] {
    return this.#writer.placeOf(record);
  }
  /** Where an indirect jump went last: guest-virtual addresses, as far as the TLB still has their pages. */
  learned(page: number, offset: number): readonly bigint[] {
    const { v } = this.#p;
    const record = this.pages.recordAt(page, offset);
    if (record === 0) return [];
    const records = new Set([Record.latest, Record.before, Record.earliest].map((field) => v.words[(record + field) >>> 2] ?? 0));
    records.delete(0);
    return [...records].map((r) => this.pages.addressOf(r)).filter((address) => address !== undefined);
  }
  /** How a conditional jump went of late in the interpreter; undefined when that never came there. */
  outcomes(page: number, offset: number): Parts | undefined {
    const record = this.pages.recordAt(page, offset);
    return record === 0 ? undefined : partsOf(this.#p.v.pool.view.getUint32(record + Record.outcomes, true));
  }
  /** Whether entries of a place are counted, or enter a region. */
  isCounted(page: number, offset: number): boolean {
    const record = this.pages.recordAt(page, offset);
    const { view } = this.#p.v.pool;
    return record !== 0 && view.getUint16(record + Record.handler, true) !== view.getUint16(record + Record.own, true);
  }
  /** How often a place was entered, as a part of what makes it hot: 0 when it was never decoded, 1 when nobody counts. */
  heat(page: number, offset: number): number {
    const record = this.pages.recordAt(page, offset);
    if (record === 0) return 0;
    const { view } = this.#p.v.pool;
    return view.getUint16(record + Record.handler, true) === countHandler
      ? view.getUint16(record + Record.entry, true) / this.#p.v.get(At.hotEntries)
      : 1;
  }

  /** For profiles: the current region was left, for another place or to have this instruction done. */
  #left(dispatched: number, entered: number, retired: number): void {
    const { v } = this.#p;
    const { view, bytes } = v.pool;
    const record = dispatched & -8;
    const slot = view.getUint16(entered + Record.handler, true);
    if (dispatched === record) return this.#profile?.leave(slot, retired, undefined);
    const at = Math.floor(view.getUint32(record + Record.page, true) / 8) * pageBytes + view.getUint16(record + Record.offset, true);
    const decoded = this.#p.decoder.decode(bytes, at, at + longestInstruction, v.codeSize);
    this.#profile?.leave(slot, retired, typeof decoded === 'string' ? decoded : kindOf(decoded));
  }

  /** Makes a function a region that records can enter. */
  install(region: () => number): number {
    return this.#handlers.addRegion(region);
  }
  release(slot: number): void {
    this.#handlers.removeRegion(slot);
  }
  /** The record at a place, if there is one, enters a region from now on. */
  enter(page: number, offset: number, region: RegionEntry): void {
    const record = this.pages.recordAt(page, offset);
    if (record !== 0) this.#enterAt(record, region);
  }

  // --- code that changes

  /** Code of a frame was written: what was decoded of the 64-byte pieces there is dropped. */
  written(frame: number, start: number, end: number): void {
    const { pool } = this.#p.v;
    const [first, last] = [start >> 6, (end - 1) >> 6];
    let touched = false;
    for (let piece = first; piece <= last; piece++) {
      const word = frame * 2 + (piece >> 5);
      const bit = 1 << (piece & 31);
      touched ||= ((pool.code[word] ?? 0) & bit) !== 0;
      pool.code[word] = (pool.code[word] ?? 0) & ~bit;
    }
    if (!touched) return;
    this.#counts.invalidations++;
    this.#p.v.jumps.drop('all');
    const [from, to] = [first << 6, (last + 1) << 6];
    const before = from - longestInstruction + 1;
    this.#translation?.forget(frame, from, to);
    if (from < longestInstruction) {
      for (const record of this.#crossings.get(frame) ?? []) this.#dropCrossing(record);
      this.#crossings.delete(frame);
    }
    for (let page = frame * 8; page < frame * 8 + 8; page++) {
      const map = this.pages.mapOf(page);
      if (map === 0) continue;
      for (let offset = Math.max(0, before - longestGroup * longestInstruction); offset < to; offset++) {
        const record = pool.words[(map >>> 2) + offset] ?? 0;
        if (record === 0) continue;
        if (offset < before) {
          this.#writer.ungroup(record); // some of the group may be what was written
          continue;
        }
        this.#writer.dispatchTo(record, relookupHandler);
        pool.words[(map >>> 2) + offset] = 0;
      }
    }
  }
  #dropCrossing(record: number): void {
    const { v } = this.#p;
    const map = this.pages.mapOf(v.pool.view.getUint32(record + Record.page, true));
    const place = (map >>> 2) + v.pool.view.getUint16(record + Record.offset, true);
    if (map !== 0 && v.words[place] === record) v.words[place] = 0;
    this.#writer.dispatchTo(record, relookupHandler);
  }
  /** Forgets all decoded code; only while no record is current. */
  flush(): void {
    const { v } = this.#p;
    this.#counts.arenaFlushes++;
    this.pages.clear();
    this.#crossings.clear();
    this.#translation?.clear();
    v.pool.code.fill(0);
    v.flushAllTlbs();
  }
}

/** An instruction without its registers and constants. */
function kindOf(d: Decoded): string {
  return `${d.row.name} ${d.row.operands.map((o, n) => (d.operands[n]?.kind === 'memory' ? 'memory' : o)).join(' ')}`;
}
