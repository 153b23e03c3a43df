/** What SSE to SSE4.2 on integers, the moves of all vectors and the MMX forms of the same operations do. SDM 2, chapters 3 and 4. */
import type { Meaning, Operand, Ops, Size } from '../ops.ts';
import type { VectorOp1, VectorOp2 } from '../vector-names.ts';

/** 128-bit memory operands must be aligned, with a few exceptions. */
export function aligned<V>(o: Ops<V>, operand: Operand<V>): V {
  if (operand.isMemory) o.when(o.and(operand.address(), o.constant(15)), () => o.fault(13, 0));
  return operand.read();
}
const zeroVector = <V>(o: Ops<V>): V => o.vector(o.constant(0), o.constant(0));
/** Any operand as a vector: scalars and MMX registers fill the low part. */
const wide = <V>(o: Ops<V>, operand: Operand<V>): V => (operand.size === 128 ? aligned(o, operand) : o.vector(operand.read(), o.constant(0)));
function put<V>(o: Ops<V>, target: Operand<V>, value: V): void {
  target.write(target.size === 128 ? value : o.lane(value, 64, 0));
}

/** After everything that can fault: an MMX register takes part. */
function enterMmx<V>(o: Ops<V>, operand: Operand<V>): void {
  if (operand.size === 64) o.helper('enterMmx');
}

type Combine = <V>(o: Ops<V>, a: V, b: V) => V;
export const combine = (f: Combine): Meaning => (o, _form, target, source) => {
  const b = wide(o, source);
  enterMmx(o, target);
  put(o, target, f(o, wide(o, target), b));
};
export const plain = (op: VectorOp2): Meaning => combine((o, a, b) => o.vector2(op, a, b));
export const swapped = (op: VectorOp2): Meaning => combine((o, a, b) => o.vector2(op, b, a));
/** For packs and horizontal operations the two halves of the result come from the two operands: MMX puts both into one vector. */
export const gathered = (f: Combine): Meaning => (o, _form, target, source) => {
  if (target.size === 128) {
    const b = wide(o, source);
    target.write(f(o, target.read(), b));
    return;
  }
  const b = source.read();
  enterMmx(o, target);
  const both = o.vector(target.read(), b);
  target.write(o.lane(f(o, both, both), 64, 0));
};

export const bytes = (...lanes: number[]): number[] => lanes;
/** Interleaves units of `unit` bytes from the low halves of a and b. */
const interleaveLow = (unit: number): number[] => Array.from({ length: 16 }, (_, n) => {
  const pair = Math.floor(n / (2 * unit));
  const second = Math.floor(n / unit) % 2;
  return second * 16 + pair * unit + (n % unit);
});
export const interleave = (unit: number, high: boolean): Meaning => (o, _form, target, source) => {
  const lanes = interleaveLow(unit);
  if (target.size === 128) {
    const b = aligned(o, source);
    target.write(o.shuffle(target.read(), b, high ? lanes.map((n) => n + 8) : lanes));
    return;
  }
  const b = wide(o, source);
  enterMmx(o, target);
  const value = o.shuffle(wide(o, target), b, lanes);
  target.write(o.lane(value, 64, high ? 1 : 0));
};

/** The odd or even 16-bit halves of two vectors of 32-bit products. */
const highHalves = bytes(2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31);
const lowHalves = bytes(0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29);
export const highProduct = (sign: 's' | 'u'): Combine => (o, a, b) =>
  o.shuffle(o.vector2(`i32x4.extmul_low_i16x8_${sign}`, a, b), o.vector2(`i32x4.extmul_high_i16x8_${sign}`, a, b), highHalves);
