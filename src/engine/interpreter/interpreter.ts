/** The interpreter: decodes code into records, has handlers made for new shapes, and runs them in WebAssembly until something needs TypeScript. */

import { Bug, present } from '../../base/assert.ts';
import { Fault, Vector } from '../../cpu/fault.ts';
import { helpers } from '../../cpu/helpers/index.ts';
import { accessOf } from '../../cpu/paging.ts';
import type { Processor } from '../../cpu/processor.ts';
import { At, codeTlbOffset, codeTlbSlot, offsetOf, tlbBankBytes, vcpuAreaBytes, writeTlbOffset } from '../../cpu/state.ts';
import { type Decoded, type DecodedOperand, Decoder } from '../../isa/decode.ts';
import { helperNames } from '../../isa/helper-names.ts';
import { pageBytes } from '../../memory/pool.ts';
import type { CodeWatch } from '../../memory/space.ts';
import { ModuleBuilder } from '../wasm/module.ts';
import { type Callee, calleeSignature } from './callees.ts';
import { type coreImports, coreModule, hotEntries } from './core.ts';
import { runNames } from './core-runs.ts';
import { isAbsolute, isFarRelative, makeHandler, shapeKey } from './handler.ts';
import { Record, recordBytes } from './record.ts';
import type { EngineProfile } from '../profile.ts';
import type { Translation } from './translation.ts';

export interface ArenaRange {
  /** Where decoded code lives in machine memory: byte addresses. */
  readonly start: number;
  readonly end: number;
}

const mapBytes = pageBytes * 4;
const longestTrace = 64;
/** Handlers lie below, regions of translated code above. */
const handlersEnd = 16_384;
const tableSize = 49_152;
const gotoHandler = 1;
const relookupHandler = 2;
const countHandler = 3;
const crossingHandler = 4;
const firstHandler = 5;

export class Interpreter implements CodeWatch {
  readonly #p: Processor;
  readonly #arena: ArenaRange;
  readonly #decoder: Decoder;
  readonly #table = new WebAssembly.Table({ initial: tableSize, element: 'anyfunc' });
  readonly #imports: Record<string, WebAssembly.ExportValue> = {};
  readonly #run: (state: number, record: number) => void;
  readonly #lookup: (state: number) => number;

  readonly #handlers = new Map<string, number>();
  #nextHandler = firstHandler;
  #missing: { readonly index: number; readonly decoded: Decoded }[] = [];

  readonly #profile: EngineProfile | undefined;
  #translation: Translation | undefined;
  #nextSlot = handlersEnd;
  readonly #freeSlots: number[] = [];
  #flushWanted = false;

  #next: number;
  readonly #maps = new Map<number, number>();
  /** Pages by their maps. */
  readonly #pages = new Map<number, number>();
  /** Records of instructions that end on a frame and begin on another. */
  readonly #crossings = new Map<number, number[]>();
  readonly #crossingBytes = new Uint8Array(16);
  /** How often what happened; for profiles. */
  readonly counts = { traces: 0, records: 0, shapes: 0, invalidations: 0, arenaFlushes: 0 };

  constructor(p: Processor, arena: ArenaRange, profile?: EngineProfile) {
    this.#profile = profile;
    this.#p = p;
    this.#arena = arena;
    this.#next = arena.start;
    this.#decoder = new Decoder(p.v.model.instructions);
    this.#addHelpers();
    const core = this.#instantiateCore();
    this.#run = core.run as (state: number, record: number) => void;
    this.#lookup = core.lookup as (state: number) => number;
    for (const [name, value] of Object.entries(core)) if (name !== 'run') this.#imports[name] = value as WebAssembly.ExportValue;
    this.#table.set(gotoHandler, core.goto as () => number);
    this.#table.set(relookupHandler, core.relookup as () => number);
    this.#table.set(countHandler, core.count as () => number);
    this.#table.set(crossingHandler, core.crossing as () => number);
  }

