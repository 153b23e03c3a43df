/** Before control goes to another page of a region: whether the code that was translated is still what the code TLB has there. */
import { codeTlbMask, codeTlbOffset, codeTlbSpread, offsetOf } from '../../cpu/state.ts';
import { Record } from '../interpreter/record.ts';
import type { Emitter } from '../wasm/emitter.ts';
import { Op } from '../wasm/opcodes.ts';
import type { RegionLocals } from './region-locals.ts';

/** Where a map stands among those of the region's pages. */
export const mapOffset = (index: number): number => 4 * index;

/** Code that leaves 1 when the page so far from the region's first does not have the map of decoded code any more that the region was given for it. */
export function pageIsElsewhere(out: Emitter, locals: RegionLocals, page: number, index: number): void {
  const address = locals.temporary('i64');
  const entry = locals.temporary('i32');
  const codeMode = offsetOf('codeMode');
  out
    .get(locals.named('codePage'))
    .i64(BigInt(page) << 12n)
    .op(Op.i64Add)
    .tee(address);
  out.op(Op.i32WrapI64).i32(8).op(Op.i32ShrU).get(0).memory(Op.i32Load, codeMode).i32(codeTlbSpread).op(Op.i32Mul).op(Op.i32Add);
  out.i32(codeTlbMask).op(Op.i32And).get(0).op(Op.i32Add).tee(entry).memory(Op.i64Load, codeTlbOffset);
  out.get(address).get(0).memory(Op.i64Load, codeMode).op(Op.i64Or).op(Op.i64Ne);
  out
    .get(entry)
    .memory(Op.i32Load, codeTlbOffset + 8)
    .get(1)
    .memory(Op.i32Load, Record.maps)
    .memory(Op.i32Load, mapOffset(index))
    .op(Op.i32Ne);
  out.op(Op.i32Or);
}
