/** Segment registers and descriptors: loading with its checks, limits, LAR and its kind. SDM 3A, chapters 3 and 5. */
import { Fault, protection, Vector } from './fault.ts';
import type { Processor } from './processor.ts';
import { At, Flag, Rights, Segment } from './state.ts';
import type { Vcpu } from './vcpu.ts';

export interface Descriptor {
  readonly base: bigint;
  readonly limit: number;
  /** As in the state: upper half >> 8, without limit bits. */
  readonly rights: number;
  /** Linear address of the descriptor. */
  readonly address: bigint;
}

export const dplOf = (rights: number): number => (rights >> Rights.dplShift) & 3;
export const isCode = (rights: number): boolean => (rights & (Rights.system | Rights.code)) === (Rights.system | Rights.code);
export const isConforming = (rights: number): boolean => (rights & Rights.expandDownOrConforming) !== 0;
const isWritableData = (rights: number): boolean => (rights & (Rights.system | Rights.code | Rights.writableOrReadable)) === (Rights.system | Rights.writableOrReadable);
const isReadable = (rights: number): boolean => (rights & Rights.system) !== 0 && ((rights & Rights.code) === 0 || (rights & Rights.writableOrReadable) !== 0);

export const nullSelector = (selector: number): boolean => (selector & ~3) === 0;

/** The two words of a descriptor in GDT or LDT; undefined when the selector is beyond the table. */
export function readDescriptorWords(p: Processor, selector: number): { low: number; high: number; address: bigint } | undefined {
  const { v } = p;
  const local = (selector & 4) !== 0;
  if (local && (v.get(At.segmentRights, Segment.ldtr) & Rights.unusable) !== 0) return undefined;
  const base = local ? v.get64(At.segmentBase, Segment.ldtr) : v.get64(At.gdtBase);
  const limit = local ? v.get(At.segmentLimit, Segment.ldtr) >>> 0 : v.get(At.gdtLimit) >>> 0;
  const offset = selector & ~7;
  if (offset + 7 > limit) return undefined;
  const address = base + BigInt(offset);
  const value = p.loadSystem(address, 8);
  return { low: Number(value & 0xffff_ffffn), high: Number(value >> 32n), address };
}

export function decodeDescriptor(low: number, high: number, address: bigint): Descriptor {
  const rights = (high >>> 8) & 0xf0ff;
  const raw = (low & 0xffff) | (high & 0xf_0000);
  const limit = (rights & Rights.granular) !== 0 ? ((raw << 12) | 0xfff) >>> 0 : raw;
  const base = BigInt(((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff00_0000)) >>> 0);
  return { base, limit, rights, address };
}

export function readDescriptor(p: Processor, selector: number): Descriptor | undefined {
  const words = readDescriptorWords(p, selector);
  return words && decodeDescriptor(words.low, words.high, words.address);
}

/** A system descriptor of 16 bytes (LDT, TSS, call gate in long mode): the upper half of the base. */
export function upperBase(p: Processor, descriptor: Descriptor): bigint {
  return p.loadSystem(descriptor.address + 8n, 4) << 32n;
}

export function setSegment(v: Vcpu, index: number, selector: number, d: Pick<Descriptor, 'base' | 'limit' | 'rights'>): void {
  v.set(At.segmentSelector, selector & 0xffff, index);
  v.set64(At.segmentBase, d.base, index);
  v.set(At.segmentLimit, d.limit, index);
  v.set(At.segmentRights, d.rights, index);
}

/** Real mode and virtual-8086 mode: base is selector * 16. In real mode the limit and rights stay as they were. */
export function setRealSegment(v: Vcpu, index: number, selector: number): void {
  v.set(At.segmentSelector, selector, index);
  v.set64(At.segmentBase, BigInt(selector) << 4n, index);
  if (v.virtual8086) {
    v.set(At.segmentLimit, 0xffff, index);
    v.set(At.segmentRights, 0xf3, index);
  } else v.set(At.segmentRights, (v.get(At.segmentRights, index) & ~(Rights.unusable | Rights.code)) | 0x93, index);
}

