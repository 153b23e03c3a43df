/** Floating point, vectors, ciphers and their save areas. */
import { Fault, protection, undefinedOpcode, Vector } from '../fault.ts';
import { checkMxcsr, initialiseXmm, loadLegacyArea, loadX87, loadXmm, saveLegacyArea, saveMxcsr, saveX87, saveXmm } from '../float/environment.ts';
import { FloatStack } from '../float/registers.ts';
import { floatOperation } from '../float/sse.ts';
import { executeX87 } from '../float/x87.ts';
import type { Processor } from '../processor.ts';
import { At, Cr0, Cr4 } from '../state.ts';
import { aesRound } from './aes.ts';
import { compareStrings, expandMask } from './compare-strings.ts';
import type { Helpers } from './helper.ts';

function checkVector(p: Processor): void {
  const cr0 = p.v.cr0;
  if ((cr0 & Cr0.em) !== 0 || (p.v.cr4 & Cr4.osfxsr) === 0) throw undefinedOpcode();
  if ((cr0 & Cr0.ts) !== 0) throw new Fault(Vector.deviceNotAvailable);
}
function checkFloat(p: Processor): void {
  if ((p.v.cr0 & (Cr0.em | Cr0.ts)) !== 0) throw new Fault(Vector.deviceNotAvailable);
}
function checkSave(p: Processor): void {
  if ((p.v.cr4 & Cr4.osxsave) === 0) throw undefinedOpcode();
  if ((p.v.cr0 & Cr0.ts) !== 0) throw new Fault(Vector.deviceNotAvailable);
}

/** XSAVE and its relatives: components 0 (x87) and 1 (SSE), which are all there are. */
function xsave(p: Processor, at: bigint, wide: boolean, compact: boolean): void {
  checkSave(p);
  if ((at & 63n) !== 0n) throw protection(0);
  const { v } = p;
  const requested = v.low(At.gpr, 0) & v.low(At.xcr0);
  if (requested & 1) saveX87(p, new FloatStack(v), at, wide);
  if (requested & 3) saveMxcsr(p, at);
  if (requested & 2) saveXmm(p, at);
  const old = compact ? 0n : p.load(at + 512n, 8);
  p.store(at + 512n, 8, (old & ~BigInt(requested)) | BigInt(requested));
  if (compact) p.store(at + 520n, 8, (1n << 63n) | BigInt(requested));
}
function xrstor(p: Processor, at: bigint, wide: boolean): void {
  checkSave(p);
  if ((at & 63n) !== 0n) throw protection(0);
  const { v } = p;
  const requested = v.low(At.gpr, 0) & v.low(At.xcr0);
  const [present, compaction] = [p.load(at + 512n, 8), p.load(at + 520n, 8)];
  const compact = compaction >> 63n === 1n;
  const allowed = BigInt(v.low(At.xcr0));
  if ((present & ~allowed) !== 0n) throw protection(0);
  if (compact ? (compaction & ~(1n << 63n) & ~allowed) !== 0n || (present & ~compaction) !== 0n : compaction !== 0n || p.load(at + 528n, 8) !== 0n) throw protection(0);
  const mxcsr = Number(p.load(at + 24n, 4));
  if (requested & 2) checkMxcsr(mxcsr);
  const has = (component: number): boolean => (requested & component) !== 0 && (Number(present) & component) !== 0;
  if (has(1)) loadX87(p, new FloatStack(v), at, wide);
  else if (requested & 1) new FloatStack(v).initialise();
  if (has(2)) loadXmm(p, at);
  else if (requested & 2) initialiseXmm(p);
  if (requested & 2) v.set(At.mxcsr, compact && !has(2) ? 0x1f80 : mxcsr);
}

export const floatHelpers: Helpers<
  | 'checkVector' | 'checkFloat' | 'fxsave' | 'fxrstor' | 'xsave' | 'xrstor' | 'xsaveopt' | 'xsavec' | 'xsaves' | 'xrstors' | 'loadControlStatus' | 'x87'
  | 'float' | 'enterMmx' | 'leaveMmx' | 'aes' | 'carrylessMultiply' | 'compareStrings' | 'expandMask'
> = {
  checkVector,
  checkFloat,
  fxsave(p, at, size) {
    if ((at & 15n) !== 0n) throw protection(0);
    if (size === 64n && p.v.long && saveLegacyArea(p, new FloatStack(p.v), at)) return;
    saveX87(p, new FloatStack(p.v), at, size === 64n);
    saveMxcsr(p, at);
    saveXmm(p, at);
  },
  fxrstor(p, at, size) {
    if ((at & 15n) !== 0n) throw protection(0);
    if (size === 64n && p.v.long && loadLegacyArea(p, new FloatStack(p.v), at)) return;
    const mxcsr = Number(p.load(at + 24n, 4));
    checkMxcsr(mxcsr);
    loadXmm(p, at);
    loadX87(p, new FloatStack(p.v), at, size === 64n);
    p.v.set(At.mxcsr, mxcsr);
  },
  xsave: (p, at, size) => xsave(p, at, size === 64n, false),
  xsaveopt: (p, at, size) => xsave(p, at, size === 64n, false),
  xsavec: (p, at, size) => xsave(p, at, size === 64n, true),
  xsaves(p, at, size) {
    if (p.v.cpl !== 0) throw protection(0);
    xsave(p, at, size === 64n, true);
  },
  xrstor: (p, at, size) => xrstor(p, at, size === 64n),
  xrstors(p, at, size) {
    if (p.v.cpl !== 0) throw protection(0);
    xrstor(p, at, size === 64n);
  },
  loadControlStatus(p, value) {
    checkVector(p);
    checkMxcsr(Number(value));
    p.v.set(At.mxcsr, Number(value));
  },
  x87: (p, code, address, size) => executeX87(p, Number(code), address, Number(size)),
  float: (p, code, a, b, extra) => floatOperation(p, Number(code), a, b, Number(extra)),
  /** Any MMX instruction: the tags become valid and the top 0. Pending x87 exceptions are reported first. */
  enterMmx(p) {
    if ((p.v.get(At.floatStatus) & 0x80) !== 0 && (p.v.cr0 & Cr0.ne) !== 0) throw new Fault(Vector.float);
    p.v.set(At.floatTop, 0);
    p.v.set(At.floatEmpty, 0);
  },
  leaveMmx(p) {
    p.v.set(At.floatTop, 0);
    p.v.set(At.floatEmpty, 0xff);
  },
  aes: (_p, kind, low, high, keyLow, keyHigh) => aesRound(Number(kind), low | (high << 64n), keyLow | (keyHigh << 64n)),
  carrylessMultiply(_p, a, b, half) {
    let product = 0n;
    for (let n = 0n; n < 64n; n++) if ((b >> n) & 1n) product ^= a << n;
    return half === 0n ? product & 0xffff_ffff_ffff_ffffn : product >> 64n;
  },
  compareStrings: (p, a0, a1, b0, b1, control) => compareStrings(p, a0 | (a1 << 64n), b0 | (b1 << 64n), Number(control)),
  expandMask: (_p, result, immediate, half) => expandMask(Number(result & 0xffffn), Number(immediate), Number(half)),
};
