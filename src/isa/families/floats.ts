/** SSE and SSE2 floating point with SSE3 and SSE4.1's additions. The arithmetic is the `float` helper's, lane by lane. SDM 1, chapters 10 to 12. */
import type { FloatOp } from '../float-ops.ts';
import type { Feature, Instruction } from '../instruction.ts';
import type { Meaning, Ops } from '../ops.ts';
import { row } from '../table.ts';
import { aligned } from './vector-meanings.ts';

type Lane = 32 | 64;
const one = <V>(o: Ops<V>, op: FloatOp, size: Lane, a: V, b: V, extra?: V): V => o.float(op, size, a, b, extra);

const scalar = (op: FloatOp): Meaning => (o, _form, target, source) => {
  const b = source.read();
  target.write(one(o, op, source.size as Lane, target.read(), b));
};
/** Each lane of a and b. */
function each<V>(o: Ops<V>, size: Lane, a: V, b: V, f: (x: V, y: V, lane: number) => V): V {
  let result = b;
  for (let n = 0; n < 128 / size; n++) result = o.withLane(result, size, n, f(o.lane(a, size, n), o.lane(b, size, n), n));
  return result;
}
const packed = (op: FloatOp, size: Lane): Meaning => (o, _form, target, source) => {
  const b = aligned(o, source);
  target.write(each(o, size, target.read(), b, (x, y) => one(o, op, size, x, y)));
};
const arithmetic: readonly (readonly [name: string, byte: number, op: FloatOp, singleOnly?: boolean])[] = [
  ['sqrt', 0x51, 'sqrt'], ['rsqrt', 0x52, 'rsqrt', true], ['rcp', 0x53, 'rcp', true], ['add', 0x58, 'add'], ['mul', 0x59, 'mul'],
  ['sub', 0x5c, 'sub'], ['min', 0x5d, 'min'], ['div', 0x5e, 'div'], ['max', 0x5f, 'max'],
];

const compareScalar: Meaning = (o, { immediate }, target, source) => {
  const b = source.read();
  target.write(one(o, 'compare', source.size as Lane, target.read(), b, o.constant(immediate & 7)));
};
const comparePacked = (size: Lane): Meaning => (o, { immediate }, target, source) => {
  const b = aligned(o, source);
  target.write(each(o, size, target.read(), b, (x, y) => one(o, 'compare', size, x, y, o.constant(immediate & 7))));
};
const compareFlags = (op: 'comi' | 'ucomi'): Meaning => (o, _form, target, source) => {
  const b = source.read();
  o.loadStatusFlags(one(o, op, source.size as Lane, target.read(), b));
  o.setFlagBits({ overflow: o.constant(0) });
};

const fromInteger = (size: Lane): Meaning => (o, form, target, source) => target.write(one(o, form.size === 64 ? 'fromInt64' : 'fromInt32', size, source.read(), o.constant(0)));
const toInteger = (truncate: boolean): Meaning => (o, form, target, source) => {
  const wide = form.size === 64;
  const op: FloatOp = truncate ? (wide ? 'truncateInt64' : 'truncateInt32') : wide ? 'toInt64' : 'toInt32';
  target.write(one(o, op, source.size as Lane, source.read(), o.constant(0)));
};
const toOther: Meaning = (o, _form, target, source) => target.write(one(o, 'toOther', source.size as Lane, source.read(), o.constant(0)));

const zero = <V>(o: Ops<V>): V => o.vector(o.constant(0), o.constant(0));
/** Two results of 32 or 64 bits from the low two lanes of a source; the rest of the target is cleared. */
const pairs = (from: 'i32' | 32 | 64, to: Lane, op: FloatOp): Meaning => (o, _form, target, source) => {
  const value = source.size === 128 ? aligned(o, source) : o.vector(source.read(), o.constant(0));
  let result = zero(o);
  const size = from === 'i32' ? 32 : from;
  for (let n = 0; n < 2; n++) result = o.withLane(result, to, n, one(o, op, from === 'i32' ? to : from, o.lane(value, size, n), o.constant(0)));
  target.write(result);
};
const quads = (op: FloatOp): Meaning => (o, _form, target, source) => {
  const value = aligned(o, source);
  target.write(each(o, 32, value, value, (x, y) => one(o, op, 32, x, y)));
};
/** MMX conversions. */
const fromMmx = (size: Lane): Meaning => (o, _form, target, source) => {
  const value = o.vector(source.read(), o.constant(0));
  if (!source.isMemory || size === 32) o.helper('enterMmx');
  let result = target.read();
  for (let n = 0; n < 2; n++) result = o.withLane(result, size, n, one(o, 'fromInt32', size, o.lane(value, 32, n), o.constant(0)));
  target.write(result);
};
const toMmx = (size: Lane, op: FloatOp): Meaning => (o, _form, target, source) => {
  const value = source.size === 128 ? aligned(o, source) : o.vector(source.read(), o.constant(0));
  o.helper('enterMmx');
  let result = zero(o);
  for (let n = 0; n < 2; n++) result = o.withLane(result, 32, n, one(o, op, size, o.lane(value, size, n), o.constant(0)));
  target.write(o.lane(result, 64, 0));
};

