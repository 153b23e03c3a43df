/** Floating-point numbers as bits and back. What was a float before, or a lane of a vector, is taken as it is: a way over integer registers costs more than an addition. */
import type { Graph, Node } from './graph.ts';
import { extractLaneCodes, Float, floatLaneCodes, Op, Simd } from './opcodes.ts';
import { simdCode } from './pieces.ts';

type Size = 32 | 64;

const bitsCode = { 32: [Float.i32ReinterpretF32, Op.i64ExtendI32U], 64: [Float.i64ReinterpretF64] } as const;

/** The float that these bits were made of. */
export function floatOfBits(bits: Node, size: Size): Node | undefined {
  const [float] = bits.args;
  return float?.type === (size === 64 ? 'f64' : 'f32') && bits.code.length === bitsCode[size].length && bits.code[0] === bitsCode[size][0]
    ? float
    : undefined;
}
/** The vector and the number of the lane that these bits are. */
function laneOf(bits: Node, size: Size): { readonly vector: Node; readonly index: number } | undefined {
  const extended = size === 32 && bits.code.length === 1 && bits.code[0] === Op.i64ExtendI32U ? bits.args[0] : bits;
  const vector = extended?.args[0];
  if (!extended || vector?.type !== 'v128' || extended.code[0] !== Simd.prefix || extended.code[1] !== extractLaneCodes[size])
    return undefined;
  return { vector, index: extended.code[2] ?? 0 };
}
export function toFloat(graph: Graph, bits: Node, size: Size): Node {
  const known = floatOfBits(bits, size);
  if (known) return known;
  const type = size === 64 ? 'f64' : 'f32';
  const lane = laneOf(bits, size);
  if (lane) return graph.node(type, simdCode(floatLaneCodes.extract[size], lane.index), [lane.vector], true);
  return size === 64
    ? graph.node('f64', [Float.f64ReinterpretI64], [bits], true)
    : graph.node('f32', [Op.i32WrapI64, Float.f32ReinterpretI32], [bits], true);
}
export const toBits = (graph: Graph, float: Node, size: Size): Node => graph.node('i64', bitsCode[size], [float], true, size);