/** MOV to a data or stack segment register and its relatives. */
export function loadSegment(p: Processor, index: number, selector: number): void {
  const { v } = p;
  if (!v.protectedMode || v.virtual8086) {
    setRealSegment(v, index, selector);
    return;
  }
  const cpl = v.cpl;
  const error = selector & 0xfffc;
  if (nullSelector(selector)) {
    if (index === Segment.ss && !(v.long && cpl !== 3 && (selector & 3) === cpl)) throw protection(0);
    const base = index >= Segment.fs && v.longActive ? 0n : v.get64(At.segmentBase, index);
    setSegment(v, index, selector, { base: v.longActive ? 0n : base, limit: 0, rights: Rights.unusable | (index === Segment.ss ? cpl << Rights.dplShift : 0) });
    return;
  }
  const d = readDescriptor(p, selector);
  if (!d) throw protection(error);
  const rpl = selector & 3;
  if (index === Segment.ss) {
    if (rpl !== cpl || dplOf(d.rights) !== cpl || !isWritableData(d.rights)) throw protection(error);
    if ((d.rights & Rights.present) === 0) throw new Fault(Vector.stack, error);
  } else {
    if (!isReadable(d.rights)) throw protection(error);
    if (!(isCode(d.rights) && isConforming(d.rights)) && (rpl > dplOf(d.rights) || cpl > dplOf(d.rights))) throw protection(error);
    if ((d.rights & Rights.present) === 0) throw new Fault(Vector.notPresent, error);
  }
  markAccessed(p, d);
  setSegment(v, index, selector, { ...d, rights: d.rights | Rights.accessed });
}

export function markAccessed(p: Processor, d: Descriptor): void {
  if ((d.rights & Rights.accessed) === 0) p.storeSystem(d.address + 5n, 1, BigInt((d.rights | Rights.accessed) & 0xff));
}

/** Linear address of an access outside 64-bit mode (or through FS and GS in it), with the checks of limit and rights. */
export function linearAddress(v: Vcpu, index: number, offset: bigint, bytes: number, write: boolean): bigint {
  if (v.long) return index >= Segment.fs ? BigInt.asUintN(64, offset + v.get64(At.segmentBase, index)) : offset;
  const rights = v.get(At.segmentRights, index);
  const fault = (): Fault => new Fault(index === Segment.ss ? Vector.stack : Vector.protection, 0);
  if ((rights & Rights.unusable) !== 0) throw protection(0);
  if (v.protectedMode && !v.virtual8086) {
    if (write ? !isWritableData(rights) : !isReadable(rights)) throw fault();
  }
  const first = Number(offset & 0xffff_ffffn);
  const last = first + bytes - 1;
  const limit = v.get(At.segmentLimit, index) >>> 0;
  if ((rights & (Rights.code | Rights.expandDownOrConforming)) === Rights.expandDownOrConforming && (rights & Rights.system) !== 0) {
    if (first <= limit || last > ((rights & Rights.big) !== 0 ? 0xffff_ffff : 0xffff)) throw fault();
  } else if (last > limit) throw fault();
  return BigInt.asUintN(32, offset + v.get64(At.segmentBase, index));
}

/** Width of the stack pointer in bits: 64, or by SS.B. */
export function stackSize(v: Vcpu): 16 | 32 | 64 {
  if (v.long) return 64;
  return (v.get(At.segmentRights, Segment.ss) & Rights.big) !== 0 ? 32 : 16;
}

/** LAR, LSL, VERR, VERW: whether the selector names something visible from here. */
export function visible(p: Processor, selector: number, purpose: 'rights' | 'limit' | 'read' | 'write'): Descriptor | undefined {
  const { v } = p;
  if (nullSelector(selector)) return undefined;
  const d = readDescriptor(p, selector);
  if (!d) return undefined;
  const system = (d.rights & Rights.system) === 0;
  if (system) {
    if (purpose === 'read' || purpose === 'write') return undefined;
    const legal = v.longActive
      ? purpose === 'rights' ? [2, 9, 11, 12] : [2, 9, 11]
      : purpose === 'rights' ? [1, 2, 3, 4, 5, 9, 11, 12] : [1, 2, 3, 9, 11];
    if (!legal.includes(d.rights & 0xf)) return undefined;
  }
  if (purpose === 'read' && !isReadable(d.rights)) return undefined;
  if (purpose === 'write' && !isWritableData(d.rights)) return undefined;
  if (!(isCode(d.rights) && isConforming(d.rights))) {
    const dpl = dplOf(d.rights);
    if (v.cpl > dpl || (selector & 3) > dpl) return undefined;
  }
  return d;
}

/** The flag that makes SS:ESP writes go through a 16-bit stack pointer and the like; here for callers that need IOPL. */
export const iopl = (v: Vcpu): number => (v.systemFlags & Flag.iopl) >> 12;
