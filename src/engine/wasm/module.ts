/** Assembles WebAssembly modules byte by byte: types, imports, functions, exports. WebAssembly 2.0, chapter 5. */
import { hintsOf, hintsSectionName } from './branch-hints.ts';

export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';
/** How types are written. */
export const typeByte = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;

export interface Signature {
  readonly parameters: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** The encodings of small numbers, which are asked for again and again. */
const smallUnsigned: readonly (readonly number[])[] = Array.from({ length: 0x1000 }, (_, n) => encodeUnsigned(n));
export const unsignedLeb = (value: number): readonly number[] => smallUnsigned[value] ?? encodeUnsigned(value);
function encodeUnsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value >>> 0;
  do {
    const low = rest & 0x7f;
    rest >>>= 7;
    bytes.push(rest === 0 ? low : low | 0x80);
  } while (rest !== 0);
  return bytes;
}

const smallestSigned = -0x100;
const smallSigned: readonly (readonly number[])[] = Array.from({ length: 0x1100 }, (_, n) => encodeSigned(n + smallestSigned));
/** Of a 32-bit integer. */
export const signedLeb32 = (value: number): readonly number[] => smallSigned[value - smallestSigned] ?? encodeSigned(value);
function encodeSigned(value: number): number[] {
  const bytes: number[] = [];
  let small = value;
  for (;;) {
    const low = small & 0x7f;
    small >>= 7;
    if ((small === 0 && (low & 0x40) === 0) || (small === -1 && (low & 0x40) !== 0)) {
      bytes.push(low);
      return bytes;
    }
    bytes.push(low | 0x80);
  }
}
export function signedLeb(value: bigint): readonly number[] {
  if (value >= -0x8000_0000n && value < 0x8000_0000n) return signedLeb32(Number(value));
  const bytes: number[] = [];
  let rest = value;
  for (;;) {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    if ((rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0)) {
      bytes.push(low);
      return bytes;
    }
    bytes.push(low | 0x80);
  }
}

const vector = (items: readonly (readonly number[])[]): number[] => [...unsignedLeb(items.length), ...items.flat()];
const encoder = new TextEncoder();
const name = (text: string): number[] => {
  const bytes = encoder.encode(text);
  return [...unsignedLeb(bytes.length), ...bytes];
};
const section = (id: number, body: readonly number[]): number[] => [id, ...unsignedLeb(body.length), ...body];

const endOfFunction = 0x0b;

export interface FunctionBody {
  readonly name: string;
  readonly signature: Signature;
  readonly locals: readonly ValueType[];
  /** Bytes; those of branches may have hints (branch-hints.ts). */
  readonly code: ArrayLike<number>;
}

export class ModuleBuilder {
  readonly #types: string[] = [];
  readonly #typeBytes: number[][] = [];
  readonly #imports: number[][] = [];
  readonly #functions: FunctionBody[] = [];
  #importedFunctions = 0;
  #sealed = false;

  type(signature: Signature): number {
    const key = `${signature.parameters.join()}>${signature.results.join()}`;
    const known = this.#types.indexOf(key);
    if (known >= 0) return known;
    const list = (types: readonly ValueType[]) => vector(types.map((t) => [typeByte[t]]));
    this.#typeBytes.push([0x60, ...list(signature.parameters), ...list(signature.results)]);
    return this.#types.push(key) - 1;
  }

  importMemory(): void {
    this.#imports.push([...name('env'), ...name('memory'), 2, 0, 1]);
  }
  importTable(): void {
    this.#imports.push([...name('env'), ...name('table'), 1, 0x70, 0, 0]);
  }
  /** Returns the function's index. All imports come before the first function. */
  importFunction(field: string, signature: Signature): number {
    if (this.#sealed) throw new Error('imports come first');
    this.#imports.push([...name('env'), ...name(field), 0, ...unsignedLeb(this.type(signature))]);
    return this.#importedFunctions++;
  }
  /** Adds an exported function and returns its index. */
  add(body: FunctionBody): number {
    this.#sealed = true;
    return this.#importedFunctions + this.#functions.push(body) - 1;
  }

  #hints(locals: readonly (readonly number[])[]): number[] {
    const functions: number[][] = [];
    for (const [n, f] of this.#functions.entries()) {
      const hints = hintsOf(f.code, locals[n]?.length ?? 0).map(([at, value]) => [...unsignedLeb(at), 1, value]);
      if (hints.length > 0) functions.push([...unsignedLeb(this.#importedFunctions + n), ...vector(hints)]);
    }
    return functions.length > 0 ? section(0, [...name(hintsSectionName), ...vector(functions)]) : [];
  }
  bytes(): Uint8Array<ArrayBuffer> {
    const declarations = this.#functions.map((f) => unsignedLeb(this.type(f.signature)));
    const exports = this.#functions.map((f, n) => [...name(f.name), 0, ...unsignedLeb(this.#importedFunctions + n)]);
    const locals = this.#functions.map((f) => localRuns(f.locals));
    const sizes = this.#functions.map((f, n) => (locals[n]?.length ?? 0) + f.code.length + 1);
    const count = unsignedLeb(this.#functions.length);
    const codeSize = sizes.reduce((sum, size) => sum + size + unsignedLeb(size).length, count.length);
    const head = [
      ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...section(1, vector(this.#typeBytes)),
      ...section(2, vector(this.#imports)),
      ...section(3, vector(declarations)),
      ...section(7, vector(exports)),
      ...this.#hints(locals),
      ...[10, ...unsignedLeb(codeSize), ...count],
    ];
    const out = new Uint8Array(head.length + codeSize - count.length);
    let at = 0;
    const put = (bytes: ArrayLike<number>): void => {
      out.set(bytes, at);
      at += bytes.length;
    };
    put(head);
    this.#functions.forEach((f, n) => {
      put(unsignedLeb(sizes[n] ?? 0));
      put(locals[n] ?? []);
      put(f.code);
      out[at++] = endOfFunction;
    });
    return out;
  }
}

/** Locals as runs of one type. */
function localRuns(types: readonly ValueType[]): number[] {
  const runs: number[][] = [];
  for (let at = 0; at < types.length; ) {
    const type = types[at] as ValueType;
    let end = at;
    while (types[end] === type) end++;
    runs.push([...unsignedLeb(end - at), typeByte[type]]);
    at = end;
  }
  return vector(runs);
}
