/** Hints stand where the branches are, and the module is the same without them. */
import { expect, test } from 'vitest';
import { hinted, hintsSectionName } from '../src/engine/wasm/branch-hints.ts';
import { Imports, ModuleBuilder, typeByte } from '../src/engine/wasm/module.ts';
import { Op } from '../src/engine/wasm/opcodes.ts';

const signature = { parameters: ['i32'], results: ['i32'] } as const;
const code = (ifOp: number, brIfOp: number): number[] => [
  ...[Op.localGet, 0, Op.localSet, 1, Op.localGet, 1, ifOp, typeByte.i32, Op.i32Const, 7, Op.else, Op.i32Const, 9, Op.end],
  ...[Op.localGet, 0, brIfOp, 0],
];
const bytesWith = (ifOp: number, brIfOp: number): Uint8Array<ArrayBuffer> => {
  const imports = new Imports();
  imports.function('f', signature);
  const module = new ModuleBuilder(imports);
  module.add({ name: 'plain', signature, locals: [], code: [Op.localGet, 0] });
  module.add({ name: 'hinted', signature, locals: ['i32', 'i64'], code: code(ifOp, brIfOp) });
  return module.bytes();
};

test('the section names function, place and way of each hinted branch', () => {
  const bytes = bytesWith(hinted(Op.if, 'unlikely'), hinted(Op.brIf, 'likely'));
  const module = new WebAssembly.Module(bytes);
  const [section] = WebAssembly.Module.customSections(module, hintsSectionName);
  const [functions, index, hints, first, size1, way1, second, size2, way2, ...rest] = new Uint8Array(section ?? new ArrayBuffer(0));
  expect([functions, index, hints, size1, way1, size2, way2, rest]).toEqual([1, 2, 2, 1, 0, 1, 1, []]);
  const body = Buffer.from([2, 1, typeByte.i32, 1, typeByte.i64, ...code(Op.if, Op.brIf)]); // two runs of locals, then the code
  const start = Buffer.from(bytes).indexOf(body);
  expect(start).toBeGreaterThan(0);
  expect([bytes[start + (first ?? 0)], bytes[start + (second ?? 0)]]).toEqual([Op.if, Op.brIf]);
  const { exports } = new WebAssembly.Instance(module, { env: { f: () => 0 } });
  const f = exports.hinted as (n: number) => number;
  expect([f(0), f(1)]).toEqual([9, 7]);
});
test('there is no section without hints', () => {
  const module = new WebAssembly.Module(bytesWith(Op.if, hinted(Op.brIf, undefined)));
  expect(WebAssembly.Module.customSections(module, hintsSectionName)).toEqual([]);
});
