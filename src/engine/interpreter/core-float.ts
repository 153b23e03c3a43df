/**
 * Fast paths of SSE's scalar arithmetic: WebAssembly's own where it gives the same bits and no new exception. That is so with the default MXCSR,
 * precision already sticky, and operands and result that are normal numbers or exact zeros; everything else goes to the exact helper.
 */
import { offsetOf } from '../../cpu/state.ts';
import { type FloatOp, floatCode } from '../../isa/float-ops.ts';
import type { ModuleBuilder } from '../wasm/module.ts';
import { Float, Op, truncateCodes } from '../wasm/opcodes.ts';
import { call, get, i32, i64, memoryCode } from '../wasm/pieces.ts';

export type FastFloat =
  | 'add'
  | 'sub'
  | 'mul'
  | 'div'
  | 'sqrt'
  | 'comi'
  | 'ucomi'
  | 'fromInt32'
  | 'fromInt64'
  | 'truncateInt32'
  | 'truncateInt64'
  | 'toOther';
const fastFloats: readonly FastFloat[] = [
  'add',
  'sub',
  'mul',
  'div',
  'sqrt',
  'comi',
  'ucomi',
  'fromInt32',
  'fromInt64',
  'truncateInt32',
  'truncateInt64',
  'toOther',
];
export const hasFastPath = (op: FloatOp): op is FastFloat => (fastFloats as readonly FloatOp[]).includes(op);

/** The default control bits with precision sticky: see cpu/float/sse.ts. */
const hostMode = 0x1fa0;
const relevant = 0xffe0;

type Size = 32 | 64;
const exponentShift = { 32: 23n, 64: 52n } as const;
const exponentTop = { 32: 0xffn, 64: 0x7ffn } as const;

const toFloat = (size: Size, local: number): number[] =>
  size === 64 ? [...get(local), Float.f64ReinterpretI64] : [...get(local), Op.i32WrapI64, Float.f32ReinterpretI32];
const toBits = (size: Size): number[] => (size === 64 ? [Float.i64ReinterpretF64] : [Float.i32ReinterpretF32, Op.i64ExtendI32U]);
/** exponent - low < span, unsigned: whether the exponent lies in low .. low + span - 1. */
const exponentIn = (size: Size, local: number, low: bigint, span: bigint): number[] => [
  ...get(local),
  ...i64(exponentShift[size]),
  Op.i64ShrU,
  ...i64(exponentTop[size]),
  Op.i64And,
  ...i64(low),
  Op.i64Sub,
  ...i64(span),
  Op.i64LtU,
];
const isNormal = (size: Size, local: number): number[] => exponentIn(size, local, 1n, exponentTop[size] - 1n);
const isZero = (size: Size, local: number): number[] => [...get(local), ...i64(size === 64 ? 1n : 33n), Op.i64Shl, Op.i64Eqz];
const isPlain = (size: Size, local: number): number[] => [...isNormal(size, local), ...isZero(size, local), Op.i32Or];
/** A zero, a normal number, or an infinity. */
const isOrdered = (size: Size, local: number): number[] => {
  const [unit, sign] = [1n << exponentShift[size], size === 64 ? 1n : 33n];
  const [least, infinity] = [unit << sign, (exponentTop[size] * unit) << sign];
  const magnitude = [...get(local), ...i64(sign), Op.i64Shl];
  return [
    ...magnitude,
    ...i64(least),
    Op.i64Sub,
    ...i64(BigInt.asIntN(64, infinity - least + 1n)),
    Op.i64LtU,
    ...isZero(size, local),
    Op.i32Or,
  ];
};
/** A result above the smallest normal number, below infinity. */
const isSafe = (size: Size, local: number): number[] => exponentIn(size, local, 2n, exponentTop[size] - 2n);
const and = [Op.i32And];

const arithmetic = {
  add: { 32: Float.f32Add, 64: Float.f64Add },
  sub: { 32: Float.f32Sub, 64: Float.f64Sub },
  mul: { 32: Float.f32Mul, 64: Float.f64Mul },
  div: { 32: Float.f32Div, 64: Float.f64Div },
  sqrt: { 32: Float.f32Sqrt, 64: Float.f64Sqrt },
} as const;

