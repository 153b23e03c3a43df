/** The scalar operations behind SSE's arithmetic: exact results and MXCSR's exceptions. A fast path uses the host where it must agree. */
import { floatOps } from '../../isa/float-ops.ts';
import { Fault, undefinedOpcode, Vector } from '../fault.ts';
import type { Processor } from '../processor.ts';
import { At, Cr4 } from '../state.ts';
import { convert, fromInteger, roundToIntegral, toInteger } from './conversions.ts';
import { add, Context, compare, divide, double, Exception, type Format, multiply, operand, single, squareRoot, unpack } from './soft.ts';

const bits = new DataView(new ArrayBuffer(8));

/** Round to nearest, everything masked, no DAZ or FTZ, and precision already sticky: the host's arithmetic can do no harm. */
const hostMode = 0x1fa0;
const relevant = 0xffe0;
const smallestNormal = { 32: 2 ** -126, 64: 2 ** -1022 } as const;

function toNumber(value: bigint, size: 32 | 64): number {
  if (size === 64) {
    bits.setBigUint64(0, value);
    return bits.getFloat64(0);
  }
  bits.setUint32(0, Number(value & 0xffff_ffffn));
  return bits.getFloat32(0);
}
function fromNumber(value: number, size: 32 | 64): bigint {
  if (size === 64) {
    bits.setFloat64(0, value);
    return bits.getBigUint64(0);
  }
  bits.setFloat32(0, value);
  return BigInt(bits.getUint32(0));
}

/** A result of the host where all operands and the result are normal or zero; for single precision a double result rounds right. */
function onHost(op: string, a: bigint, b: bigint, size: 32 | 64): bigint | undefined {
  const [x, y] = [toNumber(a, size), toNumber(b, size)];
  const least = smallestNormal[size];
  const plain = (n: number): boolean => n === 0 || Math.abs(n) >= least;
  if (!plain(x) || !plain(y)) return undefined; // NaN fails too
  let r: number;
  switch (op) {
    case 'add': r = x + y; break;
    case 'sub': r = x - y; break;
    case 'mul': r = x * y; break;
    case 'div': r = x / y; break;
    case 'sqrt': r = Math.sqrt(y); break;
    default: return undefined;
  }
  if (size === 32) r = Math.fround(r);
  // a zero product or quotient may be an underflow; the smallest normal may have been rounded up to
  if (!Number.isFinite(r) || !(Math.abs(r) > least || (r === 0 && (op === 'add' || op === 'sub')))) return undefined;
  return fromNumber(r, size);
}

export function floatOperation(p: Processor, code: number, a: bigint, b: bigint, extra: number): bigint {
  const { v } = p;
  const op = floatOps[code >> 1] ?? 'add';
  const size = code & 1 ? 64 : 32;
  const mxcsr = v.get(At.mxcsr);
  if ((mxcsr & relevant) === hostMode) {
    const fast = onHost(op, a, b, size);
    if (fast !== undefined) return fast;
  }
  const format = size === 64 ? double : single;
  const masked = (mxcsr >> 7) & 0x3f;
  const c = new Context({ rounding: (mxcsr >> 13) & 3, daz: (mxcsr & 0x40) !== 0, ftz: (mxcsr & 0x8000) !== 0, masked });
  const result = exact(c, op, a, b, extra, format, size);
  raise(p, c);
  return result;
}

function raise(p: Processor, c: Context): void {
  const { v } = p;
  // invalid, denormal and divide come before the operation: when one of them is unmasked the others are not reached
  const unmasked = c.flags & ~c.mode.masked;
  const early = Exception.invalid | Exception.denormal | Exception.divide;
  const reported = (unmasked & early) !== 0 ? c.flags & early : c.flags;
  v.set(At.mxcsr, v.get(At.mxcsr) | reported);
  if ((reported & ~c.mode.masked) === 0) return;
  if ((v.cr4 & Cr4.osxmmexcpt) === 0) throw undefinedOpcode();
  throw new Fault(Vector.simd);
}

const sixtyFour = (op: string): boolean => op.endsWith('64');

function exact(c: Context, op: (typeof floatOps)[number], a: bigint, b: bigint, extra: number, f: Format, size: 32 | 64): bigint {
  switch (op) {
    case 'add': return add(c, a, b, f);
    case 'sub': return add(c, a, b, f, true);
    case 'mul': return multiply(c, a, b, f);
    case 'div': return divide(c, a, b, f);
    case 'sqrt': return squareRoot(c, b, f);
    case 'min': case 'max': return extreme(c, op, a, b, f);
    case 'rcp': case 'rsqrt': return approximate(op, b);
    case 'compare': return predicate(c, a, b, extra, f, size);
    case 'comi': case 'ucomi': return flagsOf(compare(c, a, b, f, op === 'ucomi'));
    case 'fromInt32': case 'fromInt64': return fromInteger(c, BigInt.asIntN(sixtyFour(op) ? 64 : 32, a), f);
    case 'toInt32': case 'toInt64': return toInteger(c, a, f, sixtyFour(op) ? 64 : 32);
    case 'truncateInt32': case 'truncateInt64': return toInteger(c, a, f, sixtyFour(op) ? 64 : 32, 3);
    case 'toOther': return convert(c, a, f, size === 64 ? single : double);
    case 'round': return roundToIntegral(c, a, f, extra & 4 ? c.mode.rounding : extra & 3, (extra & 8) !== 0);
  }
}

/** MIN and MAX give the second operand when one is a NaN or both are zero. */
function extreme(c: Context, op: 'min' | 'max', a: bigint, b: bigint, f: Format): bigint {
  const order = compare(c, a, b, f, false);
  const second = operand(c, b, f).kind === 'zero' && unpack(b, f).denormal ? b & (1n << BigInt(f.precision + f.exponentBits - 1)) : b;
  const first = operand(c, a, f).kind === 'zero' && unpack(a, f).denormal ? a & (1n << BigInt(f.precision + f.exponentBits - 1)) : a;
  if (order === undefined) return second;
  return order === (op === 'min' ? -1 : 1) ? first : second;
}

/** CMPPS predicates: equal, less, less or equal, unordered, and their negations. */
function predicate(c: Context, a: bigint, b: bigint, which: number, f: Format, size: 32 | 64): bigint {
  const order = compare(c, a, b, f, (which & 3) === 0 || (which & 3) === 3);
  const base = [order === 0, order === -1, order === -1 || order === 0, order === undefined][which & 3] ?? false;
  return base !== ((which & 4) !== 0) ? (1n << BigInt(size)) - 1n : 0n;
}

/** CF, PF, ZF as COMISD sets them. */
function flagsOf(order: -1 | 0 | 1 | undefined): bigint {
  if (order === undefined) return 0x45n;
  return order === 0 ? 0x40n : order < 0 ? 1n : 0n;
}

/** RCPSS and RSQRTSS: any result within 1.5 * 2^-12 is right; this one is correctly rounded to single precision. Denormals count as zero. */
function approximate(op: 'rcp' | 'rsqrt', x: bigint): bigint {
  const p = unpack(x, single);
  if (p.kind === 'nan') return x | 0x40_0000n;
  const value = p.denormal ? (p.sign === 1 ? -0 : 0) : toNumber(x, 32);
  if (op === 'rsqrt' && value < 0) return 0xffc0_0000n;
  const r = op === 'rcp' ? 1 / value : 1 / Math.sqrt(value);
  const sign = Object.is(Math.fround(r), -0) || r < 0 ? 0x8000_0000n : 0n;
  return Math.abs(r) < smallestNormal[32] ? sign : fromNumber(r, 32);
}
