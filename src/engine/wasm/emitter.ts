/** Writes WebAssembly code: instructions are appended one after the other. WebAssembly 2.0, chapter 5.4. */
import { type Hint, hinted } from './branch-hints.ts';
import { Op, Simd } from './opcodes.ts';

/** An unsigned number below 2^32 as LEB128. */
function pushUnsigned(bytes: number[], value: number): void {
  let rest = value >>> 0;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
}
/** A 32-bit integer as LEB128. */
function pushSigned(bytes: number[], value: number): void {
  let rest = value | 0;
  for (; rest < -0x40 || rest > 0x3f; rest >>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest & 0x7f);
}
/** A 64-bit integer as LEB128. */
function pushSigned64(bytes: number[], value: bigint): void {
  let rest = value;
  for (; rest < -0x8000_0000n || rest > 0x7fff_ffffn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  pushSigned(bytes, Number(rest));
}

/** The type of a block without parameters and results. */
const noResult = 0x40;

export class Emitter {
  /** Bytes; those of branches may have hints above them (branch-hints.ts). */
  readonly bytes: number[] = [];

  op(op: number): this {
    this.bytes.push(op);
    return this;
  }
  append(code: readonly number[]): this {
    const { bytes } = this;
    for (let n = 0; n < code.length; n++) bytes.push(code[n] as number);
    return this;
  }
  unsigned(value: number): this {
    pushUnsigned(this.bytes, value);
    return this;
  }

  get(local: number): this {
    return this.op(Op.localGet).unsigned(local);
  }
  set(local: number): this {
    return this.op(Op.localSet).unsigned(local);
  }
  tee(local: number): this {
    return this.op(Op.localTee).unsigned(local);
  }
  i32(value: number): this {
    this.bytes.push(Op.i32Const);
    pushSigned(this.bytes, value);
    return this;
  }
  i64(value: bigint): this {
    this.bytes.push(Op.i64Const);
    pushSigned64(this.bytes, value);
    return this;
  }
  /** A load or store at an offset from the address on the stack. */
  memory(op: number, offset: number): this {
    return this.op(op).op(0).unsigned(offset);
  }
  simdMemory(op: number, offset: number): this {
    return this.op(Simd.prefix).unsigned(op).op(0).unsigned(offset);
  }

  /** A block, loop or if, until `end`. */
  open(op: number): this {
    return this.op(op).op(noResult);
  }
  if(hint?: Hint): this {
    return this.open(hinted(Op.if, hint));
  }
  end(): this {
    return this.op(Op.end);
  }
  branch(depth: number): this {
    return this.op(Op.br).unsigned(depth);
  }
}
