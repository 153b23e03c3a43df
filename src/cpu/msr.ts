/** Model-specific registers. SDM 4, chapter 2. What is not here is #GP, as on a processor without it. */
import type { CpuModel } from './cpuid.ts';
import { protection } from './fault.ts';
import { canonicalAddress } from './page-walk.ts';
import type { Processor } from './processor.ts';
import { At, Efer, Segment, type StateField } from './state.ts';
import { guestTscOf, tscOf } from './time.ts';

const plain: Readonly<Record<number, StateField>> = {
  372: 'sysenterCs', 373: 'sysenterEsp', 374: 'sysenterEip', 416: 'miscEnable', 473: 'debugControl', 631: 'pat',
  3221225601: 'star', 3221225602: 'lstar', 3221225603: 'cstar', 3221225604: 'sfmask', 3221225730: 'kernelGsBase', 3221225731: 'tscAux',
};
const addresses = new Set([0x175, 0x176, 0xc000_0082, 0xc000_0083, 0xc000_0102]);
/**
 * What this processor does not suffer from: RDCL_NO, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, IF_PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO,
 * BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO. Hypervisors that read it leave page tables and caches in peace.
 */
const archCapabilities = 0xd10_e179n;
/** Read as a constant; writes of any value are accepted and forgotten. */
const constants: Readonly<Record<number, bigint>> = { 23: 0n, 52: 0n, 139: 1n << 32n, 206: 0n, 320: 0n };

/** The same on AMD's processors: SYSCFG, HWCR (the TSC counts at P0), NB_CFG, DE_CFG (LFENCE serializes). */
const amdConstants: Readonly<Record<number, bigint>> = { 3221291024: 0n, 3221291029: 1n << 24n, 3221291039: 0n, 3221295145: 2n };
const constantOf = (v: Processor['v'], number: number): bigint | undefined =>
  constants[number] ?? (v.model.features.has('svm') ? amdConstants[number] : undefined);

/** Memory types have no effect here, but kernels read and move them: state field and index of an MTRR. SDM 3A, 12.11. */
const fixedMtrrs = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];
function mtrr(number: number): readonly [StateField, number] | undefined {
  if (number >= 0x200 && number < 0x210) return ['mtrrVariable', number - 0x200];
  if (number === 0x2ff) return ['mtrrDefault', 0];
  const fixed = fixedMtrrs.indexOf(number);
  return fixed < 0 ? undefined : ['mtrrFixed', fixed];
}
const legalType = (type: bigint): boolean => [0n, 1n, 4n, 5n, 6n].includes(type);
function writeMtrr(p: Processor, [field, index]: readonly [StateField, number], value: bigint): void {
  if (field === 'mtrrDefault' && ((value & ~0xcffn) !== 0n || !legalType(value & 0xffn))) throw protection(0);
  if (field === 'mtrrFixed') for (let n = 0n; n < 64n; n += 8n) if (!legalType((value >> n) & 0xffn)) throw protection(0);
  if (field === 'mtrrVariable' && (value >> 40n !== 0n || (index % 2 === 0 && ((value & 0xf00n) !== 0n || !legalType(value & 0xffn))) || (index % 2 === 1 && (value & 0x7ffn) !== 0n))) {
    throw protection(0);
  }
  p.v.set64(At[field], value, index);
}

export function readMsr(p: Processor, number: number): bigint {
  const { v } = p;
  const field = plain[number];
  if (field) return v.get64(At[field]);
  const constant = constantOf(v, number);
  if (constant !== undefined) return constant;
  const memoryType = mtrr(number);
  if (memoryType) return v.get64(At[memoryType[0]], memoryType[1]);
  if (number >= 0x800 && number < 0x840) return readX2apic(p, number);
  switch (number) {
    case 0x10: return guestTscOf(v);
    case 0x1b: return v.get64(At.apicBase);
    case 0x3a: return v.get64(At.featureControl);
    case 0x3b: return v.get64(At.tscAdjust);
    case 0x10a:
      if (v.model.features.has('arch-capabilities')) return archCapabilities;
      throw protection(0);
    case 0x179: return 0n; // machine check: no banks; Xen reads it whatever CPUID says
    case 0xfe: return 0x508n; // 8 variable ranges, fixed ranges, write-combining
    case 0x6e0: return v.apic.deadline;
    case 0xc000_0080: return v.get64(At.efer);
    case vmControl:
      checkSvm(v);
      return 0n;
    case hostSaveArea:
      checkSvm(v);
      return v.get64(At.hostSaveArea);
    case 0xc000_0100: return v.get64(At.segmentBase, Segment.fs);
    case 0xc000_0101: return v.get64(At.segmentBase, Segment.gs);
    default: throw protection(0);
  }
}