const roundScalar: Meaning = (o, { immediate }, target, source) => target.write(one(o, 'round', source.size as Lane, source.read(), o.constant(0), o.constant(immediate)));
const roundPacked = (size: Lane): Meaning => (o, { immediate }, target, source) => {
  const value = aligned(o, source);
  target.write(each(o, size, value, value, (x, y) => one(o, 'round', size, x, y, o.constant(immediate))));
};

/** HADD, HSUB: pairs of each operand; ADDSUB: subtract in even lanes, add in odd ones. */
const horizontal = (op: 'add' | 'sub', size: Lane): Meaning => (o, _form, target, source) => {
  const b = aligned(o, source);
  const a = target.read();
  const half = 64 / size;
  let result = b;
  for (let n = 0; n < 128 / size; n++) {
    const from = n < half ? a : b;
    const first = (n % half) * 2;
    result = o.withLane(result, size, n, one(o, op, size, o.lane(from, size, first), o.lane(from, size, first + 1)));
  }
  target.write(result);
};
const alternating = (size: Lane): Meaning => (o, _form, target, source) => {
  const b = aligned(o, source);
  target.write(each(o, size, target.read(), b, (x, y, n) => one(o, n & 1 ? 'add' : 'sub', size, x, y)));
};
const dotProduct = (size: Lane): Meaning => (o, { immediate }, target, source) => {
  const b = aligned(o, source);
  const a = target.read();
  const count = 128 / size;
  const products = Array.from({ length: count }, (_, n) =>
    (immediate >> (4 + n)) & 1 ? one(o, 'mul', size, o.lane(a, size, n), o.lane(b, size, n)) : o.constant(0),
  );
  const sum = (x: number, y: number): typeof a => one(o, 'add', size, products[x] ?? o.constant(0), products[y] ?? o.constant(0));
  const total = count === 2 ? sum(0, 1) : one(o, 'add', size, sum(0, 1), sum(2, 3));
  let result = zero(o);
  for (let n = 0; n < count; n++) if ((immediate >> n) & 1) result = o.withLane(result, size, n, total);
  target.write(result);
};

const by = { immediateInShape: true } as const;
const sse = (name: string, byte: number, operands: string, meaning: Meaning, prefix: 0 | 0x66 | 0xf3 | 0xf2, feature: Feature = prefix === 0 || prefix === 0xf3 ? 'sse' : 'sse2', options = {}): Instruction =>
  row(name, 0x0f00 + byte, operands, meaning, { prefix, feature, ...options });