export const roundedProduct: Combine = (o, a, b) => {
  const one = o.vector(o.constant(0x1_0000_0001n), o.constant(0x1_0000_0001n));
  const scale = <V>(ops: Ops<V>, v: V, unit: V): V => ops.vectorShift('shr_s', 32, ops.vector2('i32x4.add', ops.vectorShift('shr_s', 32, v, ops.constant(14)), unit), ops.constant(1));
  return o.shuffle(scale(o, o.vector2('i32x4.extmul_low_i16x8_s', a, b), one), scale(o, o.vector2('i32x4.extmul_high_i16x8_s', a, b), one), lowHalves);
};
export const unsignedBySigned: Combine = (o, a, b) => {
  const eight = o.constant(8);
  const even = o.vector2('i16x8.mul', o.vectorShift('shr_u', 16, o.vectorShift('shl', 16, a, eight), eight), o.vectorShift('shr_s', 16, o.vectorShift('shl', 16, b, eight), eight));
  const odd = o.vector2('i16x8.mul', o.vectorShift('shr_u', 16, a, eight), o.vectorShift('shr_s', 16, b, eight));
  return o.vector2('i16x8.add_sat_s', even, odd);
};
const evenLanes = bytes(0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11);
export const evenProduct = (sign: 's' | 'u'): Combine => (o, a, b) => o.vector2(`i64x2.extmul_low_i32x4_${sign}`, o.shuffle(a, a, evenLanes), o.shuffle(b, b, evenLanes));
export const sumOfDifferences: Combine = (o, a, b) => {
  const difference = o.vector2('v128.or', o.vector2('i8x16.sub_sat_u', a, b), o.vector2('i8x16.sub_sat_u', b, a));
  const sum = <V>(ops: Ops<V>, x: V): V => {
    const mask = ops.constant(0x00ff_00ff_00ff_00ffn);
    const pairs = ops.add(ops.and(x, mask), ops.and(ops.shr(x, ops.constant(8)), mask));
    return ops.shr(ops.mul(pairs, ops.constant(0x0001_0001_0001_0001n)), ops.constant(48));
  };
  return o.vector(sum(o, o.lane(difference, 64, 0)), sum(o, o.lane(difference, 64, 1)));
};
/** PSHUFB: an index with its top bit set gives zero, others count modulo the width. */
export const shuffleBytes: Meaning = (o, _form, target, source) => {
  const mask = o.constant(target.size === 64 ? 0x8787_8787_8787_8787n : 0x8f8f_8f8f_8f8f_8f8fn);
  const index = o.vector2('v128.and', wide(o, source), o.vector(mask, mask));
  enterMmx(o, target);
  put(o, target, o.vector2('i8x16.swizzle', wide(o, target), index));
};
export const sign = (lane: 8 | 16 | 32): Combine => (o, a, b) => {
  const shape = ({ 8: 'i8x16', 16: 'i16x8', 32: 'i32x4' } as const)[lane];
  const zero = zeroVector(o);
  const negative = o.vector2(`${shape}.gt_s`, zero, b);
  const flipped = o.vector2(`${shape}.sub`, o.vector2('v128.xor', a, negative), negative);
  return o.vector2('v128.andnot', flipped, o.vector2(`${shape}.eq`, b, zero));
};
export const horizontal = (op: VectorOp2): Combine => (o, a, b) => {
  const unit = op.startsWith('i16x8') ? 2 : 4;
  const pick = (odd: number): number[] => Array.from({ length: 16 }, (_, n) => Math.floor(n / unit) * unit * 2 + odd * unit + (n % unit));
  return o.vector2(op, o.shuffle(a, b, pick(0)), o.shuffle(a, b, pick(1)));
};
export const absolute = (op: VectorOp1): Meaning => (o, _form, target, source) => {
  const value = o.vector1(op, wide(o, source));
  enterMmx(o, target);
  put(o, target, value);
};

// --- shifts
export const shiftBy = (op: 'shl' | 'shr_u' | 'shr_s', lane: 16 | 32 | 64): Meaning => (o, _form, target, counter) => {
  const count = counter.size === 128 ? o.lane(aligned(o, counter), 64, 0) : counter.read();
  const fits = o.ltu(count, o.constant(lane));
  enterMmx(o, target);
  const value = wide(o, target);
  if (op === 'shr_s') return put(o, target, o.vectorShift(op, lane, value, o.select(fits, count, o.constant(lane - 1))));
  const keep = o.sub(o.constant(0), fits);
  put(o, target, o.vector2('v128.and', o.vectorShift(op, lane, value, count), o.vector(keep, keep)));
};
export const shiftWhole = (left: boolean): Meaning => (o, { immediate }, target) => {
  const n = Math.min(16, immediate);
  const lanes = Array.from({ length: 16 }, (_, at) => (left ? (at < n ? 16 : at - n) : at + n < 16 ? at + n : 16));
  target.write(o.shuffle(target.read(), zeroVector(o), lanes));
};

