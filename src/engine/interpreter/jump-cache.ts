/**
 * The jump cache: the records of places in 64-bit code that control jumped to lately, by guest-virtual address. It spares regions and computed jumps the way
 * through the code TLB and the page's map, two lines of the host's cache that are seldom there. An entry is 16 bytes: i64 address, i32 record, i32 key;
 * the key has the code mode and a number that changes whenever a translation of code is dropped (cpu/jump-epochs.ts).
 */
import { jumpCacheMask, jumpCacheOffset, offsetOf } from '../../cpu/state.ts';
import type { Emitter } from '../wasm/emitter.ts';
import { Op } from '../wasm/opcodes.ts';
import { longCode, Record } from './record.ts';

const at = { address: jumpCacheOffset, record: jumpCacheOffset + 8, key: jumpCacheOffset + 12 } as const;

/** Locals of the function that the code is part of; local 0 is the state's address. */
export interface JumpLocals {
  /** i64: where control goes. */
  readonly ip: number;
  /** i32: the entry's address. */
  readonly entry: number;
}

const key = (out: Emitter): Emitter => out.get(0).memory(Op.i32Load, offsetOf('jumpKey'));

/** Sets `entry`, and leaves 1 when it is for `ip`. */
export function isCached(out: Emitter, { ip, entry }: JumpLocals): void {
  out.get(ip).op(Op.i32WrapI64).i32(4).op(Op.i32Shl).get(ip).op(Op.i32WrapI64).i32(8).op(Op.i32ShrU).op(Op.i32Xor);
  out.i32(jumpCacheMask).op(Op.i32And).get(0).op(Op.i32Add).tee(entry);
  out.memory(Op.i64Load, at.address).get(ip).op(Op.i64Eq);
  key(out.get(entry).memory(Op.i32Load, at.key)).op(Op.i32Eq).op(Op.i32And);
}
/** Leaves the record of the entry found, whose page becomes the current one: 64-bit code has no segment base. */
export function cachedRecord(out: Emitter, { ip, entry }: JumpLocals): void {
  out.get(0).get(ip).i64(-4096n).op(Op.i64And).memory(Op.i64Store, offsetOf('codePage'));
  out.get(entry).memory(Op.i32Load, at.record);
}
/** Puts what was found in its entry, which `isCached` has set. */
export function cache(out: Emitter, { ip, entry }: JumpLocals, record: number): void {
  out.get(record).memory(Op.i32Load, Record.page).i32(3).op(Op.i32And).i32(longCode).op(Op.i32Eq).if();
  out.get(entry).get(ip).memory(Op.i64Store, at.address);
  out.get(entry).get(record).memory(Op.i32Store, at.record);
  key(out.get(entry)).memory(Op.i32Store, at.key);
  out.end();
}
