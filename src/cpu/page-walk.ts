/**
 * Linear to physical addresses: two-level, PAE and four-level paging, with accessed and dirty bits (SDM 3A, chapter 4).
 * Addresses come as two 32-bit halves; guest-physical addresses are numbers.
 */
import { pageBytes } from '../memory/pool.ts';
import type { GuestSpace } from '../memory/space.ts';
import { Fault, Vector } from './fault.ts';
import { PageBits } from './large-pages.ts';
import { At, Cr0, Cr4, Efer, Flag } from './state.ts';
import type { Vcpu } from './vcpu.ts';

/** `user`: with the rights of CPL 3; `implicit`: a supervisor access that SMAP's AC does not lift (descriptor tables). */
export interface Access {
  readonly write: boolean;
  readonly execute: boolean;
  readonly user: boolean;
  readonly implicit: boolean;
}
const kinds = (user: boolean) =>
  ({
    read: { write: false, execute: false, user, implicit: false },
    write: { write: true, execute: false, user, implicit: false },
    fetch: { write: false, execute: true, user, implicit: false },
  }) as const;
const userAccess = kinds(true);
const supervisorAccess = kinds(false);
export const systemRead: Access = { write: false, execute: false, user: false, implicit: true };
export const systemWrite: Access = { write: true, execute: false, user: false, implicit: true };

export const accessOf = (v: Vcpu, kind: 'read' | 'write' | 'fetch'): Access => (v.cpl === 3 ? userAccess : supervisorAccess)[kind];

const Entry = { present: 1, writable: 2, user: 4, accessed: 0x20, dirty: 0x40, large: 0x80, global: 0x100 } as const;
const noExecute = 0x8000_0000 | 0;
/** Physical addresses have 40 bits: bits 8 to 19 of an entry's upper half are reserved. */
const reservedHigh = 0x000f_ff00;
const physicalHigh = 0xff;

/** What the last walk found; one record, reused (a walk happens at each TLB miss). */
export interface Translation {
  /** Guest-physical page number. */
  page: number;
  /** Rights of the page, all levels together. */
  user: boolean;
  writable: boolean;
  execute: boolean;
  dirty: boolean;
  /** The translation stays when CR3 changes. */
  global: boolean;
  bits: PageBits;
}

/** What guest-physical memory is looked for: the access itself, a paging structure on the way to it, or the page-directory pointers of PAE paging to be loaded. */
export type Purpose = 'access' | 'structure' | 'pointers';

/** The second stage of a two-dimensional walk: the page below a guest-physical page. Throws a VM exit when there is none. */
export interface SecondStage {
  /** Whether PAE paging takes its page-directory pointers from memory at each walk, not from where they were loaded. */
  readonly rereadsPointers: boolean;
  /** `low` and `high`: the linear address of the access. */
  page(page: number, offset: number, write: boolean, execute: boolean, purpose: Purpose, low: number, high: number): number;
}

/** Bits of a page-directory pointer that are 0 where it is present: 2:1, 8:5, and from 40 on. */
const reservedInPointer = 0xffff_ff00_0000_01e6n;
export const isLegalPointer = (pointer: bigint): boolean => (pointer & 1n) === 0n || (pointer & reservedInPointer) === 0n;
/** Page-directory pointers of PAE paging. */
export const pointerCount = 4;
/** The page-directory pointers that CR3 names, in physical memory. */
export const pointersAt = (space: GuestSpace, cr3: number): readonly bigint[] =>
  Array.from({ length: pointerCount }, (_, n) => space.read64(cr3 - (cr3 % 32) + 8 * n));

/** A page whose accesses are not plain ones: the APIC-access page of a guest of the guest. `read` and `write` may throw a VM exit instead. */
export interface GuardedPage {
  /** Page number below all stages of translation. */
  readonly page: number;
  read(offset: number, size: number): number;
  write(offset: number, size: number, value: number): void;
  refuse(offset: number, kind: 'fetch' | 'walk'): never;
}

/** Sets accessed and dirty bits in the table entry at a word of the machine's memory, if they are not there. */
export function markEntry(v: Vcpu, at: number, bits: number): void {
  const entry = v.words[at] ?? 0;
  if ((entry & bits) === bits) return;
  v.words[at] = entry | bits;
  v.space.noteWrite(at >>> 10, (at * 4) & 0xfff, ((at * 4) & 0xfff) + 4);
}

export function canonical(high: number): boolean {
  const top = high >> 15;
  return top === 0 || top === -1;
}
export const canonicalAddress = (address: bigint): boolean => canonical(Number(BigInt.asIntN(32, address >> 32n)));

export class PageWalk {
  readonly #v: Vcpu;
  readonly found: Translation = { page: 0, user: true, writable: true, execute: true, dirty: true, global: false, bits: PageBits.small };
  /** Words of tables passed by the walk, to be marked accessed when it succeeds. */
  readonly #passed = new Int32Array(4);
  #passedCount = 0;
  /** Where those words are in guest-physical memory, in bytes. */
  readonly #passedAt = new Float64Array(4);
  /** EPT, while a guest of the guest runs under it. */
  second: SecondStage | undefined;
  protected guarded: GuardedPage | undefined;
  protected guardedPage = -1;
  #low = 0;
  #high = 0;

