/**
 * Scalar floating point by WebAssembly's own operations, where they give the same bits and raise no exception that is not sticky already:
 * with the default MXCSR, on operands and results that are normal numbers or exact zeros, for some infinities and quiet NaNs. See cpu/float/sse.ts for
 * everything else.
 */
import type { FloatOp } from '../../isa/float-ops.ts';
import { toBits as bitsOf } from '../wasm/float-values.ts';
import type { Graph, Node } from '../wasm/graph.ts';
import type { ValueType } from '../wasm/module.ts';
import { Float, Op, truncateCodes } from '../wasm/opcodes.ts';

type Size = 32 | 64;

export interface HostFloat {
  /** What the local `hostFloat` must be at least: 1 when the operation is exact, 2 when it may round. */
  readonly mode: 0 | 1 | 2;
  /** Whether the operands are what the operation is the same for. */
  readonly plain: Node | undefined;
  readonly compute: () => Computed;
}
interface Computed {
  readonly value: Node;
  /** Whether nothing but rounding can have happened; undefined: always. */
  readonly safe: Node | undefined;
  /** Makes a test of what is rarer: whether it is safe though `safe` says no. */
  readonly isSafeToo?: () => Node;
  /** Makes a test that holds only when nothing was rounded; for what may round. */
  readonly isExact?: () => Node;
}

const arithmetic = {
  add: { 32: Float.f32Add, 64: Float.f64Add },
  sub: { 32: Float.f32Sub, 64: Float.f64Sub },
  mul: { 32: Float.f32Mul, 64: Float.f64Mul },
  div: { 32: Float.f32Div, 64: Float.f64Div },
} as const;
/** For bits shifted up by 1 (or 33), so that the sign is gone: where the exponent begins, and its largest value. */
const exponent = { 32: { shift: 33n, unit: 56n, top: 0xffn }, 64: { shift: 1n, unit: 53n, top: 0x7ffn } } as const;
/** By the rounding control of MXCSR and of the constant that ROUNDSS and ROUNDSD have. */
const roundings = {
  32: [Float.f32Nearest, Float.f32Floor, Float.f32Ceil, Float.f32Trunc],
  64: [Float.f64Nearest, Float.f64Floor, Float.f64Ceil, Float.f64Trunc],
} as const;
const Rounding = { control: 3, asMxcsr: 4, silent: 8 } as const;
const bias = { 32: 127n, 64: 1023n } as const;

/** What an instruction's code knows of its operands. */
export interface Numbers {
  /** The number is no denormal one and no NaN, because it came out of such an operation. */
  isKnown(n: Node): boolean;
  /** Bits as a float of the host. */
  toFloat(bits: Node, size: Size): Node;
}