  /** What a region may import. */
  get regionImports(): WebAssembly.ModuleImports {
    return Object.fromEntries(['memory', ...runNames].map((name) => [name, present(this.#imports[name], name)]));
  }
  /** From here on, places that are entered often are reported. */
  translateWith(translation: Translation): void {
    this.#translation = translation;
  }

  #instantiateCore(): WebAssembly.Exports {
    const { paging } = this.#p;
    const env: Record<string, unknown> = { ...this.#imports, table: this.#table };
    const slow: Record<(typeof coreImports)[number], (s: number, low: number, high: number, size: number) => number> = {
      loadSlow: (_s, low, high, size) => paging.loadSlow(low, high, size, 'read'),
      loadForWriteSlow: (_s, low, high, size) => paging.loadSlow(low, high, size, 'write'),
      storeSlow: (_s, low, high, size) => {
        paging.storeSlow(low, high, size);
        return 0;
      },
    };
    Object.assign(env, slow, { hot: (record: number) => this.#hot(record), left: (record: number) => this.#left(record) });
    return new WebAssembly.Instance(new WebAssembly.Module(coreModule(this.#profile !== undefined)), { env: env as WebAssembly.ModuleImports }).exports;
  }
  #addHelpers(): void {
    const p = this.#p;
    this.#imports.memory = p.v.pool.memory;
    this.#imports.raise = ((vector: number, error: number) => {
      throw new Fault(vector, vector === Vector.protection || vector === Vector.stack ? error : undefined);
    }) as unknown as WebAssembly.ExportValue;
    for (const name of helperNames) {
      const helper = helpers[name];
      const u = (n: bigint): bigint => BigInt.asUintN(64, n);
      const call = (a = 0n, b = 0n, c = 0n, d = 0n, e = 0n): bigint => u(helper(p, u(a), u(b), u(c), u(d), u(e)) ?? 0n);
      for (let n = 0; n <= 5; n++) this.#imports[`helper:${name}/${n}`] = call as unknown as WebAssembly.ExportValue;
    }
  }

  /** Runs until the fuel is spent or something waits for the run loop. Faults of the guest are thrown. */
  run(): void {
    const { v } = this.#p;
    const { base } = v;
    for (;;) {
      const record = v.get(At.record) >>> 0 || this.#lookup(base) >>> 0 || this.#find();
      this.#run(base, record);
      this.#translation?.tick();
      if (v.get(At.record) !== 0 || v.get(At.fuel) <= 0 || v.get(At.pending) !== 0 || v.get(At.halted) !== 0) return;
    }
  }

  // --- finding and decoding code

  #find(): number {
    const { v } = this.#p;
    const ip = v.get64(At.ip);
    const long = v.long;
    const linear = BigInt.asUintN(long ? 64 : 32, ip + v.get64(At.segmentBase, 1));
    if (!long && ip > BigInt(v.get(At.segmentLimit, 1) >>> 0)) throw new Fault(Vector.protection, 0);
    const low = Number(linear & 0xffff_ffffn) | 0;
    const high = Number(linear >> 32n) | 0;
    if (long && high >> 15 !== 0 && high >> 15 !== -1) throw new Fault(Vector.protection, 0);
    if (this.#next + 2 * mapBytes + (longestTrace + 2) * recordBytes > this.#arena.end) this.flush();
    if (this.#nextHandler + longestTrace + 4 > handlersEnd) this.#forgetHandlers();
    if (this.#flushWanted) this.flush();
    const { frame, map } = this.#enterPage(linear);
    if (frame === 0) throw new Fault(Vector.undefined); // nobody's memory reads as ones: FF FF is no instruction
    const offset = low & 0xfff;
    const mode = Number(v.get64(At.codeMode)) & 7;
    v.set64(At.codePage, BigInt.asUintN(64, ip - BigInt(offset)));
    const known = v.words[(map >>> 2) + offset] ?? 0;
    if (known === 0) return this.#decodeTrace(frame, mode, map, offset, linear);
    const crosses = v.pool.view.getUint16(known + Record.handler, true) === crossingHandler;
    return crosses ? this.#crossing(frame, map, offset, linear, mode) : known;
  }

  #map(frame: number, mode: number): number {
    const key = frame * 8 + mode;
    let map = this.#maps.get(key);
    if (map === undefined) {
      map = this.#allocate(mapBytes);
      this.#p.v.pool.bytes.fill(0, map, map + mapBytes);
      this.#maps.set(key, map);
      this.#pages.set(map, key);
    }
    return map;
  }
  #allocate(bytes: number): number {
    const at = this.#next;
    this.#next += bytes;
    if (this.#next > this.#arena.end) throw new Bug('the arena of decoded code is too small for one trace');
    return at;
  }

  #decodeTrace(frame: number, mode: number, map: number, start: number, linear: bigint): number {
    const { v } = this.#p;
    const { bytes } = v.pool;
    const code = v.codeSize;
    const host = frame * pageBytes;
    this.counts.traces++;
    let first = 0;
    let offset = start;
    for (let n = 0; n < longestTrace && offset < pageBytes; n++) {
      const known = v.words[(map >>> 2) + offset] ?? 0;
      if (known !== 0) {
        this.#writePseudo(gotoHandler, offset, known);
        break;
      }
      const decoded = this.#decoder.decode(bytes, host + offset, host + pageBytes, code);
      if (decoded === 'short') {
        if (offset === start) return this.#crossing(frame, map, offset, linear, mode);
        break;
      }
      const record = this.#writeRecord(decoded, offset);
      v.words[(map >>> 2) + offset] = record;
      this.#place(record, frame * 8 + mode, offset, first === 0);
      first ||= record;
      if (code === 64 && typeof decoded !== 'string') this.#countTarget(map, decoded, offset);
      const length = typeof decoded === 'string' ? 1 : decoded.length;
      this.markCode(frame, offset, Math.min(pageBytes, offset + (typeof decoded === 'string' ? 15 : length)));
      offset += length;
      if (typeof decoded === 'string' || decoded.row.ends) {
        this.#compileMissing();
        return first;
      }
    }
    this.#writePseudo(relookupHandler, offset, 0);
    this.#compileMissing();
    return first;
  }

  /** An instruction on two pages: its record holds while the second page is where it was. */
  #crossing(frame: number, map: number, offset: number, linear: bigint, mode: number): number {
    const { v } = this.#p;
    const here = pageBytes - offset;
    const second = this.#enterPage(BigInt.asUintN(v.long ? 64 : 32, linear + BigInt(here)));
    const known = v.words[(map >>> 2) + offset] ?? 0;
    if (known !== 0 && (v.words[(known + Record.second) >>> 2] ?? 0) === second.map) return known;
    const bytes = this.#crossingBytes;
    bytes.fill(0xff);
    const first = frame * pageBytes + offset;
    for (let n = 0; n < here; n++) bytes[n] = v.pool.bytes[first + n] ?? 0;
    if (second.frame !== 0) for (let n = here; n < 16; n++) bytes[n] = v.pool.bytes[second.frame * pageBytes + n - here] ?? 0;
    const decoded = this.#decoder.decode(bytes, 0, 16, v.codeSize);
    const record = this.#writeRecord(decoded === 'short' ? 'long' : decoded, offset);
    v.pool.view.setUint32(record + Record.page, frame * 8 + mode, true);
    v.words[(record + Record.second) >>> 2] = second.map;
    this.#writePseudo(relookupHandler, offset + (typeof decoded === 'string' ? 1 : decoded.length), 0);
    this.#compileMissing();
    if (second.frame === 0) return record; // used once: there is nothing that would tell when it is out of date
    v.pool.view.setUint16(record + Record.handler, crossingHandler, true);
    v.words[(map >>> 2) + offset] = record;
    this.markCode(frame, offset, pageBytes);
    this.markCode(second.frame, 0, 16 - here);
    const records = this.#crossings.get(second.frame);
    if (records) records.push(record);
    else this.#crossings.set(second.frame, [record]);
    return record;
  }
  /** The frame at a linear address with its map, which the code TLB has from now on. */
  #enterPage(linear: bigint): { readonly frame: number; readonly map: number } {
    const { v, paging } = this.#p;
    const low = Number(linear & 0xffff_ffffn) | 0;
    const high = Number(linear >> 32n) | 0;
    const page = paging.translate(low, high, accessOf(v, 'fetch'));
    const frame = v.space.frameOf(page);
    if (frame === 0) return { frame, map: 0 };
    const mode = Number(v.get64(At.codeMode));
    const map = this.#map(frame, mode & 7);
    const entry = (v.base + codeTlbOffset + codeTlbSlot(low, mode)) >>> 2;
    v.filled.note(entry, paging.found.global);
    v.words[entry] = (low & ~0xfff) | mode;
    v.words[entry + 1] = high;
    v.words[entry + 2] = map;
    return { frame, map };
  }

  #dispatchTo(record: number, handler: number): void {
    const { view } = this.#p.v.pool;
    view.setUint16(record + Record.handler, handler, true);
    view.setUint16(record + Record.own, handler, true);
  }
  /** A new record finds out where in the page it is and what is entered there. */
  #place(record: number, page: number, offset: number, isEntry: boolean): void {
    const { view } = this.#p.v.pool;
    view.setUint32(record + Record.page, page, true);
    const region = this.#translation?.entry(page, offset);
    if (region) {
      view.setUint16(record + Record.handler, region.slot, true);
      view.setUint16(record + Record.entry, region.entry, true);
    } else if (isEntry) this.#count(record);
  }
  /** The record's entries are counted from here on, in 64-bit code. */
  #count(record: number): void {
    const { view } = this.#p.v.pool;
    if (!this.#translation || (view.getUint32(record + Record.page, true) & 3) !== 2) return;
    if (view.getUint16(record + Record.handler, true) === view.getUint16(record + Record.own, true))
      view.setUint16(record + Record.handler, countHandler, true);
  }
  /** The target of a jump back is a place worth counting. */
  #countTarget(map: number, decoded: Decoded, offset: number): void {
    if (decoded.row.operands[0]?.[0] !== 'J') return;
    const target = offset + decoded.length + Number(decoded.immediates[0] ?? 0n);
    const record = target >= 0 && target <= offset ? (this.#p.v.words[(map >>> 2) + target] ?? 0) : 0;
    if (record !== 0) this.#count(record);
  }
  #hot(record: number): void {
    const { view } = this.#p.v.pool;
    view.setUint16(record + Record.handler, view.getUint16(record + Record.own, true), true);
    this.#translation?.hot(view.getUint32(record + Record.page, true), view.getUint16(record + Record.offset, true));
  }

  /** The record at a place no longer enters the region in `slot`. */
  leave(page: number, offset: number, slot: number): void {
    const map = this.#maps.get(page);
    const record = map === undefined ? 0 : (this.#p.v.words[(map >>> 2) + offset] ?? 0);
    const { view } = this.#p.v.pool;
    if (record === 0 || view.getUint16(record + Record.handler, true) !== slot) return;
    view.setUint16(record + Record.handler, countHandler, true);
    view.setUint16(record + Record.entry, 0, true);
  }
  /** Which page of code the TLB has for a guest-virtual address, in the mode that is current. */
  pageAt(address: bigint): number | undefined {
    const { v } = this.#p;
    const tag = BigInt.asUintN(64, address) | v.get64(At.codeMode);
    const entry = v.base + codeTlbOffset + codeTlbSlot(Number(address & 0xffff_ffffn), Number(v.get64(At.codeMode)));
    if (v.pool.view.getBigUint64(entry, true) !== tag) return undefined;
    return this.#pages.get(v.words[(entry + 8) >>> 2] ?? 0);
  }
  /** Where an indirect jump went last: guest-virtual addresses, as far as the TLB still has their pages. */
  learned(page: number, offset: number): readonly bigint[] {
    const { v } = this.#p;
    const map = this.#maps.get(page);
    const record = map === undefined ? 0 : (v.words[(map >>> 2) + offset] ?? 0);
    if (record === 0) return [];
    const records = [Record.latest, Record.before].map((field) => v.words[(record + field) >>> 2] ?? 0).filter((r) => r !== 0);
    return records.map((r) => this.#addressOf(r)).filter((address) => address !== undefined);
  }
  #addressOf(record: number): bigint | undefined {
    const { v } = this.#p;
    const map = this.#maps.get(v.pool.view.getUint32(record + Record.page, true));
    if (map === undefined) return undefined;
    const start = (v.base + codeTlbOffset) >>> 2;
    for (let entry = start; entry < (v.base + vcpuAreaBytes) >>> 2; entry += 4) {
      if (v.words[entry + 2] !== map || v.words[entry] === -1) continue;
      const page = (BigInt((v.words[entry + 1] ?? 0) >>> 0) << 32n) | BigInt(((v.words[entry] ?? 0) & ~0xfff) >>> 0);
      return page + BigInt(v.pool.view.getUint16(record + Record.offset, true));
    }
    return undefined;
  }
  mapAddress(page: number): number {
    return this.#maps.get(page) ?? 0;
  }
  /** How often a place was entered, as a part of what makes it hot: 0 when it was never decoded, 1 when nobody counts. */
  heat(page: number, offset: number): number {
    const map = this.#maps.get(page);
    const record = map === undefined ? 0 : (this.#p.v.words[(map >>> 2) + offset] ?? 0);
    if (record === 0) return 0;
    const { view } = this.#p.v.pool;
    return view.getUint16(record + Record.handler, true) === countHandler ? view.getUint16(record + Record.entry, true) / hotEntries : 1;
  }
  /** For profiles: a region was left, for another place or to have this instruction done. */
  #left(dispatched: number): void {
    const { view, bytes } = this.#p.v.pool;
    const record = dispatched & -8;
    const at = Math.floor(view.getUint32(record + Record.page, true) / 8) * pageBytes + view.getUint16(record + Record.offset, true);
    const decoded = this.#decoder.decode(bytes, at, at + 15, this.#p.v.codeSize);
    const operands = typeof decoded === 'string' ? '' : decoded.row.operands.map((o, n) => (decoded.operands[n]?.kind === 'memory' ? 'memory' : o)).join(' ');
    this.#profile?.leave(dispatched !== record, typeof decoded === 'string' ? decoded : `${decoded.row.name} ${operands}`);
  }
  /** Makes a function a region that records can enter. Undefined when there is no room: all code will be dropped soon. */
  install(region: () => number): number | undefined {
    const slot = this.#freeSlots.pop() ?? (this.#nextSlot < tableSize ? this.#nextSlot++ : undefined);
    if (slot === undefined) this.#flushWanted = true;
    else this.#table.set(slot, region);
    return slot;
  }
  release(slot: number): void {
    this.#table.set(slot, null);
    this.#freeSlots.push(slot);
  }
  /** The record at a place, if there is one, enters a region from now on. */
  enter(page: number, offset: number, slot: number, entry: number): void {
    const map = this.#maps.get(page);
    const record = map === undefined ? 0 : (this.#p.v.words[(map >>> 2) + offset] ?? 0);
    if (record === 0) return;
    const { view } = this.#p.v.pool;
    view.setUint16(record + Record.handler, slot, true);
    view.setUint16(record + Record.entry, entry, true);
  }

  #writePseudo(handler: number, offset: number, link: number): void {
    const at = this.#allocate(recordBytes);
    const { view, bytes } = this.#p.v.pool;
    bytes.fill(0, at, at + recordBytes);
    this.#dispatchTo(at, handler);
    view.setUint16(at + Record.offset, offset, true);
    view.setUint32(at + Record.link, link, true);
  }

  #writeRecord(decoded: Decoded | 'undefined' | 'long' | 'short', offset: number): number {
    const at = this.#allocate(recordBytes);
    const { view, bytes } = this.#p.v.pool;
    this.counts.records++;
    bytes.fill(0, at, at + recordBytes);
    view.setUint16(at + Record.offset, offset, true);
    if (typeof decoded === 'string') {
      this.#dispatchTo(at, this.#failureHandler(decoded));
      return at;
    }
    this.#dispatchTo(at, this.#handler(decoded));
    bytes[at + Record.length] = decoded.length;
    decoded.operands.forEach((operand, n) => view.setUint16(at + Record.operands + 2 * n, operandField(operand, decoded), true));
    const immediate = isAbsolute(decoded) ? decoded.memory?.displacement : decoded.immediates[0];
    if (immediate !== undefined) view.setBigInt64(at + Record.immediate, BigInt.asIntN(64, immediate), true);
    bytes[at + Record.segmentNumber] = decoded.memory?.segment ?? 2;
    this.#writeMemory(at, decoded, offset);
    if (decoded.row.operands[0]?.[0] === 'J') {
      const target = offset + decoded.length + Number(decoded.immediates[0] ?? 0n);
      bytes[at + Record.inPage] = target >= 0 && target < pageBytes ? 1 : 0;
    }
    return at;
  }
  #writeMemory(at: number, decoded: Decoded, offset: number): void {
    const { view, bytes } = this.#p.v.pool;
    const zero = offsetOf('zero');
    const memory = decoded.memory;
    const relative = memory?.base === 16 && !isFarRelative(decoded);
    const register = (n: number): number => (n === 16 ? offsetOf('codePage') : n < 0 ? zero : offsetOf('gpr', n));
    view.setUint16(at + Record.base, register(memory?.base ?? -1), true);
    view.setUint16(at + Record.index, register(memory?.index ?? -1), true);
    bytes[at + Record.scale] = memory?.scale ?? 0;
    const segment = memory?.segment ?? -1;
    view.setUint16(at + Record.segment, segment >= (decoded.form.long ? 4 : 0) ? offsetOf('segmentBase', segment) : zero, true);
    if (!memory || isAbsolute(decoded)) return;
    const displacement = Number(memory.displacement) + (relative ? offset + decoded.length : 0);
    view.setInt32(at + Record.displacement, displacement, true);
  }

