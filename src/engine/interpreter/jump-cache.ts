/**
 * The jump cache: the records of places in 64-bit code that control jumped to lately, by guest-virtual address. It spares regions and computed jumps the way
 * through the code TLB and the page's map, two lines of the host's cache that are seldom there. An entry is 16 bytes: i64 address, i32 record, i32 key;
 * the key has the code mode and a number that changes whenever a translation of code is dropped (cpu/jump-epochs.ts).
 */
import { jumpCacheMask, jumpCacheOffset, offsetOf } from '../../cpu/state.ts';
import { memoryCode } from '../wasm/graph.ts';
import { signedLeb, signedLeb32, unsignedLeb } from '../wasm/module.ts';
import { Op } from '../wasm/opcodes.ts';
import { longCode, Record } from './record.ts';

const get = (n: number): number[] => [Op.localGet, ...unsignedLeb(n)];
const i32 = (n: number): number[] => [Op.i32Const, ...signedLeb32(n)];
const at = { address: jumpCacheOffset, record: jumpCacheOffset + 8, key: jumpCacheOffset + 12 } as const;

/** Locals of the function that the code is part of; local 0 is the state's address. */
export interface JumpLocals {
  /** i64: where control goes. */
  readonly ip: number;
  /** i32: the entry's address. */
  readonly entry: number;
}

const key = [...get(0), ...memoryCode(Op.i32Load, offsetOf('jumpKey'))];

/** Sets `entry`, and leaves 1 when it is for `ip`. */
export const isCached = ({ ip, entry }: JumpLocals): number[] => [
  ...[...get(ip), Op.i32WrapI64, ...i32(4), Op.i32Shl, ...get(ip), Op.i32WrapI64, ...i32(8), Op.i32ShrU, Op.i32Xor],
  ...[...i32(jumpCacheMask), Op.i32And, ...get(0), Op.i32Add, Op.localTee, ...unsignedLeb(entry)],
  ...[...memoryCode(Op.i64Load, at.address), ...get(ip), Op.i64Eq],
  ...[...get(entry), ...memoryCode(Op.i32Load, at.key), ...key, Op.i32Eq, Op.i32And],
];
/** Leaves the record of the entry found, whose page becomes the current one: 64-bit code has no segment base. */
export const cachedRecord = ({ ip, entry }: JumpLocals): number[] => [
  ...[...get(0), ...get(ip), Op.i64Const, ...signedLeb(-4096n), Op.i64And, ...memoryCode(Op.i64Store, offsetOf('codePage'))],
  ...[...get(entry), ...memoryCode(Op.i32Load, at.record)],
];
/** Puts what was found in its entry, which `isCached` has set. */
export const cache = ({ ip, entry }: JumpLocals, record: number): number[] => [
  ...[...get(record), ...memoryCode(Op.i32Load, Record.page), ...i32(3), Op.i32And, ...i32(longCode), Op.i32Eq, Op.if, 0x40],
  ...[...get(entry), ...get(ip), ...memoryCode(Op.i64Store, at.address)],
  ...[...get(entry), ...get(record), ...memoryCode(Op.i32Store, at.record)],
  ...[...get(entry), ...key, ...memoryCode(Op.i32Store, at.key)],
  Op.end,
];