export function hostFloat(
  graph: Graph,
  op: FloatOp,
  size: Size,
  a: Node,
  b: Node,
  { isKnown, toFloat }: Numbers,
  constant = 0,
): HostFloat | undefined {
  const i64 = (value: bigint): Node => graph.constant('i64', value);
  const quad = (code: number, x: Node, y: Node): Node => graph.node('i64', [code], [x, y], true);
  const test = (code: number, x: Node, y: Node): Node => graph.node('i32', [code], [x, y], true, 1);
  const or = (x: Node, y: Node): Node => graph.node('i32', [Op.i32Or], [x, y], true, 1);
  const and = (x: Node, y: Node): Node => graph.node('i32', [Op.i32And], [x, y], true, 1);
  const magnitude = (x: Node, s: Size): Node => quad(Op.i64Shl, x, i64(exponent[s].shift));
  /** Whether the exponent is one of `low` to `low + count - 1`. */
  const exponentIn = (x: Node, s: Size, low: bigint, count: bigint): Node =>
    test(Op.i64LtU, quad(Op.i64Sub, magnitude(x, s), i64(low << exponent[s].unit)), i64(count << exponent[s].unit));
  const isZero = (x: Node, s: Size): Node => graph.node('i32', [Op.i64Eqz], [magnitude(x, s)], true, 1);
  const isNormal = (x: Node, s: Size): Node => exponentIn(x, s, 1n, exponent[s].top - 1n);
  const isPlain = (x: Node, s: Size): Node => or(isNormal(x, s), isZero(x, s));
  const isSafe = (x: Node, s: Size): Node => exponentIn(x, s, 2n, exponent[s].top - 2n);
  const [least, infinity] = [1n << exponent[size].unit, exponent[size].top << exponent[size].unit];
  /** A zero, a normal number, or an infinity: what has an order and raises nothing. */
  const isOrdered = (x: Node): Node =>
    or(test(Op.i64LtU, quad(Op.i64Sub, magnitude(x, size), i64(least)), i64(infinity - least + 1n)), isZero(x, size));
  const isNoSignal = (x: Node): Node =>
    test(Op.i64GeU, quad(Op.i64Sub, magnitude(x, size), i64(infinity + 1n)), i64((1n << (exponent[size].unit - 1n)) - 1n));
  const type = (s: Size): ValueType => (s === 64 ? 'f64' : 'f32');
  const toBits = (x: Node, s: Size): Node => bitsOf(graph, x, s);
  const compare = (code: { readonly 32: number; readonly 64: number }, x: Node, y: Node): Node =>
    graph.node('i32', [code[size]], [toFloat(x, size), toFloat(y, size)], true, 1);
  const less = { 32: Float.f32Lt, 64: Float.f64Lt };
  const equal = { 32: Float.f32Eq, 64: Float.f64Eq };
  const different = { 32: Float.f32Ne, 64: Float.f64Ne };
  const notMore = { 32: Float.f32Le, 64: Float.f64Le };
  const wide = (x: Node): Node => graph.node('i64', [Op.i64ExtendI32U], [x], true, x.bits);
  /** Where the result tells of infinities and NaNs among the operands: neither operand is a denormal number. */
  const isNoDenormal = (x: Node): Node => test(Op.i64LtU, i64(least - 2n), quad(Op.i64Sub, magnitude(x, size), i64(1n)));
  /** Whether what holds of known numbers holds of either operand. */
  const both = (holds: (x: Node) => Node): Node | undefined => {
    if (isKnown(a)) return isKnown(b) ? undefined : holds(b);
    return isKnown(b) ? holds(a) : and(holds(a), holds(b));
  };
  const isQuiet = (x: Node): Node => and(isNoDenormal(x), isNoSignal(x));
  /** Whether an operand is a NaN. */
  const unordered = (): Node => {
    const isUnlikeItself = (x: Node): Node => (isKnown(x) ? graph.constant('i32', 0n) : compare(different, x, x));
    return or(isUnlikeItself(a), isUnlikeItself(b));
  };
  /** Of 64-bit numbers, products of such with 26 significant bits at most do not round. */
  const isShort = (...numbers: Node[]): Node =>
    graph.node(
      'i32',
      [Op.i64Eqz],
      [
        quad(
          Op.i64And,
          numbers.reduce((x, y) => quad(Op.i64Or, x, y)),
          i64(0x7ff_ffffn),
        ),
      ],
      true,
      1,
    );
  const float = (code: { readonly 32: number; readonly 64: number }, x: Node, y: Node): Node =>
    graph.node(type(size), [code[size]], [x, y], true);
  const double = (x: Node): Node => (size === 64 ? toFloat(x, 64) : graph.node('f64', [Float.f64PromoteF32], [toFloat(x, 32)], true));
  const sameDouble = (x: Node, y: Node): Node => graph.node('i32', [Float.f64Eq], [x, y], true, 1);
  /** The error of a sum is zero (Knuth's TwoSum; a difference is the sum with -b). */
  const sumIsExact = (value: Node): Node => {
    const [x, s] = [toFloat(a, size), toFloat(value, size)];
    const y =
      op === 'sub' ? graph.node(type(size), [size === 64 ? Float.f64Neg : Float.f32Neg], [toFloat(b, size)], true) : toFloat(b, size);
    const part = float(arithmetic.sub, s, x);
    const error = float(arithmetic.add, float(arithmetic.sub, x, float(arithmetic.sub, s, part)), float(arithmetic.sub, y, part));
    return graph.node('i32', [size === 64 ? Float.f64Eq : Float.f32Eq], [error, zeroFloat()], true, 1);
  };
  const zeroFloat = (): Node => toFloat(i64(0n), size);
  /** x * y is z, exactly. */
  const productIsExact = (x: Node, y: Node, z: Node): Node => {
    const same = sameDouble(graph.node('f64', [Float.f64Mul], [double(x), double(y)], true), double(z));
    return size === 64 ? and(isShort(x, y), same) : same;
  };
  const arithmeticIsExact = (value: Node): Node => {
    if (op === 'mul') return productIsExact(a, b, value);
    return op === 'div' ? productIsExact(value, b, a) : sumIsExact(value);
  };
  const exact = (plain: Node | undefined, value: () => Node): HostFloat => ({
    mode: 1,
    plain,
    compute: () => ({ value: value(), safe: undefined }),
  });

  switch (op) {
    case 'add':
    case 'sub':
    case 'mul':
    case 'div':
      return {
        mode: 2,
        plain: both(isNoDenormal),
        compute: () => {
          const value = toBits(graph.node(type(size), [arithmetic[op][size]], [toFloat(a, size), toFloat(b, size)], true), size);
          const safe = isSafe(value, size);
          const isExact = (): Node => arithmeticIsExact(value);
          const isSafeToo = (): Node => {
            if (op === 'mul') return and(isZero(value, size), or(isZero(a, size), isZero(b, size)));
            return op === 'div' ? and(isZero(value, size), isZero(a, size)) : isZero(value, size);
          };
          return { value, safe, isSafeToo, isExact };
        },
      };
    case 'sqrt': {
      // with the sign in its place, what is negative is too large
      const sign = exponent[size].shift;
      const positive = test(Op.i64LtU, quad(Op.i64Sub, b, i64(least >> sign)), i64(((infinity - least) >> sign) + 1n));
      const code = size === 64 ? Float.f64Sqrt : Float.f32Sqrt;
      return {
        mode: 2,
        plain: or(positive, isZero(b, size)),
        compute: () => {
          const value = toBits(graph.node(type(size), [code], [toFloat(b, size)], true), size);
          return { value, safe: undefined, isExact: () => productIsExact(value, value, b) };
        },
      };
    }
    case 'min':
      return exact(both(isOrdered), () => graph.node('i64', [Op.select], [a, b, compare(less, a, b)], true));
    case 'max':
      return exact(both(isOrdered), () => graph.node('i64', [Op.select], [a, b, compare(less, b, a)], true));
    case 'compare': {
      const how = [equal, less, notMore][constant & 3];
      const signals = how === less || how === notMore; // of a quiet NaN
      const value = (): Node => {
        const found = how ? compare(how, a, b) : unordered();
        const mask = size === 64 ? -1n : 0xffff_ffffn;
        const [yes, no] = constant & 4 ? [0n, mask] : [mask, 0n];
        return graph.node('i64', [Op.select], [i64(yes), i64(no), found], true, size);
      };
      return exact(both(signals ? isOrdered : isQuiet), value);
    }
    case 'comi':
    case 'ucomi': {
      const shifted = (x: Node, by: bigint): Node => graph.node('i32', [Op.i32Shl], [x, graph.constant('i32', by)], true, 7);
      const ordered = (): Node => or(shifted(compare(equal, a, b), 6n), compare(less, a, b));
      if (op === 'comi') return exact(both(isOrdered), () => wide(ordered()));
      // ZF, PF and CF of what is unordered
      const neither = (): Node => graph.node('i32', [Op.i32Mul], [unordered(), graph.constant('i32', 0x45n)], true, 7);
      return exact(both(isQuiet), () => wide(isKnown(a) && isKnown(b) ? ordered() : or(ordered(), neither())));
    }
    case 'fromInt32':
    case 'fromInt64': {
      const long = op === 'fromInt64';
      const code = size === 64 ? (long ? Float.f64ConvertI64S : Float.f64ConvertI32S) : long ? Float.f32ConvertI64S : Float.f32ConvertI32S;
      const value = (): Node => toBits(graph.node(type(size), long ? [code] : [Op.i32WrapI64, code], [a], true), size);
      if (size === 64 && !long) return { mode: 0, plain: undefined, compute: () => ({ value: value(), safe: undefined }) };
      return {
        mode: 2,
        plain: undefined,
        compute: () => {
          const result = value();
          const back = (): Node => graph.node('i64', truncateCodes[size], [toFloat(result, size)], true);
          const given = long ? a : graph.node('i64', [Op.i64Extend32S], [a], true);
          // a magnitude near the end of the range would be cut on the way back
          const small = test(Op.i64LtU, quad(Op.i64Add, given, i64(1n << 62n)), i64(1n << 63n));
          return { value: result, safe: undefined, isExact: () => and(small, test(Op.i64Eq, back(), given)) };
        },
      };
    }
    case 'truncateInt32':
    case 'truncateInt64':
    case 'toInt32':
    case 'toInt64': {
      const long = op.endsWith('64');
      // an exponent that keeps the magnitude below 2^31 or 2^63; rounding must not reach it either
      const rounds = op.startsWith('to');
      const range = bias[size] + (long ? 63n : 31n) - (rounds ? 1n : 0n);
      const nearest = rounds ? [size === 64 ? Float.f64Nearest : Float.f32Nearest] : [];
      const truncate = truncateCodes[size];
      const compute = (): Computed => {
        const whole = graph.node('i64', [...nearest, ...truncate], [toFloat(a, size)], true);
        const value = long ? whole : graph.node('i64', [Op.i64And], [whole, i64(0xffff_ffffn)], true, 32);
        const back = (): Node => graph.node('f64', [Float.f64ConvertI64S], [whole], true);
        return { value, safe: undefined, isExact: () => sameDouble(back(), double(a)) };
      };
      return { mode: 2, plain: exponentIn(a, size, 0n, range), compute };
    }
    case 'round': {
      const code = roundings[size][(constant & Rounding.asMxcsr) !== 0 ? 0 : constant & Rounding.control];
      if (code === undefined) return undefined;
      const compute = (): Computed => {
        const rounded = graph.node(type(size), [code], [toFloat(a, size)], true);
        const value = toBits(rounded, size);
        return { value, safe: undefined, isExact: () => sameDouble(double(value), double(a)) };
      };
      return { mode: (constant & Rounding.silent) !== 0 ? 1 : 2, plain: isKnown(a) ? undefined : isOrdered(a), compute };
    }
    case 'toOther': {
      const other: Size = size === 64 ? 32 : 64;
      return {
        mode: size === 64 ? 2 : 1,
        plain: isPlain(a, size),
        compute: () => {
          const code = size === 64 ? Float.f32DemoteF64 : Float.f64PromoteF32;
          const value = toBits(graph.node(type(other), [code], [toFloat(a, size)], true), other);
          if (size === 32) return { value, safe: undefined };
          const back = (): Node => graph.node('f64', [Float.f64PromoteF32], [toFloat(value, 32)], true);
          return { value, safe: or(isSafe(value, other), isZero(a, size)), isExact: () => sameDouble(back(), double(a)) };
        },
      };
    }
    default:
      return undefined;
  }
}
