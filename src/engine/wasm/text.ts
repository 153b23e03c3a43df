/** A function's code in WebAssembly's text format, one instruction a line. WebAssembly 2.0, chapter 6. */
import { Bug } from '../../base/assert.ts';
import type { FunctionBody, Signature } from './module.ts';
import {
  extractLaneCodes,
  Float,
  floatLaneCodes,
  Op,
  replaceLaneCodes,
  Simd,
  truncateCodes,
  vector1Codes,
  vector2Codes,
  vectorShiftCodes,
} from './opcodes.ts';

const snake = (name: string): string => name.replace(/(?!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
/** `i64Load8U` is i64.load8_u, `brIf` is br_if. */
function mnemonic(name: string): string {
  const typed = /^(i32|i64|f32|f64|local)(.*)$/.exec(name);
  return typed ? `${typed[1]}.${snake(typed[2] ?? '')}` : snake(name);
}
const names = new Map([...Object.entries(Op), ...Object.entries(Float)].map(([name, code]) => [code as number, mnemonic(name)]));

const shapes = { 8: 'i8x16', 16: 'i16x8', 32: 'i32x4', 64: 'i64x2' } as const;
const floatShapes = { 32: 'f32x4', 64: 'f64x2' } as const;
/** Small numbers read their lanes as unsigned. */
const isNarrow = (size: string): string => (Number(size) < 32 ? '_u' : '');
const vectorNames = new Map<number, string>([
  ...[...Object.entries(vector1Codes), ...Object.entries(vector2Codes)].map(([name, code]) => [code, name] as const),
  ...Object.entries(vectorShiftCodes).flatMap(([op, codes]) =>
    Object.entries(codes).map(([size, code]) => [code, `${shapes[Number(size) as 16]}.${op}`] as const),
  ),
  [Simd.load, 'v128.load'],
  [Simd.store, 'v128.store'],
  [Simd.constant, 'v128.const i8x16'],
  [Simd.shuffle, 'i8x16.shuffle'],
  [Simd.splat64, 'i64x2.splat'],
  [Simd.load32Zero, 'v128.load32_zero'],
  [Simd.load64Zero, 'v128.load64_zero'],
]);
const laneNames = new Map<number, string>([
  ...Object.entries(extractLaneCodes).map(([size, code]) => [code, `${shapes[Number(size) as 8]}.extract_lane${isNarrow(size)}`] as const),
  ...Object.entries(replaceLaneCodes).map(([size, code]) => [code, `${shapes[Number(size) as 8]}.replace_lane`] as const),
  ...Object.entries(floatLaneCodes).flatMap(([op, codes]) =>
    Object.entries(codes).map(([size, code]) => [code, `${floatShapes[Number(size) as 32]}.${op}_lane`] as const),
  ),
]);
const truncateNames = new Map(Object.entries(truncateCodes).map(([size, [, code]]) => [code as number, `i64.trunc_sat_f${size}_s`]));
const vectorMemory: readonly number[] = [Simd.load, Simd.store, Simd.load32Zero, Simd.load64Zero];

class Reader {
  readonly #code: ArrayLike<number>;
  at = 0;
  constructor(code: ArrayLike<number>) {
    this.#code = code;
  }
  get isAtEnd(): boolean {
    return this.at >= this.#code.length;
  }
  byte(): number {
    const byte = this.#code[this.at++];
    if (byte === undefined) throw new Bug('code ends within an instruction');
    return byte & 0xff; // without a branch's hint
  }
  unsigned(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }
  signed(): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(Number(shift) + 7, value);
    }
  }
}

/** Offset and alignment. */
function memoryArgument(r: Reader): string {
  const alignment = 2 ** r.unsigned();
  return ` offset=${r.unsigned()} align=${alignment}`;
}
const bytesOf = (r: Reader, count: number): string => Array.from({ length: count }, () => ` ${r.byte()}`).join('');

function vectorInstruction(r: Reader): string {
  const code = r.unsigned();
  const lane = laneNames.get(code);
  if (lane) return `${lane} ${r.byte()}`;
  const name = vectorNames.get(code);
  if (!name) throw new Bug(`vector instruction ${code} has no name`);
  if (vectorMemory.includes(code)) return name + memoryArgument(r);
  return code === Simd.shuffle || code === Simd.constant ? name + bytesOf(r, 16) : name;
}
function instruction(r: Reader, callees: readonly string[]): string {
  const code = r.byte();
  if (code === Simd.prefix) return vectorInstruction(r);
  const name = code === truncateCodes[64][0] ? truncateNames.get(r.unsigned()) : names.get(code);
  if (!name) throw new Bug(`instruction ${code} has no name`);
  switch (code) {
    case Op.block:
    case Op.loop:
    case Op.if:
      if (r.byte() !== 0x40) throw new Bug('a block with a value');
      return name;
    case Op.br:
    case Op.brIf:
    case Op.localGet:
    case Op.localSet:
    case Op.localTee:
      return `${name} ${r.unsigned()}`;
    case Op.brTable:
      return `${name}${Array.from({ length: r.unsigned() + 1 }, () => ` ${r.unsigned()}`).join('')}`;
    case Op.call:
      return `${name} $${callees[r.unsigned()]}`;
    case Op.i32Const:
    case Op.i64Const:
      return `${name} ${r.signed()}`;
    default:
      return code >= Op.i32Load && code <= Op.i64Store32 ? name + memoryArgument(r) : name;
  }
}

const types = (keyword: string, list: readonly string[]): string => (list.length > 0 ? ` (${keyword} ${list.join(' ')})` : '');
const signatureText = ({ parameters, results }: Signature): string => types('param', parameters) + types('result', results);

/** A module with the one function; `imports` are the functions that it may call, by their indices. */
export function moduleText(body: FunctionBody, imports: readonly { readonly name: string; readonly signature: Signature }[]): string {
  const callees = imports.map(({ name }) => name);
  const lines = ['(module', '  (import "env" "memory" (memory 1))'];
  for (const { name, signature } of imports) lines.push(`  (import "env" "${name}" (func $${name}${signatureText(signature)}))`);
  lines.push(
    `  (func (export "${body.name}")${signatureText(body.signature)}`,
    ...(body.locals.length > 0 ? [`   ${types('local', body.locals)}`] : []),
  );
  const r = new Reader(body.code);
  let depth = 2;
  while (!r.isAtEnd) {
    const text = instruction(r, callees);
    if (text === 'end' || text === 'else') depth--;
    lines.push('  '.repeat(depth) + text);
    if (/^(block|loop|if|else)/.test(text)) depth++;
  }
  return `${lines.join('\n')}))\n`;
}
