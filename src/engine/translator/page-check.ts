/** Before control goes to another page of a region: whether the code that was translated is still what the code TLB has there. */
import { codeTlbMask, codeTlbOffset, codeTlbSpread, offsetOf } from '../../cpu/state.ts';
import { memoryCode } from '../wasm/graph.ts';
import { signedLeb, signedLeb32, unsignedLeb } from '../wasm/module.ts';
import { Op } from '../wasm/opcodes.ts';
import type { RegionLocals } from './region-locals.ts';

/** Code that leaves 1 when the page so far from the region's first does not have this map of decoded code any more. */
export function pageIsElsewhere(locals: RegionLocals, page: number, map: number): number[] {
  const address = unsignedLeb(locals.temporary('i64'));
  const entry = unsignedLeb(locals.temporary('i32'));
  const codePage = [Op.localGet, ...unsignedLeb(locals.named('codePage'))];
  const codeMode = (op: number): number[] => [Op.localGet, 0, ...memoryCode(op, offsetOf('codeMode'))];
  const i32 = (value: number): number[] => [Op.i32Const, ...signedLeb32(value)];
  return [
    ...[...codePage, Op.i64Const, ...signedLeb(BigInt(page) << 12n), Op.i64Add, Op.localTee, ...address],
    ...[Op.i32WrapI64, ...i32(8), Op.i32ShrU, ...codeMode(Op.i32Load), ...i32(codeTlbSpread), Op.i32Mul, Op.i32Add],
    ...[...i32(codeTlbMask), Op.i32And, Op.localGet, 0, Op.i32Add, Op.localTee, ...entry, ...memoryCode(Op.i64Load, codeTlbOffset)],
    ...[Op.localGet, ...address, ...codeMode(Op.i64Load), Op.i64Or, Op.i64Ne],
    ...[Op.localGet, ...entry, ...memoryCode(Op.i32Load, codeTlbOffset + 8), ...i32(map), Op.i32Ne],
    Op.i32Or,
  ];
}