export function writeMsr(p: Processor, number: number, value: bigint): void {
  const { v } = p;
  const field = plain[number];
  if (field) {
    if (addresses.has(number) && !canonicalAddress(value)) throw protection(0);
    if (number === 0x277 && !legalPat(value)) throw protection(0);
    if ((number === 0xc000_0103 || number === 0xc000_0084) && value >> 32n !== 0n) throw protection(0);
    v.set64(At[field], value);
    return;
  }
  if (constantOf(v, number) !== undefined) return;
  const memoryType = mtrr(number);
  if (memoryType) return writeMtrr(p, memoryType, value);
  if (number >= 0x800 && number < 0x840) return writeX2apic(p, number, value);
  switch (number) {
    case 0x10:
      setTscOffset(p, v.get64(At.tscOffset) + value - tscOf(v));
      return;
    case 0x1b: return writeApicBase(p, value);
    case 0x3b: {
      const change = value - v.get64(At.tscAdjust);
      v.set64(At.tscAdjust, value);
      setTscOffset(p, v.get64(At.tscOffset) + change);
      return;
    }
    case 0x6e0:
      v.apic.setDeadline(value);
      return;
    case 0xc000_0080: return writeEfer(p, value);
    case vmControl:
      checkSvm(v);
      return;
    case hostSaveArea:
      checkSvm(v);
      if ((value & 0xfffn) !== 0n || value >> 40n !== 0n) throw protection(0);
      v.set64(At.hostSaveArea, value);
      return;
    case 0xc000_0100:
    case 0xc000_0101:
      if (!canonicalAddress(value)) throw protection(0);
      v.set64(At.segmentBase, value, number === 0xc000_0100 ? Segment.fs : Segment.gs);
      return;
    default: throw protection(0);
  }
}

/** VM_CR (nothing in it is implemented) and VM_HSAVE_PA. APM 2, 15.30. */
const vmControl = 0xc001_0114;
const hostSaveArea = 0xc001_0117;
function checkSvm(v: Processor['v']): void {
  if (!v.model.features.has('svm')) throw protection(0);
}
function setTscOffset(p: Processor, offset: bigint): void {
  p.v.set64(At.tscOffset, BigInt.asUintN(64, offset));
  p.v.apic.tscOffset = BigInt.asIntN(64, offset);
}

function legalPat(value: bigint): boolean {
  for (let n = 0n; n < 64n; n += 8n) if (![0n, 1n, 4n, 5n, 6n, 7n].includes((value >> n) & 0xffn)) return false;
  return true;
}

export const legalEfer = (model: CpuModel): bigint =>
  BigInt(Efer.sce | Efer.lme | Efer.lma | Efer.nxe | (model.features.has('svm') ? Efer.svme : 0));
function writeEfer(p: Processor, value: bigint): void {
  const { v } = p;
  const legal = legalEfer(v.model);
  if ((value & ~legal) !== 0n) throw protection(0);
  const before = v.efer;
  const after = (Number(value) & ~Efer.lma) | (before & Efer.lma);
  if (((before ^ after) & Efer.lme) !== 0 && (v.cr0 & 0x8000_0000) !== 0) throw protection(0);
  v.set64(At.efer, BigInt(after));
  if (((before ^ after) & Efer.nxe) !== 0) v.flushTlb();
}

/** Only legal transitions between disabled, xAPIC and x2APIC: SDM 3A, 11.12.5. */
function writeApicBase(p: Processor, value: bigint): void {
  const { v } = p;
  if ((value & ~0xff_ffff_fd00n) !== 0n) throw protection(0);
  const before = v.get64(At.apicBase);
  const mode = (base: bigint): number => Number((base >> 10n) & 3n);
  const x2apic = v.model.features.has('x2apic');
  const to = mode(value);
  if (to === 1 || (to === 3 && !x2apic)) throw protection(0);
  if (to === 3 && mode(before) === 0) throw protection(0);
  if (to === 2 && mode(before) === 3) throw protection(0);
  v.set64(At.apicBase, (value & ~0x100n) | (before & 0x100n));
  const s = v.apic.state;
  if (to === 0) v.apic.reset();
  v.apic.state.enabled = to !== 0;
  v.apic.state.x2apic = to === 3;
  if (to === 3) s.id = v.id;
}

function readX2apic(p: Processor, number: number): bigint {
  const { apic } = p.v;
  if (!apic.state.x2apic || number === 0x80e || number === 0x831) throw protection(0);
  const offset = (number & 0x3f) << 4;
  if (number === 0x830) return (BigInt(apic.state.icrHigh >>> 0) << 32n) | BigInt(apic.state.icrLow >>> 0);
  if (number === 0x80b || number === 0x83f) throw protection(0);
  return BigInt(apic.read(offset) >>> 0);
}

function writeX2apic(p: Processor, number: number, value: bigint): void {
  const { apic } = p.v;
  if (!apic.state.x2apic || [0x802, 0x803, 0x80a, 0x80d, 0x80e, 0x831, 0x839].includes(number)) throw protection(0);
  if (number === 0x830) {
    apic.state.icrHigh = Number(value >> 32n);
    apic.write(0x300, Number(value & 0xffff_ffffn));
    return;
  }
  if (value >> 32n !== 0n) throw protection(0);
  apic.write((number & 0x3f) << 4, Number(value));
}