  constructor(v: Vcpu) {
    this.#v = v;
  }

  guard(page: GuardedPage | undefined): void {
    this.guarded = page;
    this.guardedPage = page ? page.page : -1;
  }
  /** Translates or throws: #PF, or a VM exit of the second stage. The result is in `found`, its page number is returned. */
  translate(low: number, high: number, access: Access): number {
    const v = this.#v;
    const cr0 = v.cr0;
    this.#low = low;
    this.#high = high;
    this.#passedCount = 0;
    if ((cr0 & Cr0.pg) === 0) {
      this.#identity(low);
      return this.#below(access);
    }
    const efer = v.efer;
    const cr4 = v.cr4;
    const nxe = (efer & Efer.nxe) !== 0;
    if ((cr4 & Cr4.pae) === 0) this.#walkLegacy(low, access);
    else this.#walkPae(low, high, access, (efer & Efer.lma) !== 0, nxe);
    this.#check(low, high, access, cr0, cr4);
    const page = this.#below(access);
    this.#mark(access);
    return page;
  }
  /** The translation of what the walk found by the second stage. */
  #below(access: Access): number {
    const f = this.found;
    if (this.second) f.page = this.second.page(f.page, this.#low & 0xfff, access.write, access.execute, 'access', this.#low, this.#high);
    if (f.page === this.guardedPage && access.execute) this.guarded?.refuse(this.#low & 0xfff, 'fetch');
    return f.page;
  }

  #identity(low: number): void {
    const f = this.found;
    f.page = low >>> 12;
    f.user = f.writable = f.execute = f.dirty = true;
    f.bits = PageBits.small;
    f.global = false;
  }
  #fault(low: number, high: number, access: Access, bits: number): never {
    const v = this.#v;
    const address = (v.longActive ? BigInt(high >>> 0) << 32n : 0n) | BigInt(low >>> 0);
    const fetchBit = access.execute && (((v.efer & Efer.nxe) !== 0 && (v.cr4 & Cr4.pae) !== 0) || (v.cr4 & Cr4.smep) !== 0) ? 0x10 : 0;
    throw new Fault(Vector.page, bits | (access.write ? 2 : 0) | (access.user ? 4 : 0) | fetchBit, address);
  }
  #word(index: number): number {
    return this.#v.words[index] ?? 0;
  }
  /** Word index of a table entry; a table outside RAM reads as all ones, so it is not used: -1. */
  #entry(page: number, byte: number): number {
    const below = this.second ? this.second.page(page, byte, false, false, 'structure', this.#low, this.#high) : page;
    if (below === this.guardedPage) this.guarded?.refuse(byte, 'walk');
    this.#passedAt[this.#passedCount] = page * pageBytes + byte;
    const frame = this.#v.space.frameOf(below);
    if (frame === 0) return -1;
    return (frame * pageBytes + byte) >>> 2;
  }

  #walkPae(low: number, high: number, access: Access, long: boolean, nxe: boolean): void {
    const v = this.#v;
    let table = long ? (Number(v.get64(At.cr3) >> 32n) & physicalHigh) * 0x10_0000 + (v.cr3 >>> 12) : this.#directory(low, access);
    let user = true;
    let writable = true;
    let execute = true;
    for (let level = long ? 4 : 2; ; level--) {
      let byte: number;
      switch (level) {
        case 4: byte = ((high >>> 7) & 0x1ff) * 8; break;
        case 3: byte = (((high & 0x7f) << 2) | (low >>> 30)) * 8; break;
        case 2: byte = ((low >>> 21) & 0x1ff) * 8; break;
        default: byte = ((low >>> 12) & 0x1ff) * 8;
      }
      const index = this.#entry(table, byte);
      const entry = index < 0 ? -1 : this.#word(index);
      const upper = index < 0 ? -1 : this.#word(index + 1);
      if ((entry & Entry.present) === 0) this.#fault(low, high, access, 0);
      if ((upper & reservedHigh) !== 0 || (!nxe && (upper & noExecute) !== 0)) this.#fault(low, high, access, 9);
      if (level === 4 && (entry & Entry.large) !== 0) this.#fault(low, high, access, 9);
      user &&= (entry & Entry.user) !== 0;
      writable &&= (entry & Entry.writable) !== 0;
      execute &&= (upper & noExecute) === 0;
      this.#passed[this.#passedCount++] = index;
      const base = (upper & physicalHigh) * 0x10_0000 + (entry >>> 12);
      const large = (entry & Entry.large) !== 0 && (level === 2 || level === 3);
      if (level === 1 || large) {
        const f = this.found;
        if (level === 3) {
          if ((entry & 0x3fff_e000) !== 0) this.#fault(low, high, access, 9);
          f.page = base - (base % 0x4_0000) + ((low >>> 12) & 0x3_ffff);
          f.bits = PageBits.gigantic;
        } else if (level === 2) {
          if ((entry & 0x1f_e000) !== 0) this.#fault(low, high, access, 9);
          f.page = base - (base % 0x200) + ((low >>> 12) & 0x1ff);
          f.bits = PageBits.large;
        } else {
          f.page = base;
          f.bits = PageBits.small;
        }
        f.user = user;
        f.writable = writable;
        f.execute = execute;
        f.dirty = (entry & Entry.dirty) !== 0;
        f.global = (entry & Entry.global) !== 0 && (v.cr4 & Cr4.pge) !== 0;
        return;
      }
      table = base;
    }
  }

  /** Loads the page-directory pointers of PAE paging; false, and none loaded, where one that is present has a reserved bit. SDM 3A, 4.4.1. */
  loadPointers(cr3: number): boolean {
    const v = this.#v;
    const offset = cr3 & 0xfe0;
    const page = this.second ? this.second.page(cr3 >>> 12, offset, false, false, 'pointers', 0, 0) : cr3 >>> 12;
    if (page === this.guardedPage) this.guarded?.refuse(offset, 'walk');
    const pointers = pointersAt(v.space, page * pageBytes + offset);
    if (!pointers.every(isLegalPointer)) return false;
    for (const [n, pointer] of pointers.entries()) v.set64(At.pdpte, pointer, n);
    return true;
  }
  /** The page directory of PAE paging for an address. Pointers have no rights and no accessed bit. */
  #directory(low: number, access: Access): number {
    const v = this.#v;
    const n = low >>> 30;
    const index = this.second?.rereadsPointers ? this.#entry(v.cr3 >>> 12, (v.cr3 & 0xfe0) + 8 * n) : (v.base + At.pdpte + 8 * n) >>> 2;
    const entry = index < 0 ? -1 : this.#word(index);
    const upper = index < 0 ? -1 : this.#word(index + 1);
    if ((entry & Entry.present) === 0) this.#fault(low, 0, access, 0);
    if ((upper & ~physicalHigh) !== 0) this.#fault(low, 0, access, 9); // only where it is read anew
    return upper * 0x10_0000 + (entry >>> 12);
  }

  #walkLegacy(low: number, access: Access): void {
    const v = this.#v;
    const f = this.found;
    f.global = false;
    const outer = this.#entry(v.cr3 >>> 12, (low >>> 22) * 4);
    const directory = outer < 0 ? -1 : this.#word(outer);
    if ((directory & Entry.present) === 0) this.#fault(low, 0, access, 0);
    this.#passed[this.#passedCount++] = outer;
    f.user = (directory & Entry.user) !== 0;
    f.writable = (directory & Entry.writable) !== 0;
    f.execute = true;
    if ((directory & Entry.large) !== 0 && (v.cr4 & Cr4.pse) !== 0) {
      if ((directory & 0x20_0000) !== 0) this.#fault(low, 0, access, 9);
      f.page = ((directory >>> 13) & physicalHigh) * 0x10_0000 + ((directory >>> 22) << 10) + ((low >>> 12) & 0x3ff); // PSE-36
      f.dirty = (directory & Entry.dirty) !== 0;
      f.bits = PageBits.large;
      return;
    }
    const inner = this.#entry(directory >>> 12, ((low >>> 12) & 0x3ff) * 4);
    const entry = inner < 0 ? -1 : this.#word(inner);
    if ((entry & Entry.present) === 0) this.#fault(low, 0, access, 0);
    this.#passed[this.#passedCount++] = inner;
    f.user &&= (entry & Entry.user) !== 0;
    f.writable &&= (entry & Entry.writable) !== 0;
    f.dirty = (entry & Entry.dirty) !== 0;
    f.page = entry >>> 12;
    f.bits = PageBits.small;
  }

  #check(low: number, high: number, access: Access, cr0: number, cr4: number): void {
    const f = this.found;
    if (access.user) {
      if (!f.user || (access.write && !f.writable) || (access.execute && !f.execute)) this.#fault(low, high, access, 1);
      return;
    }
    if (access.write && !f.writable && (cr0 & Cr0.wp) !== 0) this.#fault(low, high, access, 1);
    if (access.execute) {
      if (!f.execute || (f.user && (cr4 & Cr4.smep) !== 0)) this.#fault(low, high, access, 1);
    } else if (f.user && (cr4 & Cr4.smap) !== 0) {
      if (access.implicit || (this.#v.systemFlags & Flag.alignment) === 0) this.#fault(low, high, access, 1);
    }
  }

  #mark(access: Access): void {
    const words = this.#v.words;
    const last = this.#passedCount - 1;
    for (let n = 0; n <= last; n++) {
      const index = this.#passed[n] ?? -1;
      if (index < 0) continue;
      const wanted = Entry.accessed | (access.write && n === last ? Entry.dirty : 0);
      const entry = words[index] ?? 0;
      if ((entry & wanted) === wanted) continue;
      const at = this.#passedAt[n] ?? 0;
      this.second?.page(Math.floor(at / pageBytes), at % pageBytes, true, false, 'structure', this.#low, this.#high);
      markEntry(this.#v, index, wanted);
    }
    if (access.write) this.found.dirty = true;
  }
}