/** Code that returns the result when the fast path applies. locals: 0 state, 1 a, 2 b, 3 result */
function fast(op: FastFloat, size: Size): number[] {
  const result = 3;
  const returnIf = (condition: number[]): number[] => [...condition, Op.if, 0x40, ...get(result), Op.return, Op.end];
  const set = [Op.localSet, result];
  switch (op) {
    case 'add':
    case 'sub':
    case 'mul':
    case 'div': {
      const zeroIsExact = {
        add: isZero(size, result),
        sub: isZero(size, result),
        mul: [...isZero(size, 1), ...isZero(size, 2), Op.i32Or],
        div: [...isZero(size, result), ...isZero(size, 1), ...and],
      };
      return [
        ...isPlain(size, 1),
        ...isPlain(size, 2),
        ...and,
        Op.if,
        0x40,
        ...toFloat(size, 1),
        ...toFloat(size, 2),
        arithmetic[op][size],
        ...toBits(size),
        ...set,
        ...returnIf([...isSafe(size, result), ...zeroIsExact[op], Op.i32Or]),
        Op.end,
      ];
    }
    case 'sqrt':
      return [
        ...isPlain(size, 2),
        ...get(2),
        ...i64(BigInt(size - 1)),
        Op.i64ShrU,
        Op.i64Eqz,
        ...and,
        Op.if,
        0x40,
        ...toFloat(size, 2),
        arithmetic.sqrt[size],
        ...toBits(size),
        Op.return,
        Op.end,
      ];
    case 'comi':
    case 'ucomi': {
      const [eq, lt] = size === 64 ? [Float.f64Eq, Float.f64Lt] : [Float.f32Eq, Float.f32Lt];
      return [
        ...isOrdered(size, 1),
        ...isOrdered(size, 2),
        ...and,
        Op.if,
        0x40,
        ...toFloat(size, 1),
        ...toFloat(size, 2),
        eq,
        ...i32(6),
        Op.i32Shl,
        ...toFloat(size, 1),
        ...toFloat(size, 2),
        lt,
        Op.i32Or,
        Op.i64ExtendI32U,
        Op.return,
        Op.end,
      ];
    }
    case 'fromInt32':
    case 'fromInt64': {
      const wide = op === 'fromInt64';
      const convert =
        size === 64 ? (wide ? Float.f64ConvertI64S : Float.f64ConvertI32S) : wide ? Float.f32ConvertI64S : Float.f32ConvertI32S;
      return [...get(1), ...(wide ? [] : [Op.i32WrapI64]), convert, ...toBits(size), Op.return];
    }
    case 'truncateInt32':
    case 'truncateInt64': {
      // an exponent that keeps the magnitude below 2^31 or 2^63
      const bits = op === 'truncateInt64' ? 63n : 31n;
      const bias = size === 64 ? 1023n : 127n;
      const value = [...toFloat(size, 1), ...truncateCodes[size]];
      return [
        ...exponentIn(size, 1, 0n, bias + bits),
        Op.if,
        0x40,
        ...value,
        ...(op === 'truncateInt32' ? [...i64(0xffff_ffffn), Op.i64And] : []),
        Op.return,
        Op.end,
      ];
    }
    case 'toOther': {
      const other: Size = size === 64 ? 32 : 64;
      return [
        ...isPlain(size, 1),
        Op.if,
        0x40,
        ...toFloat(size, 1),
        size === 64 ? Float.f32DemoteF64 : Float.f64PromoteF32,
        ...toBits(other),
        ...set,
        ...returnIf([...isSafe(other, result), ...isZero(size, 1), Op.i32Or]),
        Op.end,
      ];
    }
  }
}

/** Adds `float:OP:SIZE` (state, a, b) -> result for every fast operation; `slow` is the index of the helper (code, a, b, extra). */
export function addFloatFunctions(module: ModuleBuilder, slow: number): void {
  for (const op of fastFloats) {
    for (const size of [32, 64] as const) {
      module.add({
        name: `float:${op}:${size}`,
        signature: { parameters: ['i32', 'i64', 'i64'], results: ['i64'] },
        locals: ['i64'],
        code: [
          ...get(0),
          ...memoryCode(Op.i32Load, offsetOf('mxcsr')),
          ...i32(relevant),
          Op.i32And,
          ...i32(hostMode),
          Op.i32Sub,
          Op.i32Eqz,
          Op.if,
          0x40,
          ...fast(op, size),
          Op.end,
          ...i64(BigInt(floatCode(op, size))),
          ...get(1),
          ...get(2),
          ...i64(0n),
          ...call(slow),
        ],
      });
    }
  }
}
