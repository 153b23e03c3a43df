/**
 * The interpreter's fixed part: the lookup of code by address, and memory access through the software TLB.
 * A TLB entry is 16 bytes: i64 page address (with the code mode, for code), i32 host address minus guest address (for code: the page's map).
 */
import { codeTlbMask, codeTlbOffset, codeTlbSpread, offsetOf } from '../../cpu/state.ts';
import { Imports, ModuleBuilder, type ValueType } from '../wasm/module.ts';
import { Op, Simd } from '../wasm/opcodes.ts';
import { call, codeOf, get, i32, i64, memoryCode, set, simdMemoryCode, tee } from '../wasm/pieces.ts';
import { addFloatFunctions } from './core-float.ts';
import { addLegacyFunctions, legacyNames, legacyParameters } from './core-legacy.ts';
import { addRunFunctions } from './core-runs.ts';
import { addAcross, crosses, exchange, high, hostAddress, load32, load64, low, probe, store32, store64 } from './core-tlb.ts';
import { addX87Functions } from './core-x87.ts';
import { cache, cachedRecord, isCached } from './jump-cache.ts';
import { asItself, gotoHandler, Record } from './record.ts';

/** Likewise in the code TLB, as `codeTlbSlot` says. */
const codeEntryOffset = (address: number): number[] => [
  ...get(address), Op.i32WrapI64, ...i32(8), Op.i32ShrU,
  ...get(0), ...load32(offsetOf('codeMode')), ...i32(codeTlbSpread), Op.i32Mul, Op.i32Add, ...i32(codeTlbMask), Op.i32And,
];

interface LookUpLocals {
  readonly linear: number;
  readonly entry: number;
  readonly record: number;
  readonly ip: number;
}
/** The record at `ip`, which becomes the current page's; the function returns 0 when the TLB does not have it, or nothing is decoded there. Local 0: state. */
const lookUp = (l: LookUpLocals): number[] => {
  const fail = [Op.if, 0x40, ...get(0), ...i32(0), ...store32(offsetOf('record')), ...i32(0), Op.return, Op.end];
  return [
    ...get(0), ...load64(offsetOf('ip')), ...tee(l.ip), ...get(0), ...load64(offsetOf('segmentBase', 1)), Op.i64Add, ...set(l.linear),
    ...get(0), ...codeEntryOffset(l.linear), Op.i32Add, ...tee(l.entry), ...load64(codeTlbOffset),
    ...get(l.linear), ...i64(-4096n), Op.i64And, ...get(0), ...load64(offsetOf('codeMode')), Op.i64Or, Op.i64Ne, ...fail,
    ...get(l.entry), ...load32(codeTlbOffset + 8), ...low(l.linear), ...i32(0xfff), Op.i32And, ...i32(2), Op.i32Shl, Op.i32Add, ...load32(0),
    ...tee(l.record), Op.i32Eqz, ...fail,
    ...get(0), ...get(l.ip), ...get(l.linear), ...i64(0xfffn), Op.i64And, Op.i64Sub, ...store64(offsetOf('codePage')),
  ];
};

export const coreImports = ['loadSlow', 'loadForWriteSlow', 'storeSlow'] as const;

const loads = { 8: Op.i64Load8U, 16: Op.i64Load16U, 32: Op.i64Load32U, 64: Op.i64Load } as const;
const stores = { 8: Op.i64Store8, 16: Op.i64Store16, 32: Op.i64Store32, 64: Op.i64Store } as const;