// --- shuffles by an immediate
const select4 = (immediate: number): number[] => [0, 1, 2, 3].map((n) => (immediate >> (2 * n)) & 3);
export const shuffleWords = (from: number, count: number): Meaning => (o, { immediate }, target, source) => {
  const chosen = select4(immediate);
  const lanes = Array.from({ length: 16 }, (_, n) => {
    const unit = count === 8 ? 4 : 2;
    const index = Math.floor((n - from) / unit);
    return n < from || index > 3 ? n : from + (chosen[index] ?? 0) * unit + ((n - from) % unit);
  });
  const value = wide(o, source);
  enterMmx(o, target);
  put(o, target, o.shuffle(value, value, lanes));
};
export const alignRight: Meaning = (o, { immediate }, target, source) => {
  const width = target.size / 8;
  const [a, b] = [wide(o, target), wide(o, source)];
  enterMmx(o, target);
  // the pair b (low), a (high), then zeros
  const lane = (at: number): number => (at < width ? at : at < 2 * width ? 16 + at - width : -1);
  const lanes = Array.from({ length: 16 }, (_, n) => (n < width ? lane(n + immediate) : -1));
  if (lanes.every((n) => n < 0)) return put(o, target, zeroVector(o));
  const keep: readonly bigint[] = lanes.map((n) => (n < 0 ? 0n : 0xffn));
  const half = (at: number): bigint => keep.slice(at, at + 8).reduce((mask, byte, n) => mask | (byte << BigInt(8 * n)), 0n);
  const shuffled = o.shuffle(b, a, lanes.map((n) => Math.max(0, n)));
  put(o, target, o.vector2('v128.and', shuffled, o.vector(o.constant(half(0)), o.constant(half(8)))));
};
export const shuffleTwo = (unit: 4 | 8): Meaning => (o, { immediate }, target, source) => {
  const b = aligned(o, source);
  const per = 16 / unit;
  const lanes = Array.from({ length: 16 }, (_, n) => {
    const at = Math.floor(n / unit);
    const choice = unit === 4 ? (immediate >> (2 * at)) & 3 : (immediate >> at) & 1;
    return (at >= per / 2 ? 16 : 0) + choice * unit + (n % unit);
  });
  target.write(o.shuffle(target.read(), b, lanes));
};
export const blend = (unit: 2 | 4 | 8): Meaning => (o, { immediate }, target, source) => {
  const b = aligned(o, source);
  target.write(o.shuffle(target.read(), b, Array.from({ length: 16 }, (_, n) => ((immediate >> Math.floor(n / unit)) & 1) * 16 + n)));
};
export const blendByMask = (op: VectorOp2): Meaning => (o, _form, target, source) => {
  const b = aligned(o, source);
  const mask = o.vector2(op, zeroVector(o), o.xmm(0));
  target.write(o.vector2('v128.or', o.vector2('v128.and', b, mask), o.vector2('v128.andnot', target.read(), mask)));
};
export const insert = (lane: Size): Meaning => (o, { immediate }, target, source) => {
  const value = source.read();
  enterMmx(o, target);
  put(o, target, o.withLane(wide(o, target), lane, immediate & (target.size / lane - 1), value));
};
export const extract = (lane: Size): Meaning => (o, { immediate }, target, source) => {
  enterMmx(o, source);
  target.write(o.lane(wide(o, source), lane, immediate & (source.size / lane - 1)));
};
export const insertSingle: Meaning = (o, { immediate }, target, source) => {
  const value = source.isMemory ? source.read() : o.lane(source.read(), 32, immediate >> 6);
  let result = o.withLane(target.read(), 32, (immediate >> 4) & 3, value);
  for (let n = 0; n < 4; n++) if ((immediate >> n) & 1) result = o.withLane(result, 32, n, o.constant(0));
  target.write(result);
};

// --- widening, tests, odd ones
export const extend = (...steps: VectorOp1[]): Meaning => (o, _form, target, source) => {
  let value = o.vector(source.read(), o.constant(0));
  for (const step of steps) value = o.vector1(step, value);
  target.write(value);
};
export const test: Meaning = (o, _form, target, source) => {
  const b = aligned(o, source);
  const a = target.read();
  const any = (v: typeof a): typeof a => o.or(o.lane(v, 64, 0), o.lane(v, 64, 1));
  o.setFlagBits({ carry: o.isZero(any(o.vector2('v128.andnot', b, a))), overflow: o.constant(0), adjust: o.constant(0), result: { value: o.constant(1), size: 8 } });
  o.setFlagBits({ zero: o.isZero(any(o.vector2('v128.and', a, b))) });
};
export const signMask = (op: VectorOp1): Meaning => (o, _form, target, source) => {
  enterMmx(o, source);
  const mask = o.vector1(op, wide(o, source));
  target.write(source.size === 64 ? o.and(mask, o.constant(0xff)) : mask);
};
export const smallestWord: Meaning = (o, _form, target, source) => {
  const v = aligned(o, source);
  let best = o.lane(v, 16, 0);
  let index = o.constant(0);
  for (let n = 1; n < 8; n++) {
    const value = o.lane(v, 16, n);
    const less = o.ltu(value, best);
    best = o.select(less, value, best);
    index = o.select(less, o.constant(n), index);
  }
  target.write(o.vector(o.or(best, o.shl(index, o.constant(16))), o.constant(0)));
};
export const sumsOfDifferences: Meaning = (o, { immediate }, target, source) => {
  const b = aligned(o, source);
  const a = target.read();
  const [aStart, bStart] = [((immediate >> 2) & 1) * 4, (immediate & 3) * 4];
  const difference = (x: typeof a, y: typeof a): typeof a => o.select(o.ltu(x, y), o.sub(y, x), o.sub(x, y));
  let result = zeroVector(o);
  for (let n = 0; n < 8; n++) {
    let sum = o.constant(0);
    for (let m = 0; m < 4; m++) sum = o.add(sum, difference(o.lane(a, 8, aStart + n + m), o.lane(b, 8, bStart + m)));
    result = o.withLane(result, 16, n, sum);
  }
  target.write(result);
};

