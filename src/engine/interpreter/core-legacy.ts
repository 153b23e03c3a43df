/**
 * Segments and stack outside 64-bit mode, for the common case of flat segments: writable data from 0 to 4 GiB (compatibility mode, 32-bit
 * kernels). Everything else goes to the helpers of the same names.
 */
import { offsetOf, Rights, Segment } from '../../cpu/state.ts';
import type { ModuleBuilder } from '../wasm/module.ts';
import { Op } from '../wasm/opcodes.ts';
import { call, get, i32, i64, memoryCode, set } from '../wasm/pieces.ts';

export const legacyNames = ['linear', 'stackTop', 'push', 'release'] as const;
export type LegacyName = (typeof legacyNames)[number];
export const legacyParameters: Readonly<Record<LegacyName, number>> = { linear: 4, stackTop: 2, push: 2, release: 1 };

const mask32 = [...i64(0xffff_ffffn), Op.i64And];

/** Writable data, expanding up, usable. */
const flatMask = Rights.unusable | Rights.system | Rights.code | Rights.expandDownOrConforming | Rights.writableOrReadable;
const flatRights = Rights.system | Rights.writableOrReadable;

/** Whether rights and limit at `address` (state + 4 * segment, in a local) are flat; `extra` bits must be set, too. */
const isFlat = (address: readonly number[], extra: number): number[] => [
  ...address,
  ...memoryCode(Op.i32Load, offsetOf('segmentRights')),
  ...i32(flatMask | extra),
  Op.i32And,
  ...i32(flatRights | extra),
  Op.i32Sub,
  Op.i32Eqz,
  ...address,
  ...memoryCode(Op.i32Load, offsetOf('segmentLimit')),
  ...i32(-1),
  Op.i32Sub,
  Op.i32Eqz,
  Op.i32And,
];

export interface CoreFunctions {
  readonly load16: number;
  readonly load32: number;
  readonly store16: number;
  readonly store32: number;
}

/** Adds `legacy:NAME` (state, arguments of the helper) -> result; `helper` gives the index of the slow one. */
export function addLegacyFunctions(module: ModuleBuilder, core: CoreFunctions, helper: (name: LegacyName) => number): void {
  const signature = (name: LegacyName) => ({
    parameters: ['i32' as const, ...Array.from({ length: legacyParameters[name] }, () => 'i64' as const)],
    results: ['i64' as const],
  });
  const slow = (name: LegacyName): number[] => [
    ...Array.from({ length: legacyParameters[name] }, (_, n) => get(n + 1)).flat(),
    ...call(helper(name)),
  ];

  // linear(segment, offset, bytes, write); local 5: state + 4 * segment
  module.add({
    name: 'legacy:linear',
    signature: signature('linear'),
    locals: ['i32'],
    code: [
      ...get(0),
      ...get(1),
      Op.i32WrapI64,
      ...i32(2),
      Op.i32Shl,
      Op.i32Add,
      ...set(5),
      ...isFlat(get(5), 0),
      Op.if,
      0x40,
      ...get(2),
      ...get(0),
      ...get(1),
      Op.i32WrapI64,
      ...i32(3),
      Op.i32Shl,
      Op.i32Add,
      ...memoryCode(Op.i64Load, offsetOf('segmentBase')),
      Op.i64Add,
      ...mask32,
      Op.return,
      Op.end,
      ...slow('linear'),
    ],
  });

  const stack = [...get(0), ...i32(4 * Segment.ss), Op.i32Add];
  const flatStack = isFlat(stack, Rights.big);
  const pointer = [...get(0), ...memoryCode(Op.i64Load32U, offsetOf('gpr', 4))];
  const base = [...get(0), ...memoryCode(Op.i64Load, offsetOf('segmentBase', Segment.ss))];
  const is32 = (local: number): number[] => [...get(local), ...i64(32n), Op.i64Eq];

  // stackTop(above, size); local 3: linear address
  module.add({
    name: 'legacy:stackTop',
    signature: signature('stackTop'),
    locals: ['i64'],
    code: [
      ...flatStack,
      Op.if,
      0x40,
      ...pointer,
      ...get(1),
      Op.i64Add,
      ...base,
      Op.i64Add,
      ...mask32,
      ...set(3),
      ...is32(2),
      Op.if,
      0x40,
      ...get(0),
      ...get(3),
      ...call(core.load32),
      Op.return,
      Op.end,
      ...get(0),
      ...get(3),
      ...call(core.load16),
      Op.return,
      Op.end,
      ...slow('stackTop'),
    ],
  });
  // push(value, size); local 3: the new pointer
  module.add({
    name: 'legacy:push',
    signature: signature('push'),
    locals: ['i64'],
    code: [
      ...flatStack,
      Op.if,
      0x40,
      ...pointer,
      ...get(2),
      ...i64(3n),
      Op.i64ShrU,
      Op.i64Sub,
      ...mask32,
      ...set(3),
      ...is32(2),
      Op.if,
      0x40,
      ...get(0),
      ...get(3),
      ...base,
      Op.i64Add,
      ...mask32,
      ...get(1),
      ...call(core.store32),
      Op.else,
      ...get(0),
      ...get(3),
      ...base,
      Op.i64Add,
      ...mask32,
      ...get(1),
      ...call(core.store16),
      Op.end,
      ...get(0),
      ...get(3),
      ...memoryCode(Op.i64Store, offsetOf('gpr', 4)),
      ...i64(0n),
      Op.return,
      Op.end,
      ...slow('push'),
    ],
  });
  module.add({
    name: 'legacy:release',
    signature: signature('release'),
    locals: [],
    code: [
      ...flatStack,
      Op.if,
      0x40,
      ...get(0),
      ...pointer,
      ...get(1),
      Op.i64Add,
      ...mask32,
      ...memoryCode(Op.i64Store, offsetOf('gpr', 4)),
      ...i64(0n),
      Op.return,
      Op.end,
      ...slow('release'),
    ],
  });
}
