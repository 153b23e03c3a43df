/** Control and debug registers, extended control register. SDM 3A, 2.5. */
import type { CpuModel } from './cpuid.ts';
import { protection, undefinedOpcode } from './fault.ts';
import type { Processor } from './processor.ts';
import { At, Cr0, Cr4, Efer, Flag, Rights, Segment } from './state.ts';

const reservedCr3 = 0x7fff_ff00_0000_0000n;

/** Bits of CR0 and CR4 whose change loads the page-directory pointers of PAE paging. SDM 3A, 4.4.1. */
const pointersByCr0 = Cr0.pg | Cr0.cd | Cr0.nw;
const pointersByCr4 = Cr4.pae | Cr4.pge | Cr4.pse | Cr4.smep;

/** Loads the page-directory pointers for a control register that is about to change, or faults. */
function loadPointers(p: Processor, cr3: number): void {
  if (!p.paging.loadPointers(cr3)) throw protection(0);
}

export function readControl(p: Processor, number: number): bigint {
  const { v } = p;
  if (v.cpl !== 0) throw protection(0);
  switch (number) {
    case 0: return v.get64(At.cr0);
    case 2: return v.get64(At.cr2);
    case 3: return v.get64(At.cr3);
    case 4: return v.get64(At.cr4);
    case 8: return BigInt(v.apic.state.tpr >> 4);
    default: throw undefinedOpcode();
  }
}

export function writeControl(p: Processor, number: number, value: bigint): void {
  const { v } = p;
  if (v.cpl !== 0) throw protection(0);
  const masked = v.long ? value : value & 0xffff_ffffn;
  switch (number) {
    case 0: return writeCr0(p, masked);
    case 2: v.set64(At.cr2, masked); return;
    case 3: return writeCr3(p, masked);
    case 4: return writeCr4(p, masked);
    case 8:
      if (masked > 15n) throw protection(0);
      v.apic.write(0x80, Number(masked) << 4);
      return;
    default: throw undefinedOpcode();
  }
}

export function writeCr0(p: Processor, value: bigint): void {
  const { v } = p;
  if (value >> 32n !== 0n) throw protection(0);
  const before = v.cr0;
  const known = 0xe005_003f;
  const after = (Number(value) & known) >>> 0 | Cr0.et;
  if ((after & Cr0.pg) !== 0 && (after & Cr0.pe) === 0) throw protection(0);
  if ((after & Cr0.nw) !== 0 && (after & Cr0.cd) === 0) throw protection(0);
  const efer = v.efer;
  const turnsOn = (after & Cr0.pg) !== 0 && (before & Cr0.pg) === 0;
  const turnsOff = (after & Cr0.pg) === 0 && (before & Cr0.pg) !== 0;
  if (turnsOn && (efer & Efer.lme) !== 0) {
    if ((v.cr4 & Cr4.pae) === 0 || (v.get(At.segmentRights, Segment.cs) & Rights.long) !== 0) throw protection(0);
    v.set64(At.efer, BigInt(efer | Efer.lma));
  }
  const willUsePae = (after & Cr0.pg) !== 0 && (v.cr4 & Cr4.pae) !== 0 && (efer & Efer.lme) === 0;
  if (willUsePae && ((before ^ after) & pointersByCr0) !== 0) loadPointers(p, v.cr3);
  if (turnsOff) {
    if (v.long || (v.cr4 & Cr4.pcide) !== 0) throw protection(0);
    v.set64(At.efer, BigInt(efer & ~Efer.lma));
  }
  v.set64(At.cr0, BigInt(after >>> 0));
  if (((before ^ after) & (Cr0.pg | Cr0.pe | Cr0.wp)) !== 0) p.spaces.flush(); // AM only moves the TLB bank, in refreshMode
  v.refreshMode();
}

