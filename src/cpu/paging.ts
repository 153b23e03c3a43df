/** The slow side of the software TLB, and access to guest memory by TypeScript: by linear address, on devices and across pages. */
import { pageBytes } from '../memory/pool.ts';
import { isWatched, noteAccess } from './breakpoints.ts';
import { Fault, Vector } from './fault.ts';
import { levelOfCode } from './jump-epochs.ts';
import { PageBits } from './large-pages.ts';
import { type Access, accessOf, canonical, PageWalk } from './page-walk.ts';
import {
  At, codeTlbEntries, codeTlbOffset, codeTlbSlot, Flag, readTlbOffset, Segment, secondPlaceOffset, tlbBankBytes, tlbContextBytes, tlbEntryWords, tlbSlotMask, tlbSlotShift, writeTlbOffset,
} from './state.ts';
import type { Vcpu } from './vcpu.ts';

/** Stores one behind the other from the start of a page this far fill it, as far as can be told. */
const fillBytes = 64;

export class Paging extends PageWalk {
  readonly #v: Vcpu;
  readonly #quad = new BigUint64Array(1);
  readonly #halves = new Int32Array(this.#quad.buffer);
  #high = 0;
  /** Where the next store would go on filling a page; -1 when none is being filled. */
  #fillEnd = -1;

  constructor(v: Vcpu) {
    super(v);
    this.#v = v;
  }