  /** Writes to these bytes of a frame will be noticed. */
  markCode(frame: number, start: number, end: number): void {
    const { v } = this.#p;
    const { code } = v.pool;
    if (((code[frame * 2] ?? 0) | (code[frame * 2 + 1] ?? 0)) === 0)
      v.pool.bytes.fill(0xff, v.base + writeTlbOffset, v.base + writeTlbOffset + 3 * tlbBankBytes);
    for (let granule = start >> 6; granule <= (end - 1) >> 6; granule++) {
      const word = frame * 2 + (granule >> 5);
      code[word] = (code[word] ?? 0) | (1 << (granule & 31));
    }
  }

  /** Code of a frame was written: what was decoded there is dropped. */
  written(frame: number, start: number, end: number): void {
    const { pool } = this.#p.v;
    let touched = false;
    for (let granule = start >> 6; granule <= (end - 1) >> 6; granule++)
      touched ||= ((pool.code[frame * 2 + (granule >> 5)] ?? 0) & (1 << (granule & 31))) !== 0;
    if (!touched) return;
    this.counts.invalidations++;
    pool.code[frame * 2] = 0;
    pool.code[frame * 2 + 1] = 0;
    this.#translation?.forget(frame);
    for (const record of this.#crossings.get(frame) ?? []) this.#dropCrossing(record);
    this.#crossings.delete(frame);
    for (let mode = 0; mode < 8; mode++) {
      const map = this.#maps.get(frame * 8 + mode);
      if (map === undefined) continue;
      for (let n = map >>> 2; n < (map + mapBytes) >>> 2; n++) {
        const record = pool.words[n] ?? 0;
        if (record === 0) continue;
        this.#dispatchTo(record, relookupHandler);
        pool.words[n] = 0;
      }
    }
  }

  #dropCrossing(record: number): void {
    const { v } = this.#p;
    const map = this.#maps.get(v.pool.view.getUint32(record + Record.page, true)) ?? 0;
    const place = (map >>> 2) + v.pool.view.getUint16(record + Record.offset, true);
    if (map !== 0 && v.words[place] === record) v.words[place] = 0;
    this.#dispatchTo(record, relookupHandler);
  }
  /** Forgets all decoded code; only while no record is current. */
  flush(): void {
    const { v } = this.#p;
    this.counts.arenaFlushes++;
    this.#maps.clear();
    this.#pages.clear();
    this.#crossings.clear();
    this.#flushWanted = false;
    this.#translation?.clear();
    this.#next = this.#arena.start;
    v.pool.code.fill(0);
    v.flushTlb();
  }

