/**
 * Extended page tables: guest-physical pages to the machine's pages. The software TLB holds the composition of both stages, so that this walk
 * happens only when it is filled. SDM 3C, 29.3.
 */
import { markEntry, type Purpose, type SecondStage } from '../cpu/page-walk.ts';
import type { Processor } from '../cpu/processor.ts';
import { VmExit } from '../cpu/vm-exit.ts';
import { pageBytes } from '../memory/pool.ts';
import { EptPointer, Secondary } from './controls.ts';
import { Reason } from './exit-reasons.ts';
import { F } from './fields.ts';
import type { Vmcs } from './vmcs.ts';

const Entry = { read: 1, write: 2, execute: 4, userExecute: 0x400, accessed: 0x100, dirty: 0x200, large: 0x80 } as const;
/** Bits of an exit qualification. SDM 3C, table 28-7. */
const Qualification = { read: 1, write: 2, fetch: 4, linearValid: 0x80, final: 0x100 } as const;
/** Rights of a translation: R, W, X as in an entry; X of user-mode addresses when execution is by mode. */
const Right = { read: 1, write: 2, execute: 4, userExecute: 8 } as const;
const rightsOf = (entry: number): number => (entry & 7) | ((entry & Entry.userExecute) >> 7);
/** Physical addresses have 40 bits. */
const reservedHigh = 0x000f_ff00;
const physicalHigh = 0xff;
/** Guest-physical addresses have 40 bits too; a walk of 4 levels covers 48. */
const pagesMax = 2 ** 36;

const linearBits: Readonly<Record<Purpose, number>> = {
  access: Qualification.linearValid | Qualification.final,
  structure: Qualification.linearValid,
  pointers: 0,
};

/** What an EPT violation with this qualification was looking for. */
export const purposeOf = (qualification: number): Purpose =>
  (qualification & Qualification.final) !== 0 ? 'access' : (qualification & Qualification.linearValid) !== 0 ? 'structure' : 'pointers';

export class ExtendedPaging implements SecondStage {
  readonly rereadsPointers = false;
  readonly #p: Processor;
  readonly #vmcs: Vmcs;
  readonly #passed = new Int32Array(4);
  #root = 0;
  #accessedDirty = false;
  /** Translations by EPT pointer. */
  readonly #caches = new Map<bigint, TranslationCache>();
  #cache = new TranslationCache();
  #logsPages = false;
  /** Mode-based execute control: fetches from user-mode addresses have a right of their own. SDM 3C, 29.3.3.2. */
  #byMode = false;
  #raisesExceptions = false;
  /** The rights that the last translation may be used with until it is looked up again: R, W, X in bits 0 to 2. */
  granted = 0;