// --- moves
export const move: Meaning = (_o, _form, target, source) => target.write(source.read());
export const moveAligned: Meaning = (o, _form, target, source) => {
  if (target.isMemory) o.when(o.and(target.address(), o.constant(15)), () => o.fault(13, 0));
  target.write(aligned(o, source));
};
/** A scalar into a vector register: the rest becomes zero. */
export const load: Meaning = (o, _form, target, source) => target.write(o.vector(source.read(), o.constant(0)));
export const merge: Meaning = (_o, _form, target, source) => target.write(source.read());
export const loadHigh: Meaning = (o, _form, target, source) => target.write(o.withLane(target.read(), 64, 1, source.read()));
export const storeHigh: Meaning = (o, _form, target, source) => target.write(o.lane(source.read(), 64, 1));
export const highToLow: Meaning = (o, _form, target, source) => target.write(o.withLane(target.read(), 64, 0, o.lane(source.read(), 64, 1)));
export const lowToHigh: Meaning = (o, _form, target, source) => target.write(o.withLane(target.read(), 64, 1, o.lane(source.read(), 64, 0)));
export const duplicate = (lanes: readonly number[]): Meaning => (o, _form, target, source) => {
  const value = source.size === 128 ? aligned(o, source) : o.vector(source.read(), o.constant(0));
  target.write(o.shuffle(value, value, lanes));
};
/** MOVD and MOVQ: the source is read and a store's page checked before the x87 state changes. */
export const moveMmx: Meaning = (o, _form, target, source) => {
  const value = source.read();
  if (target.isMemory) target.readForWrite();
  o.helper('enterMmx');
  target.write(value);
};
export const loadMmx: Meaning = (o, form, target, source, none) => {
  o.helper('enterMmx');
  load(o, form, target, source, none);
};
export const maskedStore: Meaning = (o, form, source, mask) => {
  const width = source.size / 8;
  enterMmx(o, source);
  const [value, select] = [wide(o, source), wide(o, mask)];
  const address = o.linear(form.segment, o.register(7, form.addressSize), width, true);
  for (let n = 0; n < width; n++) o.when(o.and(o.lane(select, 8, n), o.constant(0x80)), () => o.store(o.add(address, o.constant(n)), 8, o.lane(value, 8, n)));
};
export const emptyMmx: Meaning = (o) => void o.helper('leaveMmx');

export const cipher = (kind: number): Meaning => (o, _form, target, source) => {
  const key = aligned(o, source);
  const state = target.read();
  const half = (n: number): typeof key => o.helper('aes', o.constant(kind * 2 + n), o.lane(state, 64, 0), o.lane(state, 64, 1), o.lane(key, 64, 0), o.lane(key, 64, 1));
  target.write(o.vector(half(0), half(1)));
};
export const unaryCipher = (kind: number): Meaning => (o, { immediate }, target, source) => {
  const v = aligned(o, source);
  const half = (n: number): typeof v => o.helper('aes', o.constant(kind * 2 + n), o.lane(v, 64, 0), o.lane(v, 64, 1), o.constant(immediate), o.constant(0));
  target.write(o.vector(half(0), half(1)));
};
export const carryless: Meaning = (o, { immediate }, target, source) => {
  const b = aligned(o, source);
  const [x, y] = [o.lane(target.read(), 64, immediate & 1), o.lane(b, 64, (immediate >> 4) & 1)];
  target.write(o.vector(o.helper('carrylessMultiply', x, y, o.constant(0)), o.helper('carrylessMultiply', x, y, o.constant(1))));
};