export function coreModule(): Uint8Array<ArrayBuffer> {
  const imports = new Imports();
  imports.memory();
  const slow: Partial<globalThis.Record<string, number>> = {};
  for (const name of coreImports) slow[name] = imports.function(name, { parameters: ['i32', 'i32', 'i32', 'i32'], results: ['i32'] });
  const floatSlow = imports.function('helper:float/4', { parameters: ['i64', 'i64', 'i64', 'i64'], results: ['i64'] });
  const legacyHelpers = Object.fromEntries(legacyNames.map((name) => [name, imports.function(`helper:${name}/${legacyParameters[name]}`, { parameters: Array.from({ length: legacyParameters[name] }, () => 'i64' as const), results: ['i64'] })]));
  const hot = imports.function('hot', { parameters: ['i32'], results: [] });
  const module = new ModuleBuilder(imports);
  const callSlow = (name: (typeof coreImports)[number]): readonly number[] => call(slow[name] ?? 0);

  const callAcross = addAcross(module);
  const indices: Partial<globalThis.Record<string, number>> = {};
  const loadFunction = (name: string, table: 'tlbRead' | 'tlbWrite', slowName: 'loadSlow' | 'loadForWriteSlow', bytes: number, type: ValueType, access: readonly number[]): void => {
    indices[name] = module.add({
      name, signature: { parameters: ['i32', 'i64'], results: [type] }, locals: ['i32', 'i64', 'i32'],
      code: [
        ...probe(table, 2, bytes), Op.if, 0x40, ...hostAddress(2), ...access, Op.return, Op.end,
        ...exchange(table, 2, bytes, 3, 4), Op.if, 0x40, ...hostAddress(2), ...access, Op.return, Op.end,
        ...crosses(bytes), Op.if, 0x40, ...callAcross(table, bytes, 0), ...tee(2), Op.if, 0x40, ...get(2), ...access, Op.return, Op.end, Op.end,
        ...get(0), ...low(1), ...high(1), ...i32(bytes), ...callSlow(slowName), ...access,
      ],
    });
  };
  for (const size of [8, 16, 32, 64] as const) {
    loadFunction(`load${size}`, 'tlbRead', 'loadSlow', size / 8, 'i64', memoryCode(loads[size], 0));
    loadFunction(`loadForWrite${size}`, 'tlbWrite', 'loadForWriteSlow', size / 8, 'i64', memoryCode(loads[size], 0));
    indices[`store${size}`] = module.add({
      name: `store${size}`, signature: { parameters: ['i32', 'i64', 'i64'], results: [] }, locals: ['i32', 'i64', 'i32'],
      code: [
        ...probe('tlbWrite', 3, size / 8), Op.if, 0x40, ...hostAddress(3), ...get(2), ...memoryCode(stores[size], 0), Op.return, Op.end,
        ...exchange('tlbWrite', 3, size / 8, 4, 5), Op.if, 0x40, ...hostAddress(3), ...get(2), ...memoryCode(stores[size], 0), Op.return, Op.end,
        ...get(0), ...get(2), ...store64(offsetOf('scratch')),
        ...crosses(size / 8), Op.if, 0x40, ...callAcross('tlbWrite', size / 8, 1), Op.if, 0x40, Op.return, Op.end, Op.end,
        ...get(0), ...low(1), ...high(1), ...i32(size / 8), ...callSlow('storeSlow'), Op.drop,
      ],
    });
  }
  loadFunction('load128', 'tlbRead', 'loadSlow', 16, 'v128', simdMemoryCode(Simd.load, 0));
  module.add({
    name: 'store128', signature: { parameters: ['i32', 'i64', 'v128'], results: [] }, locals: ['i32', 'i64', 'i32'],
    code: [
      ...probe('tlbWrite', 3, 16), Op.if, 0x40, ...hostAddress(3), ...get(2), ...simdMemoryCode(Simd.store, 0), Op.return, Op.end,
      ...exchange('tlbWrite', 3, 16, 4, 5), Op.if, 0x40, ...hostAddress(3), ...get(2), ...simdMemoryCode(Simd.store, 0), Op.return, Op.end,
      ...get(0), ...get(2), ...simdMemoryCode(Simd.store, offsetOf('scratch')),
      ...crosses(16), Op.if, 0x40, ...callAcross('tlbWrite', 16, 1), Op.if, 0x40, Op.return, Op.end, Op.end,
      ...get(0), ...low(1), ...high(1), ...i32(16), ...callSlow('storeSlow'), Op.drop,
    ],
  });

  // search(state), lookup(state) -> record at ip, or 0 with no record current; the second looks into the jump cache first
  const search = module.add({
    name: 'search', signature: { parameters: ['i32'], results: ['i32'] }, locals: ['i64', 'i32', 'i32', 'i64'],
    code: [
      ...lookUp({ linear: 1, entry: 2, record: 3, ip: 4 }),
      ...codeOf((out) => isCached(out, { ip: 4, entry: 2 })), Op.drop, ...codeOf((out) => cache(out, { ip: 4, entry: 2 }, 3)), ...get(3),
    ],
  });
  module.add({
    name: 'lookup', signature: { parameters: ['i32'], results: ['i32'] }, locals: ['i64', 'i32'],
    code: [
      ...get(0), ...load64(offsetOf('ip')), ...set(1),
      ...codeOf((out) => isCached(out, { ip: 1, entry: 2 })), Op.if, 0x40, ...codeOf((out) => cachedRecord(out, { ip: 1, entry: 2 })), Op.return, Op.end,
      ...get(0), ...call(search),
    ],
  });

  const refund: number[] = [...get(0), ...get(0), ...load32(offsetOf('fuel')), ...i32(1), Op.i32Add, ...store32(offsetOf('fuel'))];
  // pseudo-records cost no fuel: `relookup` finds its own address again (page end, dropped code)
  module.add({
    name: 'relookup', signature: { parameters: ['i32', 'i32'], results: ['i32'] }, locals: ['i32'],
    code: [
      ...refund,
      ...get(0), ...get(0), ...load64(offsetOf('codePage')), ...get(1), ...memoryCode(Op.i64Load16U, Record.offset), Op.i64Add, ...store64(offsetOf('ip')),
      ...get(0), ...call(search), ...tee(2), Op.if, 0x40,
      ...get(1), ...memoryCode(Op.i32Load8U, Record.length), Op.i32Eqz, ...get(1), ...load32(Record.page), ...get(2), ...load32(Record.page), Op.i32Eq, Op.i32And,
      ...get(1), ...memoryCode(Op.i32Load16U, Record.offset), ...i32(0x1000), Op.i32LtU, Op.i32And,
      Op.if, 0x40, // it was where a trace stopped within a page: next time control goes on at once
      ...get(1), ...i32(gotoHandler), ...memoryCode(Op.i32Store16, Record.handler), ...get(1), ...i32(gotoHandler), ...memoryCode(Op.i32Store16, Record.own),
      ...get(1), ...get(2), ...store32(Record.link),
      Op.end, Op.end,
      ...get(2),
    ],
  });
  // an instruction on two pages: done when the TLB still has the second page where it was. locals: 2 linear address, 3 entry
  module.add({
    name: 'crossing', signature: { parameters: ['i32', 'i32'], results: ['i32'] }, locals: ['i64', 'i32'],
    code: [
      ...refund,
      ...get(0), ...load64(offsetOf('codePage')), ...get(0), ...load64(offsetOf('segmentBase', 1)), Op.i64Add, ...i64(4096n), Op.i64Add, ...set(2),
      ...get(0), ...codeEntryOffset(2), Op.i32Add, ...tee(3), ...load64(codeTlbOffset),
      ...get(2), ...get(0), ...load64(offsetOf('codeMode')), Op.i64Or, Op.i64Eq,
      ...get(3), ...load32(codeTlbOffset + 8), ...get(1), ...load32(Record.second), Op.i32Eq, Op.i32And, Op.if, 0x40,
      ...get(1), ...i32(asItself), Op.i32Or, Op.return, Op.end,
      ...get(0), ...get(0), ...load64(offsetOf('codePage')), ...get(1), ...memoryCode(Op.i64Load16U, Record.offset), Op.i64Add, ...store64(offsetOf('ip')),
      // what is looked up there must be found anew
      ...get(2), ...i64(4096n), Op.i64Sub, ...set(2), ...get(0), ...codeEntryOffset(2), Op.i32Add, ...i64(-1n), ...store64(codeTlbOffset),
      ...get(0), ...i32(0), ...store32(offsetOf('record')), ...i32(0),
    ],
  });
  // an entry of code that is not translated: counted, and reported once it is entered often
  module.add({
    name: 'count', signature: { parameters: ['i32', 'i32'], results: ['i32'] }, locals: ['i32'],
    code: [
      ...refund,
      ...get(1), ...get(1), ...memoryCode(Op.i32Load16U, Record.entry), ...i32(1), Op.i32Add, ...tee(2), ...memoryCode(Op.i32Store16, Record.entry),
      ...get(2), ...get(0), ...load32(offsetOf('hotEntries')), Op.i32GeU, Op.if, 0x40, ...get(1), ...call(hot), Op.end,
      ...get(1), ...i32(asItself), Op.i32Or,
    ],
  });
  addRunFunctions(module);
  addX87Functions(module);
  addFloatFunctions(module, floatSlow);
  const { load16 = 0, load32: loadDouble = 0, store16 = 0, store32: storeDouble = 0 } = indices;
  addLegacyFunctions(module, { load16, load32: loadDouble, store16, store32: storeDouble }, (name) => legacyHelpers[name] ?? 0);
  return module.bytes();
}