  constructor(p: Processor, vmcs: Vmcs) {
    this.#p = p;
    this.#vmcs = vmcs;
  }
  /** Uses the tables that the pointer names. */
  use(pointer: bigint, secondary: number): void {
    let cache = this.#caches.get(pointer);
    if (!cache) {
      if (this.#caches.size === cachesMax) this.#caches.clear();
      cache = new TranslationCache();
      this.#caches.set(pointer, cache);
    }
    this.#cache = cache;
    this.#root = Number((pointer & 0xff_ffff_f000n) >> 12n);
    this.#accessedDirty = (pointer & EptPointer.accessedDirty) !== 0n;
    this.#logsPages = (secondary & Secondary.pml) !== 0;
    this.#byMode = (secondary & Secondary.modeBasedExecute) !== 0;
    this.#raisesExceptions = (secondary & Secondary.virtualizationExceptions) !== 0;
  }

  /** Forgets translations of the pointers that the test names. */
  drop(test: (pointer: bigint) => boolean): void {
    for (const [pointer, cache] of this.#caches) if (test(pointer)) cache.clear();
  }

  page(page: number, offset: number, write: boolean, execute: boolean, purpose: Purpose, low: number, high: number): number {
    const { v } = this.#p;
    // with accessed and dirty flags every access to a guest's paging structure counts as a write, but for the loading of pointers
    const writes = write || (purpose === 'structure' && this.#accessedDirty);
    const fetches = this.#byMode && this.#p.paging.found.user ? Right.userExecute : Right.execute;
    const wanted = (writes ? Right.write : 0) | (execute ? fetches : 0) | (!writes && !execute ? Right.read : 0);
    const known = this.#cache.find(page, wanted);
    if (known >= 0) {
      this.granted = this.#cache.rightsOf(page);
      return known;
    }
    const access = { write: writes, execute, purpose, low, high };
    if (page >= pagesMax) this.#violation(page, offset, access, 0, -1);
    const presence = this.#byMode ? 7 | Entry.userExecute : 7;
    let table = this.#root;
    let rights = 15;
    let passed = 0;
    for (let level = 4; ; level--) {
      const index = Math.floor(page / 2 ** (9 * (level - 1))) & 0x1ff;
      const frame = v.space.frameOf(table);
      const at = (frame * pageBytes + index * 8) >>> 2;
      const entry = frame === 0 ? -1 : (v.words[at] ?? 0);
      const upper = frame === 0 ? -1 : (v.words[at + 1] ?? 0);
      if ((entry & presence) === 0) this.#violation(page, offset, access, 0, upper);
      const large = level === 1 || ((entry & Entry.large) !== 0 && level < 4);
      if (isMisconfigured(entry, upper, level, large)) {
        throw new VmExit(Reason.eptMisconfiguration, 0n, { physical: addressOf(page, offset), linear: linearOf(low, high), length: true });
      }
      rights &= rightsOf(entry);
      this.#passed[passed++] = at;
      const base = (upper & physicalHigh) * 0x10_0000 + (entry >>> 12);
      if (!large) {
        table = base;
        continue;
      }
      if ((rights & wanted) !== wanted) this.#violation(page, offset, access, rights, upper);
      if (this.#accessedDirty) this.#mark(passed, writes, page);
      const span = 2 ** (9 * (level - 1));
      const below = base - (base % span) + (page % span);
      // a write right is kept only once the dirty flag is set
      this.granted = this.#accessedDirty && !writes ? rights & ~Right.write : rights;
      this.#cache.keep(page, below, this.granted);
      return below;
    }
  }

  #violation(
    page: number,
    offset: number,
    a: { readonly write: boolean; readonly execute: boolean; readonly purpose: Purpose; readonly low: number; readonly high: number },
    rights: number,
    upper: number,
  ): never {
    const kind = a.execute
      ? Qualification.fetch
      : a.write
        ? Qualification.write | (a.purpose === 'access' ? 0 : Qualification.read)
        : Qualification.read;
    const shown = this.#byMode ? rights : rights & 7;
    const qualification = kind | (shown << 3) | linearBits[a.purpose];
    const convertible = this.#raisesExceptions && upper >= 0; // bit 63: suppress #VE
    throw new VmExit(Reason.eptViolation, BigInt(qualification), {
      physical: addressOf(page, offset),
      linear: linearOf(a.low, a.high),
      convertible,
    });
  }
  #mark(count: number, write: boolean, page: number): void {
    const { v } = this.#p;
    const leaf = this.#passed[count - 1] ?? 0;
    if (write && ((v.words[leaf] ?? 0) & Entry.dirty) === 0 && this.#logsPages) this.#log(page);
    for (let n = 0; n < count; n++) markEntry(v, this.#passed[n] ?? 0, Entry.accessed | (write && n === count - 1 ? Entry.dirty : 0));
  }
  /** Page-modification logging. SDM 3C, 29.3.6. */
  #log(page: number): void {
    const index = this.#vmcs.get32(F.guestPmlIndex);
    if (index > 511) throw new VmExit(Reason.pmlFull);
    this.#p.v.space.write64(Number(this.#vmcs.get(F.pmlAddress) & 0xff_ffff_f000n) + index * 8, BigInt(page) * BigInt(pageBytes));
    this.#vmcs.set32(F.guestPmlIndex, (index - 1) & 0xffff);
  }
}

const cachesMax = 16;
const cacheEntries = 8192;
/** Guest-physical pages to pages below, with their rights: what INVEPT drops. Kept rights are rights; a lack of them is looked up again. */
class TranslationCache {
  readonly #pages = new Int32Array(cacheEntries).fill(-1);
  readonly #below = new Int32Array(cacheEntries);
  readonly #rights = new Uint8Array(cacheEntries);

  find(page: number, wanted: number): number {
    const n = page & (cacheEntries - 1);
    return this.#pages[n] === page && ((this.#rights[n] ?? 0) & wanted) === wanted ? (this.#below[n] ?? -1) : -1;
  }
  rightsOf(page: number): number {
    return this.#rights[page & (cacheEntries - 1)] ?? 0;
  }
  keep(page: number, below: number, rights: number): void {
    if (page > 0x7fff_ffff) return; // no page of this machine
    const n = page & (cacheEntries - 1);
    this.#pages[n] = page;
    this.#below[n] = below;
    this.#rights[n] = rights;
  }
  clear(): void {
    this.#pages.fill(-1);
  }
}

const addressOf = (page: number, offset: number): bigint => BigInt(page) * BigInt(pageBytes) + BigInt(offset);
const linearOf = (low: number, high: number): bigint => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);

/** SDM 3C, 29.3.3.1. */
function isMisconfigured(entry: number, upper: number, level: number, leaf: boolean): boolean {
  if ((entry & (Entry.read | Entry.write)) === Entry.write) return true; // writable, not readable; X alone is offered
  if ((upper & reservedHigh) !== 0) return true;
  if (!leaf) return (entry & 0xf8) !== 0;
  const type = (entry >> 3) & 7;
  if (type === 2 || type === 3 || type === 7) return true;
  if (level === 3) return (entry & 0x3fff_f000) !== 0;
  return level === 2 && (entry & 0x1f_f000) !== 0;
}

/** Whether an EPT pointer is one. SDM 3C, table 25-9. */
export function isEptPointer(pointer: bigint, accessedDirty: boolean): boolean {
  const type = pointer & 7n;
  if (type !== 0n && type !== 6n) return false;
  if (((pointer >> 3n) & 7n) !== 3n) return false;
  return (pointer & 0xf80n) === 0n && (accessedDirty || (pointer & EptPointer.accessedDirty) === 0n) && pointer >> 40n === 0n;
}