  // --- the software TLB
  #canonicalOrFault(low: number, high: number, size: number): void {
    const v = this.#v;
    if (!v.longActive) return;
    if (canonical(high) && canonical((low >>> 0) + size - 1 > 0xffff_ffff ? high + 1 : high)) return;
    const record = v.get(At.record) >>> 0;
    const stack = record !== 0 ? v.pool.bytes[record + 19] === Segment.ss : v.get(At.inStack) !== 0;
    throw new Fault(stack ? Vector.stack : Vector.protection, 0);
  }
  #alignedOrFault(low: number, size: number): void {
    if (this.#v.checksAlignment && size <= 8 && (low & (size - 1)) !== 0) throw new Fault(Vector.alignment, 0);
  }
  #fill(table: 'tlbRead' | 'tlbWrite', low: number, high: number, frame: number): void {
    const v = this.#v;
    if (v.checksAlignment || isWatched(v, low, v.longActive ? high : 0)) return;
    this.#put(v.get(At[table]), low, high, frame);
  }
  #put(table: number, low: number, high: number, frame: number): void {
    const v = this.#v;
    const entry = (table + ((low >>> tlbSlotShift) & tlbSlotMask)) >>> 2;
    const page = low & ~0xfff;
    const pageHigh = v.longActive ? high : 0;
    if (v.words[entry] !== -1 && (v.words[entry] !== page || v.words[entry + 1] !== pageHigh)) this.#moveAside(entry);
    const { global, bits } = this.found;
    v.filled.note(entry, global);
    if (bits !== PageBits.small) v.filled.noteLarge(low, pageHigh, bits, global);
    v.words[entry] = page;
    v.words[entry + 1] = pageHigh;
    v.words[entry + 2] = (frame * pageBytes - page) | 0;
  }
  /** Two pages that are in use may have the same place in the TLB: the core exchanges them, without a walk. */
  #moveAside(entry: number): void {
    const { words, filled } = this.#v;
    const second = entry + secondPlaceOffset / 4;
    for (const place of [entry, second]) filled.note(place, false); // whichever of them a page is exchanged to
    for (let n = 0; n < 3; n++) words[second + n] = words[entry + n] ?? -1;
  }

  /** The frame behind a page that is plain memory; 0 for devices and for the guarded page. */
  #frameOf(page: number): number {
    return page === this.guardedPage ? 0 : this.#v.space.frameOf(page);
  }
  #isGuarded(address: number): boolean {
    return this.guardedPage >= 0 && Math.floor(address / pageBytes) === this.guardedPage;
  }
  /** No access across a border of the guarded page is a register's: it leaves the guest. */
  #refuseCrossing(start: number, rest: number, write: boolean): void {
    if (!this.#isGuarded(start) && !this.#isGuarded(rest)) return;
    const offset = this.#isGuarded(start) ? start % pageBytes : 0;
    if (write) this.guarded?.write(offset, pageBytes, 0);
    else this.guarded?.read(offset, pageBytes);
  }

  /** Makes the bytes readable somewhere: in place, or copied to the scratch area (devices, two pages). Returns their address. */
  loadSlow(low: number, high: number, size: number, kind: 'read' | 'write'): number {
    this.#canonicalOrFault(low, high, size);
    this.#alignedOrFault(low, size);
    const access = accessOf(this.#v, kind);
    const offset = low & 0xfff;
    if (offset + size > pageBytes) return this.#loadCrossing(low, high, size, access);
    const page = this.translate(low, high, access);
    noteAccess(this.#v, low, high, size, false);
    const frame = this.#frameOf(page);
    if (frame === 0) return this.#loadDevice(page * pageBytes + offset, size);
    if (kind === 'read') this.#fill('tlbRead', low, high, frame);
    else this.#fillWrite(low, high, page, frame);
    return frame * pageBytes + offset;
  }
  /** Pages that hold code or are read-only keep to the slow path. */
  #fillWrite(low: number, high: number, page: number, frame: number): void {
    const { code } = this.#v.pool;
    if (!this.#v.space.isReadOnly(page) && ((code[frame * 2] ?? 0) | (code[frame * 2 + 1] ?? 0)) === 0) this.#fill('tlbWrite', low, high, frame);
  }
  #loadCrossing(low: number, high: number, size: number, access: Access): number {
    const v = this.#v;
    const scratch = v.base + At.scratch + 16;
    const first = pageBytes - (low & 0xfff);
    const [nextLow, nextHigh] = this.#nextPage(low, high);
    const start = this.#walk(low, high, access) + (low & 0xfff);
    if (!access.implicit) noteAccess(v, low, high, size, false);
    const rest = first < size ? this.#walk(nextLow, nextHigh, access) : 0;
    this.#refuseCrossing(start, rest, false);
    for (let n = 0; n < size; n++) v.pool.bytes[scratch + n] = this.#readByte(n < first ? start + n : rest + n - first);
    return scratch;
  }
  /** The guest-physical address of the page, which the TLB has from now on if it is plain memory. */
  #walk(low: number, high: number, access: Access): number {
    const page = this.translate(low, high, access);
    const frame = this.#frameOf(page);
    if (frame !== 0) this.#remember(low, high, page, frame, access);
    return page * pageBytes;
  }
  #nextPage(low: number, high: number): readonly [number, number] {
    const next = ((low & ~0xfff) + pageBytes) | 0;
    return [next, this.#v.longActive && next === 0 ? high + 1 : high];
  }
  #readByte(address: number): number {
    const frame = this.#frameOf(Math.floor(address / pageBytes));
    return frame === 0 ? this.#v.space.readDevice(address, 1) : (this.#v.pool.bytes[frame * pageBytes + (address % pageBytes)] ?? 0);
  }
  #loadDevice(address: number, size: number): number {
    const { pool, space, base } = this.#v;
    const scratch = base + At.scratch + 16;
    const guarded = this.#isGuarded(address) ? this.guarded : undefined;
    const width = guarded ? size : Math.min(size, 4);
    for (let n = 0; n < size; n += width) {
      const value = guarded ? guarded.read(address % pageBytes, width) : space.readDevice(address + n, width);
      if (width === 4) pool.view.setUint32(scratch + n, value, true);
      else if (width === 2) pool.view.setUint16(scratch + n, value, true);
      else pool.view.setUint8(scratch + n, value);
    }
    return scratch;
  }

  /** Stores what lies in the scratch area. */
  storeSlow(low: number, high: number, size: number): void {
    const v = this.#v;
    this.#canonicalOrFault(low, high, size);
    this.#alignedOrFault(low, size);
    const access = accessOf(v, 'write');
    const scratch = v.base + At.scratch;
    const offset = low & 0xfff;
    if (offset + size > pageBytes) {
      const first = pageBytes - offset;
      const [nextLow, nextHigh] = this.#nextPage(low, high);
      const start = this.#walk(low, high, access) + offset;
      const rest = this.#walk(nextLow, nextHigh, access);
      this.#refuseCrossing(start, rest, true);
      noteAccess(v, low, high, size, true);
      this.#storePhysical(start, scratch, first);
      this.#storePhysical(rest, scratch + first, size - first);
      return;
    }
    const page = this.translate(low, high, access);
    noteAccess(v, low, high, size, true);
    const frame = this.#frameOf(page);
    if (frame !== 0) this.#fillWrite(low, high, page, frame);
    this.#storePhysical(page * pageBytes + offset, scratch, size);
  }
  /** Decoded code there is dropped; with the code of the whole rest of a page that is being filled from its start, which then needs no slow stores any more. */
  #noteStore(frame: number, offset: number, size: number): void {
    const at = frame * pageBytes + offset;
    const inFill = offset === 0 || at === this.#fillEnd;
    this.#fillEnd = inFill ? at + size : -1;
    this.#v.space.noteWrite(frame, offset, inFill && offset >= fillBytes ? pageBytes : offset + size);
  }
  #storePhysical(address: number, from: number, size: number): void {
    const { pool, space } = this.#v;
    const page = Math.floor(address / pageBytes);
    if (space.isReadOnly(page)) return;
    const frame = this.#frameOf(page);
    if (frame !== 0) {
      const to = frame * pageBytes + (address % pageBytes);
      pool.bytes.copyWithin(to, from, from + size);
      this.#noteStore(frame, address % pageBytes, size);
      return;
    }
    if (this.#isGuarded(address)) return this.guarded?.write(address % pageBytes, size, pool.view.getUint32(from, true));
    const width = size >= 4 && size % 4 === 0 ? 4 : size === 2 ? 2 : 1;
    for (let n = 0; n < size; n += width) {
      const value = width === 4 ? pool.view.getUint32(from + n, true) : width === 2 ? pool.view.getUint16(from + n, true) : pool.view.getUint8(from + n);
      space.writeDevice(address + n, width, value);
    }
  }

  /** INVLPG: the entries of an address's page in every bank of a TLB context, with all pieces of a large page. */
  invalidatePage(address: bigint, context = this.#v.currentTlbContext): void {
    const v = this.#v;
    const low = this.#split(address);
    const bits = v.pageBitsAt(low, v.longActive ? this.#high : 0, context);
    if (bits === PageBits.gigantic) v.flushTlbContext(context);
    else if (bits === PageBits.large) this.#invalidateLarge(low, context);
    else this.#invalidateSmall(low, context);
  }
  #invalidateSmall(low: number, context: number): void {
    const v = this.#v;
    const slot = (low >>> tlbSlotShift) & tlbSlotMask;
    for (let bank = 0; bank < 3; bank++) {
      for (const table of [readTlbOffset, writeTlbOffset]) {
        const entry = (v.base + context * tlbContextBytes + table + bank * tlbBankBytes + slot) >>> 2;
        const second = entry + secondPlaceOffset / 4;
        v.words[entry] = v.words[entry + 1] = v.words[second] = v.words[second + 1] = -1;
      }
    }
    const key = context << 4;
    for (let mode = 0; mode < 16; mode++) {
      const entry = (v.base + codeTlbOffset + codeTlbSlot(low, key | mode)) >>> 2;
      if (v.words[entry] !== ((low & ~0xfff) | key | mode)) continue;
      v.words[entry] = v.words[entry + 1] = -1;
      v.jumps.drop(levelOfCode(mode));
    }
    v.jumps.dropEvicted(low);
  }
  /** What lies in the same 4 MiB by the low half of its address. */
  #invalidateLarge(low: number, context: number): void {
    const { words, base, jumps } = this.#v;
    const part = -1 << PageBits.large;
    const banks = (base + context * tlbContextBytes + readTlbOffset) >>> 2;
    const slots = ((low & part) >>> tlbSlotShift) & tlbSlotMask;
    for (let bank = 0; bank < tlbContextBytes; bank += tlbBankBytes) {
      const first = banks + ((bank + slots) >>> 2);
      for (let entry = first; entry < first + (tlbEntryWords << (PageBits.large - PageBits.small)); entry += tlbEntryWords)
        if (((words[entry] ?? 0) & part) === (low & part)) words[entry] = words[entry + 1] = -1;
    }
    const key = context << 4;
    const code = (base + codeTlbOffset) >>> 2;
    for (let entry = code; entry < code + codeTlbEntries * tlbEntryWords; entry += tlbEntryWords)
      if (((words[entry] ?? 0) & (part | 0xff0)) === ((low & part) | key)) words[entry] = words[entry + 1] = -1;
    jumps.drop('all');
  }

  // --- access by TypeScript, by linear address
  /** The low half of an address; the high half is in `#high`. */
  #split(address: bigint): number {
    this.#quad[0] = address;
    this.#high = this.#halves[1] ?? 0;
    return this.#halves[0] ?? 0;
  }
  /** Machine memory behind an access that a TLB bank has, or 0. */
  #cached(low: number, high: number, size: number, access: Access): number {
    const v = this.#v;
    if ((low & 0xfff) + size > pageBytes) return 0;
    const lifted = !access.implicit && !access.user && (v.systemFlags & Flag.alignment) !== 0;
    const bank = access.user ? 0 : lifted ? 2 : 1;
    const entry = (v.base + v.get(At.tlbContext) + (access.write ? writeTlbOffset : readTlbOffset) + bank * tlbBankBytes + ((low >>> tlbSlotShift) & tlbSlotMask)) >>> 2;
    if (v.words[entry] !== (low & ~0xfff) || v.words[entry + 1] !== (v.longActive ? high : 0)) return 0;
    return (low + (v.words[entry + 2] ?? 0)) | 0;
  }
  /** After a walk: the bank for this kind of access has the page from now on. */
  #remember(low: number, high: number, page: number, frame: number, access: Access): void {
    const v = this.#v;
    const { code } = v.pool;
    if (access.execute || v.checksAlignment || isWatched(v, low, v.longActive ? high : 0)) return;
    if (access.write && (v.space.isReadOnly(page) || ((code[frame * 2] ?? 0) | (code[frame * 2 + 1] ?? 0)) !== 0)) return;
    const lifted = !access.implicit && !access.user && (v.systemFlags & Flag.alignment) !== 0;
    const bank = access.user ? 0 : lifted ? 2 : 1;
    this.#put(v.base + v.get(At.tlbContext) + (access.write ? writeTlbOffset : readTlbOffset) + bank * tlbBankBytes, low, high, frame);
  }
  /** Machine memory behind a structure that lies in one page of plain RAM (without code, when written), or 0. May fault. */
  plain(address: bigint, size: number, access: Access): number {
    const low = this.#split(address);
    const high = this.#high;
    const known = this.#cached(low, high, size, access) >>> 0;
    if (known !== 0 || (low & 0xfff) + size > pageBytes) return known;
    this.#canonicalOrFault(low, high, size);
    const page = this.translate(low, high, access);
    const frame = this.#frameOf(page);
    if (frame !== 0) this.#remember(low, high, page, frame, access);
    return this.#cached(low, high, size, access) >>> 0;
  }
  read(address: bigint, size: number, access: Access): bigint {
    let value = 0n;
    const low = this.#split(address);
    const high = this.#high;
    const known = this.#cached(low, high, size, access) >>> 0;
    if (known !== 0) {
      const { view } = this.#v.pool;
      return size === 8 ? view.getBigUint64(known, true) : BigInt(size === 4 ? view.getUint32(known, true) : size === 2 ? view.getUint16(known, true) : view.getUint8(known));
    }
    this.#canonicalOrFault(low, high, size);
    if ((low & 0xfff) + size <= pageBytes) {
      const page = this.translate(low, high, access);
      if (!access.implicit) noteAccess(this.#v, low, high, size, access.write);
      const frame = this.#frameOf(page);
      if (frame !== 0) {
        this.#remember(low, high, page, frame, access);
        const at = frame * pageBytes + (low & 0xfff);
        const { view } = this.#v.pool;
        return size === 8 ? view.getBigUint64(at, true) : BigInt(size === 4 ? view.getUint32(at, true) : size === 2 ? view.getUint16(at, true) : view.getUint8(at));
      }
      return this.#v.pool.view.getBigUint64(this.#loadDevice(page * pageBytes + (low & 0xfff), size), true) & ((1n << BigInt(size * 8)) - 1n);
    }
    const at = this.#loadCrossing(low, high, size, access);
    for (let n = size - 1; n >= 0; n--) value = (value << 8n) | BigInt(this.#v.pool.bytes[at + n] ?? 0);
    return value;
  }
  /** 16 bytes: both pages are translated before anything is moved. */
  readWide(address: bigint, access: Access): bigint {
    const low = this.#split(address);
    const high = this.#high;
    this.#canonicalOrFault(low, high, 16);
    const at = this.#loadCrossing(low, high, 16, access);
    const { view } = this.#v.pool;
    return view.getBigUint64(at, true) | (view.getBigUint64(at + 8, true) << 64n);
  }
  writeWide(address: bigint, value: bigint, access: Access): void {
    const low = this.#split(address);
    const high = this.#high;
    this.#canonicalOrFault(low, high, 16);
    const end = BigInt.asUintN(64, address + 15n);
    this.translate(low, high, access);
    const lastLow = this.#split(end);
    const lastHigh = this.#high;
    this.translate(lastLow, lastHigh, access);
    this.write(address, 8, value & 0xffff_ffff_ffff_ffffn, access);
    this.write(BigInt.asUintN(64, address + 8n), 8, value >> 64n, access);
  }
  write(address: bigint, size: number, value: bigint, access: Access): void {
    const v = this.#v;
    const low = this.#split(address);
    const high = this.#high;
    const known = this.#cached(low, high, size, access) >>> 0;
    if (known !== 0) {
      const { view } = v.pool;
      if (size === 8) view.setBigUint64(known, value, true);
      else if (size === 4) view.setUint32(known, Number(value & 0xffff_ffffn), true);
      else if (size === 2) view.setUint16(known, Number(value & 0xffffn), true);
      else view.setUint8(known, Number(value & 0xffn));
      return;
    }
    this.#canonicalOrFault(low, high, size);
    const scratch = v.base + At.scratch;
    const offset = low & 0xfff;
    const page = this.translate(low, high, access);
    const frame = this.#frameOf(page);
    if (frame !== 0) this.#remember(low, high, page, frame, access);
    const start = page * pageBytes + offset;
    const first = Math.min(size, pageBytes - offset);
    let rest = 0;
    if (first < size) {
      const [nextLow, nextHigh] = this.#nextPage(low, high);
      rest = this.translate(nextLow, nextHigh, access) * pageBytes;
      this.#refuseCrossing(start, rest, true);
    }
    if (!access.implicit) noteAccess(v, low, high, size, true);
    v.pool.view.setBigUint64(scratch, BigInt.asUintN(64, value), true);
    this.#storePhysical(start, scratch, first);
    if (first < size) this.#storePhysical(rest, scratch + first, size - first);
  }
}