export const floatFamily: readonly Instruction[] = [
  ...arithmetic.flatMap(([name, byte, op, singleOnly]) => [
    sse(`${name}ps`, byte, 'Vx Wx', packed(op, 32), 0),
    sse(`${name}ss`, byte, 'Vd Wd', scalar(op), 0xf3),
    ...(singleOnly ? [] : [sse(`${name}pd`, byte, 'Vx Wx', packed(op, 64), 0x66), sse(`${name}sd`, byte, 'Vq Wq', scalar(op), 0xf2)]),
  ]),
  sse('cmpps', 0xc2, 'Vx Wx Ib', comparePacked(32), 0, 'sse', by),
  sse('cmppd', 0xc2, 'Vx Wx Ib', comparePacked(64), 0x66, 'sse2', by),
  sse('cmpss', 0xc2, 'Vd Wd Ib', compareScalar, 0xf3, 'sse', by),
  sse('cmpsd', 0xc2, 'Vq Wq Ib', compareScalar, 0xf2, 'sse2', by),
  sse('ucomiss', 0x2e, 'Vd Wd', compareFlags('ucomi'), 0), sse('ucomisd', 0x2e, 'Vq Wq', compareFlags('ucomi'), 0x66),
  sse('comiss', 0x2f, 'Vd Wd', compareFlags('comi'), 0), sse('comisd', 0x2f, 'Vq Wq', compareFlags('comi'), 0x66),
  sse('cvtsi2ss', 0x2a, 'Vd Ey', fromInteger(32), 0xf3), sse('cvtsi2sd', 0x2a, 'Vq Ey', fromInteger(64), 0xf2),
  sse('cvttss2si', 0x2c, 'Gy Wd', toInteger(true), 0xf3), sse('cvttsd2si', 0x2c, 'Gy Wq', toInteger(true), 0xf2),
  sse('cvtss2si', 0x2d, 'Gy Wd', toInteger(false), 0xf3), sse('cvtsd2si', 0x2d, 'Gy Wq', toInteger(false), 0xf2),
  sse('cvtpi2ps', 0x2a, 'Vx Qq', fromMmx(32), 0), sse('cvtpi2pd', 0x2a, 'Vx Qq', fromMmx(64), 0x66),
  sse('cvttps2pi', 0x2c, 'Pq Wq', toMmx(32, 'truncateInt32'), 0), sse('cvttpd2pi', 0x2c, 'Pq Wx', toMmx(64, 'truncateInt32'), 0x66),
  sse('cvtps2pi', 0x2d, 'Pq Wq', toMmx(32, 'toInt32'), 0), sse('cvtpd2pi', 0x2d, 'Pq Wx', toMmx(64, 'toInt32'), 0x66),
  sse('cvtss2sd', 0x5a, 'Vq Wd', toOther, 0xf3, 'sse2'), sse('cvtsd2ss', 0x5a, 'Vd Wq', toOther, 0xf2),
  sse('cvtps2pd', 0x5a, 'Vx Wq', pairs(32, 64, 'toOther'), 0, 'sse2'), sse('cvtpd2ps', 0x5a, 'Vx Wx', pairs(64, 32, 'toOther'), 0x66),
  sse('cvtdq2ps', 0x5b, 'Vx Wx', quads('fromInt32'), 0, 'sse2'), sse('cvtps2dq', 0x5b, 'Vx Wx', quads('toInt32'), 0x66), sse('cvttps2dq', 0x5b, 'Vx Wx', quads('truncateInt32'), 0xf3, 'sse2'),
  sse('cvtdq2pd', 0xe6, 'Vx Wq', pairs('i32', 64, 'fromInt32'), 0xf3, 'sse2'), sse('cvtpd2dq', 0xe6, 'Vx Wx', pairs(64, 32, 'toInt32'), 0xf2), sse('cvttpd2dq', 0xe6, 'Vx Wx', pairs(64, 32, 'truncateInt32'), 0x66),
  sse('haddpd', 0x7c, 'Vx Wx', horizontal('add', 64), 0x66, 'sse3'), sse('haddps', 0x7c, 'Vx Wx', horizontal('add', 32), 0xf2, 'sse3'),
  sse('hsubpd', 0x7d, 'Vx Wx', horizontal('sub', 64), 0x66, 'sse3'), sse('hsubps', 0x7d, 'Vx Wx', horizontal('sub', 32), 0xf2, 'sse3'),
  sse('addsubpd', 0xd0, 'Vx Wx', alternating(64), 0x66, 'sse3'), sse('addsubps', 0xd0, 'Vx Wx', alternating(32), 0xf2, 'sse3'),
  row('roundps', 0x0f3a08, 'Vx Wx Ib', roundPacked(32), { prefix: 0x66, feature: 'sse4_1', ...by }),
  row('roundpd', 0x0f3a09, 'Vx Wx Ib', roundPacked(64), { prefix: 0x66, feature: 'sse4_1', ...by }),
  row('roundss', 0x0f3a0a, 'Vd Wd Ib', roundScalar, { prefix: 0x66, feature: 'sse4_1', ...by }),
  row('roundsd', 0x0f3a0b, 'Vq Wq Ib', roundScalar, { prefix: 0x66, feature: 'sse4_1', ...by }),
  row('dpps', 0x0f3a40, 'Vx Wx Ib', dotProduct(32), { prefix: 0x66, feature: 'sse4_1', ...by }),
  row('dppd', 0x0f3a41, 'Vx Wx Ib', dotProduct(64), { prefix: 0x66, feature: 'sse4_1', ...by }),
];