function writeCr3(p: Processor, value: bigint): void {
  const { v } = p;
  const pcid = (v.cr4 & Cr4.pcide) !== 0;
  const kept = pcid ? value & ~(1n << 63n) : value;
  if (v.longActive && (kept & (reservedCr3 | (1n << 63n))) !== 0n) throw protection(0);
  if (v.usesPae) loadPointers(p, Number(kept));
  if (pcid) return p.spaces.switchProcess(kept, kept !== value);
  v.set64(At.cr3, kept);
  v.filled.flushLocal();
}

/** The bits of CR4 that a processor has. */
export function legalCr4(model: CpuModel): number {
  const has = (name: string, bit: number): number => (model.features.has(name) ? bit : 0);
  return (
    Cr4.vme | Cr4.pvi | Cr4.tsd | Cr4.de | Cr4.pse | Cr4.pae | Cr4.pge | Cr4.pce | Cr4.osfxsr | Cr4.osxmmexcpt | Cr4.mce |
    has('umip', Cr4.umip) | has('fsgsbase', Cr4.fsgsbase) | has('pcid', Cr4.pcide) | has('xsave', Cr4.osxsave) | has('smep', Cr4.smep) | has('smap', Cr4.smap) |
    has('vmx', Cr4.vmxe)
  );
}
function writeCr4(p: Processor, value: bigint): void {
  const { v } = p;
  if ((value & ~BigInt(legalCr4(v.model))) !== 0n) throw protection(0);
  const after = Number(value);
  const before = v.cr4;
  if (v.longActive && (after & Cr4.pae) === 0) throw protection(0);
  if ((after & Cr4.pcide) !== 0 && (before & Cr4.pcide) === 0 && (!v.longActive || (v.cr3 & 0xfff) !== 0)) throw protection(0);
  const paged = (v.cr0 & Cr0.pg) !== 0 && !v.longActive;
  if (paged && (after & Cr4.pae) !== 0 && ((before ^ after) & pointersByCr4) !== 0) loadPointers(p, v.cr3);
  v.set64(At.cr4, BigInt(after));
  if (before !== after) p.spaces.flush();
  v.refreshMode();
}

export function readDebug(p: Processor, number: number): bigint {
  const { v } = p;
  if (v.cpl !== 0) throw protection(0);
  return v.get64(At.debug, debugIndex(p, number));
}
export function writeDebug(p: Processor, number: number, value: bigint): void {
  const { v } = p;
  if (v.cpl !== 0) throw protection(0);
  const index = debugIndex(p, number);
  if (index >= 6 && value >> 32n !== 0n && v.long) throw protection(0);
  const stored = index === 6 ? (value & 0xe00fn) | 0xffff_0ff0n : index === 7 ? (value & 0xffff_2bffn) | 0x400n : value;
  v.set64(At.debug, stored, index);
  p.spaces.flush(); // pages with data breakpoints are kept out of it
}
/** DR4 and DR5 are DR6 and DR7, or nothing with CR4.DE. */
function debugIndex(p: Processor, number: number): number {
  if (number !== 4 && number !== 5) return number;
  if ((p.v.cr4 & Cr4.de) !== 0) throw undefinedOpcode();
  return number + 2;
}

export function writeXcr0(p: Processor): void {
  const { v } = p;
  if ((v.cr4 & Cr4.osxsave) === 0) throw undefinedOpcode();
  if (v.cpl !== 0) throw protection(0);
  const value = (BigInt(v.low(At.gpr, 2)) << 32n) | BigInt(v.low(At.gpr, 0));
  if (v.low(At.gpr, 1) !== 0 || (value & 1n) === 0n || value > 3n) throw protection(0);
  v.set64(At.xcr0, value);
}

/** STAC and CLAC. */
export function setAlignmentFlag(p: Processor, on: boolean): void {
  const { v } = p;
  if (v.cpl !== 0) throw undefinedOpcode();
  const flags = v.systemFlags;
  v.set(At.systemFlags, on ? flags | Flag.alignment : flags & ~Flag.alignment);
  v.refreshMode();
}
