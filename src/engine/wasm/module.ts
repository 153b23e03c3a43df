/** Assembles WebAssembly modules byte by byte: types, imports, functions, exports. WebAssembly 2.0, chapter 5. */
import { hintsOf, hintsSectionName } from './branch-hints.ts';
import { Emitter } from './emitter.ts';

export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';
/** How types are written. */
export const typeByte = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;

export interface Signature {
  readonly parameters: readonly ValueType[];
  readonly results: readonly ValueType[];
}

const encoder = new TextEncoder();
const vector = (out: Emitter, count: number, items: Emitter): Emitter => out.unsigned(count).append(items.bytes);
const bytesOf = (out: Emitter, bytes: ArrayLike<number>): Emitter => {
  out.unsigned(bytes.length);
  for (let n = 0; n < bytes.length; n++) out.op(bytes[n] as number);
  return out;
};
const name = (out: Emitter, text: string): Emitter => bytesOf(out, encoder.encode(text));
const section = (out: Emitter, id: number, body: Emitter): Emitter => bytesOf(out.op(id), body.bytes);

const endOfFunction = 0x0b;

export interface FunctionBody {
  readonly name: string;
  readonly signature: Signature;
  readonly locals: readonly ValueType[];
  /** Bytes; those of branches may have hints (branch-hints.ts). */
  readonly code: ArrayLike<number>;
}

/** What the functions of a module have from outside, in the order of their numbers; several modules may have the same. */
export class Imports {
  readonly #types: string[] = [];
  readonly #typeBytes = new Emitter();
  readonly #imports = new Emitter();
  #count = 0;
  #functions = 0;

  /** How many functions are imported. */
  get functions(): number {
    return this.#functions;
  }
  /** The number of a signature. */
  type({ parameters, results }: Signature): number {
    const key = `${parameters.join()}>${results.join()}`;
    const known = this.#types.indexOf(key);
    if (known >= 0) return known;
    this.#typeBytes.op(0x60);
    for (const types of [parameters, results]) {
      this.#typeBytes.unsigned(types.length);
      for (const type of types) this.#typeBytes.op(typeByte[type]);
    }
    return this.#types.push(key) - 1;
  }
  #import(field: string): Emitter {
    this.#count++;
    return name(name(this.#imports, 'env'), field);
  }
  memory(): void {
    this.#import('memory').op(2).op(0).op(1);
  }
  table(): void {
    this.#import('table').op(1).op(0x70).op(0).op(0);
  }
  /** Returns the function's number. */
  function(field: string, signature: Signature): number {
    this.#import(field).op(0).unsigned(this.type(signature));
    return this.#functions++;
  }
  /** The sections of types and imports. */
  write(out: Emitter): void {
    section(out, 1, vector(new Emitter(), this.#types.length, this.#typeBytes));
    section(out, 2, vector(new Emitter(), this.#count, this.#imports));
  }
}

export class ModuleBuilder {
  readonly #imports: Imports;
  readonly #functions: FunctionBody[] = [];

  /** No function is added to `imports` from here on. */
  constructor(imports: Imports) {
    this.#imports = imports;
  }
  /** Adds an exported function and returns its number. */
  add(body: FunctionBody): number {
    return this.#imports.functions + this.#functions.push(body) - 1;
  }

  #writeHints(out: Emitter, locals: readonly Emitter[]): void {
    const functions = new Emitter();
    let count = 0;
    for (const [n, f] of this.#functions.entries()) {
      const hints = hintsOf(f.code, locals[n]?.bytes.length ?? 0);
      if (hints.length === 0) continue;
      count++;
      functions.unsigned(this.#imports.functions + n).unsigned(hints.length);
      for (const [at, value] of hints) functions.unsigned(at).op(1).op(value);
    }
    if (count > 0) section(out, 0, vector(name(new Emitter(), hintsSectionName), count, functions));
  }
  bytes(): Uint8Array<ArrayBuffer> {
    const count = this.#functions.length;
    const types = new Emitter();
    const exports = new Emitter();
    for (const [n, f] of this.#functions.entries()) {
      types.unsigned(this.#imports.type(f.signature));
      name(exports, f.name)
        .op(0)
        .unsigned(this.#imports.functions + n);
    }
    const locals: Emitter[] = [];
    for (const f of this.#functions) locals.push(localRuns(f.locals));
    const head = new Emitter().append([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    this.#imports.write(head);
    section(head, 3, vector(new Emitter(), count, types));
    section(head, 7, vector(new Emitter(), count, exports));
    this.#writeHints(head, locals);
    const starts: Emitter[] = [];
    let size = 0;
    for (const [n, f] of this.#functions.entries()) {
      const own = (locals[n] as Emitter).bytes;
      const start = new Emitter().unsigned(own.length + f.code.length + 1).append(own);
      starts.push(start);
      size += start.bytes.length + f.code.length + 1;
    }
    const counted = new Emitter().unsigned(count);
    head
      .op(10)
      .unsigned(counted.bytes.length + size)
      .append(counted.bytes);

    const out = new Uint8Array(head.bytes.length + size);
    let at = 0;
    const put = (bytes: ArrayLike<number>): void => {
      out.set(bytes, at);
      at += bytes.length;
    };
    put(head.bytes);
    for (const [n, f] of this.#functions.entries()) {
      put((starts[n] as Emitter).bytes);
      put(f.code);
      out[at++] = endOfFunction;
    }
    return out;
  }
}

/** Locals as runs of one type. */
function localRuns(types: readonly ValueType[]): Emitter {
  const runs = new Emitter();
  let count = 0;
  for (let at = 0; at < types.length; count++) {
    const type = types[at] as ValueType;
    let end = at;
    while (types[end] === type) end++;
    runs.unsigned(end - at).op(typeByte[type]);
    at = end;
  }
  return vector(new Emitter(), count, runs);
}
