/** WebAssembly's vector operations on 128-bit bigints, by their names. */
import type { VectorOp1, VectorOp2 } from '../../isa/vector-names.ts';

const lanesOf = (v: bigint, bits: number, signed: boolean): bigint[] =>
  Array.from({ length: 128 / bits }, (_, n) => {
    const raw = (v >> BigInt(n * bits)) & ((1n << BigInt(bits)) - 1n);
    return signed ? BigInt.asIntN(bits, raw) : raw;
  });
const fromLanes = (lanes: readonly bigint[], bits: number): bigint =>
  lanes.reduce((v, lane, n) => v | (BigInt.asUintN(bits, lane) << BigInt(n * bits)), 0n);
const all = (1n << 128n) - 1n;
const clamp = (n: bigint, bits: number, signed: boolean): bigint => {
  const [low, high] = signed ? [-(1n << BigInt(bits - 1)), (1n << BigInt(bits - 1)) - 1n] : [0n, (1n << BigInt(bits)) - 1n];
  return n < low ? low : n > high ? high : n;
};

export function vector1(op: VectorOp1, a: bigint): bigint {
  if (op === 'v128.not') return a ^ all;
  const bits = Number(/^i(\d+)/.exec(op)?.[1]);
  const name = op.slice(op.indexOf('.') + 1);
  if (name === 'splat') return fromLanes(Array<bigint>(16).fill(a & 0xffn), 8);
  if (name === 'abs')
    return fromLanes(
      lanesOf(a, bits, true).map((n) => (n < 0n ? -n : n)),
      bits,
    );
  if (name === 'bitmask') return lanesOf(a, bits, true).reduce((mask, n, at) => mask | (n < 0n ? 1n << BigInt(at) : 0n), 0n);
  const half = bits / 2;
  return fromLanes(lanesOf(a, half, name.endsWith('_s')).slice(0, 128 / bits), bits);
}

export function vector2(op: VectorOp2, a: bigint, b: bigint): bigint {
  switch (op) {
    case 'v128.and':
      return a & b;
    case 'v128.or':
      return a | b;
    case 'v128.xor':
      return a ^ b;
    case 'v128.andnot':
      return a & (b ^ all);
    case 'i8x16.swizzle':
      return fromLanes(
        lanesOf(b, 8, false).map((index) => (index < 16n ? (a >> (index * 8n)) & 0xffn : 0n)),
        8,
      );
    case 'i32x4.dot_i16x8_s': {
      const [x, y] = [lanesOf(a, 16, true), lanesOf(b, 16, true)];
      return fromLanes(
        [0, 2, 4, 6].map((n) => (x[n] ?? 0n) * (y[n] ?? 0n) + (x[n + 1] ?? 0n) * (y[n + 1] ?? 0n)),
        32,
      );
    }
  }
  const bits = Number(/^i(\d+)/.exec(op)?.[1]);
  const name = op.slice(op.indexOf('.') + 1);
  const signed = name.endsWith('_s');
  if (name.startsWith('narrow'))
    return fromLanes(
      [...lanesOf(a, bits * 2, true), ...lanesOf(b, bits * 2, true)].map((n) => clamp(n, bits, signed)),
      bits,
    );
  if (name.startsWith('extmul')) {
    const half = 128 / bits;
    const start = name.includes('high') ? half : 0;
    const [x, y] = [lanesOf(a, bits / 2, signed), lanesOf(b, bits / 2, signed)];
    return fromLanes(
      Array.from({ length: half }, (_, n) => (x[start + n] ?? 0n) * (y[start + n] ?? 0n)),
      bits,
    );
  }
  const y = lanesOf(b, bits, signed);
  return fromLanes(
    lanesOf(a, bits, signed).map((x, n) => each(name, x, y[n] ?? 0n, bits, signed)),
    bits,
  );
}

function each(name: string, x: bigint, y: bigint, bits: number, signed: boolean): bigint {
  switch (name) {
    case 'add':
      return x + y;
    case 'sub':
      return x - y;
    case 'mul':
      return x * y;
    case 'add_sat_s':
    case 'add_sat_u':
      return clamp(x + y, bits, signed);
    case 'sub_sat_s':
    case 'sub_sat_u':
      return clamp(x - y, bits, signed);
    case 'eq':
      return x === y ? -1n : 0n;
    case 'gt_s':
      return x > y ? -1n : 0n;
    case 'min_s':
    case 'min_u':
      return x < y ? x : y;
    case 'max_s':
    case 'max_u':
      return x > y ? x : y;
    default:
      return (x + y + 1n) / 2n; // avgr_u
  }
}

export function vectorShift(op: 'shl' | 'shr_u' | 'shr_s', lane: 16 | 32 | 64, a: bigint, count: bigint): bigint {
  const n = count & BigInt(lane - 1);
  return fromLanes(
    lanesOf(a, lane, op === 'shr_s').map((x) => (op === 'shl' ? x << n : x >> n)),
    lane,
  );
}
