/** Instructions as lists of bytes, for nodes of a graph and for code that is made once, of pieces. */
import { Emitter } from './emitter.ts';
import { Op, Simd } from './opcodes.ts';

/** A piece of code by itself. */
export function codeOf(write: (out: Emitter) => void): readonly number[] {
  const out = new Emitter();
  write(out);
  return out.bytes;
}
export const get = (local: number): readonly number[] => codeOf((out) => out.get(local));
export const set = (local: number): readonly number[] => codeOf((out) => out.set(local));
export const tee = (local: number): readonly number[] => codeOf((out) => out.tee(local));
export const i32 = (value: number): readonly number[] => codeOf((out) => out.i32(value));
export const i64 = (value: bigint): readonly number[] => codeOf((out) => out.i64(value));
export const call = (index: number): readonly number[] => codeOf((out) => out.op(Op.call).unsigned(index));

export const memoryCode = (op: number, offset: number): readonly number[] => codeOf((out) => out.memory(op, offset));
export const simdMemoryCode = (op: number, offset: number): readonly number[] => codeOf((out) => out.simdMemory(op, offset));
export const simdCode = (op: number, ...immediates: readonly number[]): readonly number[] =>
  codeOf((out) => out.op(Simd.prefix).unsigned(op).append(immediates));
/** (to, from, bytes) in one memory. */
export const memoryCopy: readonly number[] = [0xfc, 10, 0, 0];
