/**
 * Runs of string instructions: as many iterations of MOVS or STOS, upward and in 64-bit address size, as one page of each side holds.
 * They do nothing where the software TLB has no entry; the single iteration that comes next then does what has to be done.
 */
import { offsetOf } from '../../cpu/state.ts';
import type { ModuleBuilder, Signature } from '../wasm/module.ts';
import { Op } from '../wasm/opcodes.ts';
import { get, i32, i64, memoryCode, memoryCopy, set, tee } from '../wasm/pieces.ts';
import { entryOffset } from './core-tlb.ts';

export type RunName = 'storeRun' | 'moveRun';
/** (state, to, value or from, iterations at most, log2 of the element's bytes) -> iterations done. */
export const runSignature: Signature = { parameters: ['i32', 'i64', 'i64', 'i64', 'i32'], results: ['i32'] };

const memoryFill = [0xfc, 11, 0];
const returnNothing = [...i32(0), Op.return];

/** Parameters, then: 5 host address of the target, 6 of the source, 7 TLB entry, 8 iterations, 9 bytes, 10 where a loop ends. */
const P = { state: 0, to: 1, from: 2, most: 3, scale: 4 } as const;
const L = { target: 5, source: 6, entry: 7, count: 8, bytes: 9, end: 10 } as const;

/** The host address of a guest address in `table`, or the function returns 0. */
const host = (address: number, table: 'tlbRead' | 'tlbWrite', to: number): number[] => [
  ...get(P.state),
  ...memoryCode(Op.i32Load, offsetOf(table)),
  ...entryOffset(address),
  Op.i32Add,
  ...tee(L.entry),
  ...memoryCode(Op.i64Load, 0),
  ...get(address),
  ...i64(-4096n),
  Op.i64And,
  Op.i64Ne,
  Op.if,
  0x40,
  ...returnNothing,
  Op.end,
  ...get(address),
  Op.i32WrapI64,
  ...get(L.entry),
  ...memoryCode(Op.i32Load, 8),
  Op.i32Add,
  ...set(to),
];
/** No more iterations than the page of an address holds. */
const within = (address: number): number[] => [
  ...i32(4096),
  ...get(address),
  Op.i32WrapI64,
  ...i32(0xfff),
  Op.i32And,
  Op.i32Sub,
  ...get(P.scale),
  Op.i32ShrU,
  ...tee(L.bytes),
  ...get(L.count),
  Op.i32LtU,
  Op.if,
  0x40,
  ...get(L.bytes),
  ...set(L.count),
  Op.end,
];
const start = [
  ...get(P.most),
  ...i64(4096n),
  Op.i64LtU,
  Op.if,
  0x40,
  ...get(P.most),
  Op.i32WrapI64,
  ...set(L.count),
  Op.else,
  ...i32(4096),
  ...set(L.count),
  Op.end,
];
const size = [...get(L.count), ...get(P.scale), Op.i32Shl, ...set(L.bytes)];
const give = [...get(L.count), Op.return];

/** Stores element after element; `op` for one width. */
const storeLoop = (scale: number, op: number): number[] => [
  ...get(P.scale),
  ...i32(scale),
  Op.i32Eq,
  Op.if,
  0x40,
  Op.loop,
  0x40,
  ...get(L.target),
  ...get(P.from),
  ...memoryCode(op, 0),
  ...get(L.target),
  ...i32(1 << scale),
  Op.i32Add,
  ...tee(L.target),
  ...get(L.end),
  Op.i32LtU,
  Op.brIf,
  0,
  Op.end,
  ...give,
  Op.end,
];

export function addRunFunctions(module: ModuleBuilder): void {
  const locals = ['i32', 'i32', 'i32', 'i32', 'i32', 'i32'] as const;
  module.add({
    name: 'storeRun',
    signature: runSignature,
    locals,
    code: [
      ...host(P.to, 'tlbWrite', L.target),
      ...start,
      ...within(P.to),
      ...get(L.count),
      Op.i32Eqz,
      Op.if,
      0x40,
      ...returnNothing,
      Op.end,
      ...size,
      // bytes, and zeros of any width
      ...get(P.scale),
      Op.i32Eqz,
      ...get(P.from),
      Op.i64Eqz,
      Op.i32Or,
      Op.if,
      0x40,
      ...get(L.target),
      ...get(P.from),
      Op.i32WrapI64,
      ...get(L.bytes),
      ...memoryFill,
      ...give,
      Op.end,
      ...get(L.target),
      ...get(L.bytes),
      Op.i32Add,
      ...set(L.end),
      ...storeLoop(1, Op.i64Store16),
      ...storeLoop(2, Op.i64Store32),
      ...storeLoop(3, Op.i64Store),
      ...i32(0),
    ],
  });
  module.add({
    name: 'moveRun',
    signature: runSignature,
    locals,
    code: [
      ...host(P.to, 'tlbWrite', L.target),
      ...host(P.from, 'tlbRead', L.source),
      ...start,
      ...within(P.to),
      ...within(P.from),
      ...get(L.count),
      Op.i32Eqz,
      Op.if,
      0x40,
      ...returnNothing,
      Op.end,
      ...size,
      // a target just above the source repeats a pattern: that is for single iterations
      ...get(L.target),
      ...get(L.source),
      Op.i32Sub,
      ...get(L.bytes),
      Op.i32LtU,
      Op.if,
      0x40,
      ...returnNothing,
      Op.end,
      ...get(L.target),
      ...get(L.source),
      ...get(L.bytes),
      ...memoryCopy,
      ...give,
      ...i32(0),
    ],
  });
}
