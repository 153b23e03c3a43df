/** The software TLB as the core's functions use it: the look into a bank, what other pages took the place of, accesses to two pages. */
import { emptyBankOffset, offsetOf, secondPlaceOffset, tlbSlotMask, tlbSlotShift } from '../../cpu/state.ts';
import { pageBytes } from '../../memory/pool.ts';
import { type FunctionBody, type ModuleBuilder, typeByte } from '../wasm/module.ts';
import { Op } from '../wasm/opcodes.ts';
import { call, get, i32, i64, memoryCode, memoryCopy, set, tee } from '../wasm/pieces.ts';

export const load32 = (offset: number): readonly number[] => memoryCode(Op.i32Load, offset);
export const load64 = (offset: number): readonly number[] => memoryCode(Op.i64Load, offset);
export const store32 = (offset: number): readonly number[] => memoryCode(Op.i32Store, offset);
export const store64 = (offset: number): readonly number[] => memoryCode(Op.i64Store, offset);

/** Offset of an address's entry in its bank. */
export const entryOffset = (address: number): number[] => [...get(address), Op.i32WrapI64, ...i32(tlbSlotShift), Op.i32ShrU, ...i32(tlbSlotMask), Op.i32And];
export const low = (address: number): number[] => [...get(address), Op.i32WrapI64];
export const high = (address: number): number[] => [...get(address), ...i64(32n), Op.i64ShrU, Op.i32WrapI64];

/** locals: 0 state, 1 address, then as each function says. Leaves the entry in `entry` and tests the tag for `bytes` bytes. */
export const probe = (table: 'tlbRead' | 'tlbWrite', entry: number, bytes: number): number[] => [
  ...get(0), ...load32(offsetOf(table)), ...entryOffset(1), Op.i32Add, ...tee(entry), ...load64(0),
  ...get(1), ...i64(BigInt(bytes - 1)), Op.i64Add, ...i64(-4096n), Op.i64And, Op.i64Eq,
];
export const hostAddress = (entry: number): number[] => [...low(1), ...get(entry), ...load32(8), Op.i32Add];

/** Where an entry is not for the page, but the one in its second place is: exchanges the two. Leaves whether they were exchanged. A region that missed there did not miss by its window. */
export const exchange = (table: 'tlbRead' | 'tlbWrite', entry: number, bytes: number, tag: number, distance: number): number[] => [
  ...get(0), ...get(0), ...load32(offsetOf('misses')), ...i32(-1), Op.i32Add, ...store32(offsetOf('misses')),
  ...get(entry), ...load64(secondPlaceOffset), ...get(1), ...i64(BigInt(bytes - 1)), Op.i64Add, ...i64(-4096n), Op.i64And, Op.i64Eq,
  ...get(0), ...load32(offsetOf(table)), ...get(0), Op.i32Sub, ...i32(emptyBankOffset), Op.i32Ne, Op.i32And,
  Op.if, typeByte.i32,
  ...get(entry), ...load64(0), ...set(tag), ...get(entry), ...load32(8), ...set(distance),
  ...get(entry), ...get(entry), ...load64(secondPlaceOffset), ...store64(0), ...get(entry), ...get(entry), ...load32(secondPlaceOffset + 8), ...store32(8),
  ...get(entry), ...get(tag), ...store64(secondPlaceOffset), ...get(entry), ...get(distance), ...store32(secondPlaceOffset + 8),
  ...i32(1), Op.else, ...i32(0), Op.end,
];

/** Whether an access lies on two pages. */
export const crosses = (bytes: number): readonly number[] => [...low(1), ...i32(0xfff), Op.i32And, ...i32(pageBytes - bytes), Op.i32GtU];
/**
 * across(state, address, table, bytes, writes): an access to two pages that the software TLB has both, from the scratch area or into it, behind the first 16
 * bytes. Returns where it is there, or 0 with nothing done.
 */
function acrossFunction(): FunctionBody {
  const [state, address, table, bytes, writes, first, entry, second, host, nextHost, scratch] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
  type Code = readonly number[];
  const part = (of: number, page: Code, to: number): Code => [
    ...get(table), ...entryOffset(of), Op.i32Add, ...tee(entry), ...load64(0), ...page, Op.i64Ne, Op.if, 0x40, ...i32(0), Op.return, Op.end,
    ...low(of), ...get(entry), ...load32(8), Op.i32Add, ...set(to),
  ];
  const copy = (to: Code, from: Code, count: Code): Code => [...to, ...from, ...count, ...memoryCopy];
  const rest = [...get(bytes), ...get(first), Op.i32Sub];
  const behind = [...get(scratch), ...get(first), Op.i32Add];
  return {
    name: 'across', signature: { parameters: ['i32', 'i64', 'i32', 'i32', 'i32'], results: ['i32'] }, locals: ['i32', 'i32', 'i64', 'i32', 'i32', 'i32'],
    code: [
      ...i32(pageBytes), ...low(address), ...i32(0xfff), Op.i32And, Op.i32Sub, ...set(first),
      ...get(address), ...i64(4095n), Op.i64Add, ...i64(-4096n), Op.i64And, ...set(second),
      ...part(address, [...get(address), ...i64(-4096n), Op.i64And], host), ...part(second, get(second), nextHost),
      ...get(state), ...i32(offsetOf('scratch')), Op.i32Add, ...set(scratch),
      ...get(writes), Op.if, 0x40,
      ...copy(get(host), get(scratch), get(first)), ...copy(get(nextHost), behind, rest),
      Op.else,
      ...get(scratch), ...i32(16), Op.i32Add, ...set(scratch),
      ...copy(get(scratch), get(host), get(first)), ...copy(behind, get(nextHost), rest),
      Op.end,
      ...get(scratch),
    ],
  };
}

/** Adds `across` to a module; the result calls it with locals 0 state and 1 address. */
export function addAcross(module: ModuleBuilder): (table: 'tlbRead' | 'tlbWrite', bytes: number, writes: 0 | 1) => readonly number[] {
  const index = module.add(acrossFunction());
  return (table, bytes, writes) => [...get(0), ...get(1), ...get(0), ...load32(offsetOf(table)), ...i32(bytes), ...i32(writes), ...call(index)];
}