  // --- handlers

  /** The table is full of shapes: all code is decoded again, with handlers for what is in use. Old ones go with their table slots. */
  #forgetHandlers(): void {
    this.flush();
    this.#handlers.clear();
    this.#nextHandler = firstHandler;
  }

  #handler(decoded: Decoded): number {
    const restricted = (Number(this.#p.v.get64(At.codeMode)) & 4) !== 0;
    const key = (restricted ? '!' : '') + shapeKey(decoded);
    const known = this.#handlers.get(key);
    if (known !== undefined) return known;
    return this.#assign(key, decoded);
  }
  #assign(key: string, decoded: Decoded): number {
    const index = this.#nextHandler++;
    if (index >= handlersEnd) throw new Bug('more instruction shapes than handlers');
    this.#handlers.set(key, index);
    this.#missing.push({ index, decoded });
    this.counts.shapes++;
    return index;
  }
  #failureHandler(failure: 'undefined' | 'long' | 'short'): number {
    const key = `failure:${failure}`;
    const known = this.#handlers.get(key);
    if (known !== undefined) return known;
    const index = this.#nextHandler++;
    this.#handlers.set(key, index);
    const vector = failure === 'undefined' ? Vector.undefined : Vector.protection;
    const module = new ModuleBuilder();
    const raise = module.importFunction('raise', calleeSignature('raise'));
    module.add({
      name: 'f',
      signature: { parameters: ['i32', 'i32'], results: ['i32'] },
      locals: [],
      code: [0x41, vector, 0x41, 0, 0x10, raise, 0x00],
    });
    this.#install(module, [index], ['f']);
    return index;
  }
  #compileMissing(): void {
    if (this.#missing.length === 0) return;
    const missing = this.#missing;
    this.#missing = [];
    const restricted = (Number(this.#p.v.get64(At.codeMode)) & 4) !== 0;
    // imports must be known before the first function: make the code once to learn them, again with their numbers
    const callees: Callee[] = [];
    const number = (callee: Callee): number => {
      const at = callees.indexOf(callee);
      return at >= 0 ? at : callees.push(callee) - 1;
    };
    const bodies = missing.map(({ index, decoded }) => makeHandler(`h${index}`, decoded, number, restricted));
    const module = new ModuleBuilder();
    module.importMemory();
    for (const callee of callees) module.importFunction(callee, calleeSignature(callee));
    for (const body of bodies) module.add(body);
    this.#install(
      module,
      missing.map((m) => m.index),
      bodies.map((b) => b.name),
    );
  }
  #install(module: ModuleBuilder, indices: readonly number[], names: readonly string[]): void {
    const instance = new WebAssembly.Instance(new WebAssembly.Module(module.bytes()), { env: this.#imports as WebAssembly.ModuleImports });
    indices.forEach((index, n) => this.#table.set(index, present(instance.exports[names[n] ?? ''], 'handler') as () => number));
  }
}

/** What a record's operand field holds: the state offset of a register, or a small number. */
function operandField(operand: DecodedOperand, decoded: Decoded): number {
  switch (operand.kind) {
    case 'register':
      return offsetOf('gpr', operand.number);
    case 'high':
      return offsetOf('gpr', operand.number) + 1;
    case 'xmm':
      return offsetOf('xmm', operand.number);
    case 'mmx':
      return offsetOf('float', operand.number);
    case 'immediate':
      return Number((decoded.immediates[operand.number] ?? 0n) & 0xffffn);
    default:
      return operand.number;
  }
}
