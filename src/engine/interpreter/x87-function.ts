/** What the functions of core-x87.ts are written with: values, the register stack and the status word. Parameters: state, value, form. */
import { offsetOf } from '../../cpu/state.ts';
import { Graph, type Node } from '../wasm/graph.ts';
import type { FunctionBody, ValueType } from '../wasm/module.ts';
import { Op } from '../wasm/opcodes.ts';
import { call, memoryCode } from '../wasm/pieces.ts';
import { WasmValues } from '../wasm/wasm-values.ts';

/** An extended number: its significand with the leading one, and sign and exponent as they are stored. Both are 64 bits wide. */
export interface Extended {
  readonly significand: Node;
  readonly signExponent: Node;
}
/** A significand of 64 bits with 64 more below it, of which only "zero, less than half, half, more" counts. */
export interface Unrounded {
  readonly high: Node;
  readonly low: Node;
}

const half = 1n << 63n;
const statusC1 = 0x200;
const conditions = 0x4700;
const precisionException = 0x20;

export class X87Function extends WasmValues {
  readonly #parameters: readonly ValueType[];
  readonly #locals: ValueType[] = [];
  readonly graph: Graph;
  readonly state: Node;

  constructor(parameters: readonly ValueType[] = ['i32', 'i64', 'i32']) {
    super();
    this.#parameters = parameters;
    this.graph = new Graph({ temporary: (type) => this.local(type), enter: () => {}, leave: () => {} });
    this.state = this.graph.parameter(0);
  }
  body(name: string): FunctionBody {
    return {
      name,
      signature: { parameters: this.#parameters, results: ['i32'] },
      locals: this.#locals,
      code: this.graph.finish().op(Op.unreachable).bytes,
    };
  }
  parameter(n: number): Node {
    return this.wide(this.graph.read(this.#parameters[n] ?? 'i64', n));
  }
  get value(): Node {
    return this.parameter(1);
  }
  get form(): Node {
    return this.parameter(2);
  }
  /** Bits of the form from `low` on. */
  formBits(low: number, mask: number): Node {
    return this.bits(this.form, low, mask);
  }
  bits(value: Node, low: number, mask: number): Node {
    return this.and(this.shr(value, this.constant(low)), this.constant(mask));
  }
  local(type: ValueType = 'i64'): number {
    return this.#parameters.length + this.#locals.push(type) - 1;
  }
  setLocal(local: number, value: Node): void {
    this.graph.set(local, this.wide(value));
  }
  read(local: number): Node {
    return this.graph.read('i64', local);
  }
  return(result: Node | number): void {
    this.graph.effect([Op.return], [typeof result === 'number' ? this.i32(result) : this.narrow(result)]);
  }
  /** Leaves the instruction to the helper. */
  giveUpUnless(condition: Node): void {
    this.when(this.isZero(condition), () => this.return(0));
  }
  call(index: number, ...args: Node[]): Node {
    return this.graph.node('i32', call(index), args, false, 32);
  }
  not(condition: Node): Node {
    return this.isZero(condition);
  }

  // --- the register stack
  field(name: 'floatControl' | 'floatStatus' | 'floatEmpty' | 'floatTop'): Node {
    return this.wide(this.graph.node('i32', memoryCode(Op.i32Load, offsetOf(name)), [this.state], false, 32));
  }
  setField(name: 'floatStatus' | 'floatEmpty' | 'floatTop' | 'floatOutStatus', value: Node): void {
    this.graph.effect(memoryCode(Op.i32Store, offsetOf(name)), [this.state, this.narrow(value)]);
  }
  /** The status word that goes with what is in `floatOut`. */
  outStatus(): Node {
    return this.wide(this.graph.node('i32', memoryCode(Op.i32Load, offsetOf('floatOutStatus')), [this.state], false, 32));
  }
  setOut(value: Node, upper?: Node): void {
    this.graph.effect(memoryCode(Op.i64Store, offsetOf('floatOut')), [this.state, value]);
    if (upper) this.graph.effect(memoryCode(Op.i64Store, offsetOf('floatOut') + 8), [this.state, upper]);
  }
  physical(i: Node): Node {
    return this.and(this.add(this.field('floatTop'), i), this.constant(7));
  }
  isEmpty(physical: Node): Node {
    return this.and(this.shr(this.field('floatEmpty'), physical), this.constant(1));
  }
  slot(physical: Node): Node {
    return this.add32(this.state, this.narrow(this.shl(physical, this.constant(4))));
  }
  /** ST(i), with its place; the function gives up when it is empty. */
  operand(i: Node): Extended & { readonly slot: Node } {
    const physical = this.physical(i);
    this.giveUpUnless(this.not(this.isEmpty(physical)));
    const slot = this.slot(physical);
    return { slot, ...this.load(slot) };
  }
  load(slot: Node): Extended {
    const at = offsetOf('float');
    return {
      significand: this.graph.node('i64', memoryCode(Op.i64Load, at), [slot], false),
      signExponent: this.graph.node('i64', memoryCode(Op.i64Load16U, at + 8), [slot], false, 16),
    };
  }
  store(slot: Node, n: Extended): void {
    const at = offsetOf('float');
    this.graph.effect(memoryCode(Op.i64Store, at), [slot, n.significand]);
    this.graph.effect(memoryCode(Op.i64Store16, at + 8), [slot, n.signExponent]);
  }
  push(n: Extended): void {
    const physical = this.physical(this.constant(7));
    const empty = this.field('floatEmpty');
    const bit = this.shl(this.constant(1), physical);
    this.giveUpUnless(this.and(empty, bit));
    this.setField('floatTop', physical);
    this.setField('floatEmpty', this.xor(empty, bit));
    this.store(this.slot(physical), n);
    this.clearConditions(statusC1);
  }
  /** Frees the uppermost registers; `count` is 0, 1 or 2. */
  pop(count: Node): void {
    const once = (): void => {
      const top = this.field('floatTop');
      this.setField('floatEmpty', this.or(this.field('floatEmpty'), this.shl(this.constant(1), top)));
      this.setField('floatTop', this.and(this.add(top, this.constant(1)), this.constant(7)));
    };
    this.when(count, () => {
      once();
      this.when(this.ltu(this.constant(1), count), once);
    });
  }

  // --- status
  clearConditions(mask: number): void {
    this.setField('floatStatus', this.and(this.field('floatStatus'), this.constant(~mask & 0xffff)));
  }
  setConditions(value: Node): void {
    this.setField('floatStatus', this.or(this.and(this.field('floatStatus'), this.constant(~conditions & 0xffff)), value));
  }
  /** The status word after a result that was rounded. */
  statusOf(inexact: Node, up: Node): Node {
    const rest = this.and(this.field('floatStatus'), this.constant(~statusC1 & 0xffff));
    return this.or(
      this.or(rest, this.select(inexact, this.constant(precisionException), this.constant(0))),
      this.select(up, this.constant(statusC1), this.constant(0)),
    );
  }

  // --- numbers
  exponent(n: Extended): Node {
    return this.and(n.signExponent, this.constant(0x7fff));
  }
  sign(n: Extended): Node {
    return this.and(n.signExponent, this.constant(0x8000));
  }
  isNormal(n: Extended): Node {
    const exponent = this.ltu(this.sub(this.exponent(n), this.constant(1)), this.constant(0x7ffe));
    return this.and(exponent, this.lts(n.significand, this.constant(0)));
  }
  isZeroNumber(n: Extended): Node {
    return this.isZero(this.or(n.significand, this.exponent(n)));
  }
  /** A number of fewer bits, and whether it is plain. */
  widened(bits: Node, size: 32 | 64): { readonly n: Extended; readonly isPlain: Node } {
    const [fractionBits, top, rebias] = size === 64 ? [52, 0x7ff, 15360] : [23, 0xff, 16256];
    const exponent = this.bits(bits, fractionBits, top);
    const isZero = this.isZero(this.shl(bits, this.constant(65 - size)));
    const isNormal = this.ltu(this.sub(exponent, this.constant(1)), this.constant(top - 1));
    const sign = this.shl(this.shr(bits, this.constant(size - 1)), this.constant(15));
    const significand = this.or(this.shl(bits, this.constant(63 - fractionBits)), this.constant(half));
    const n = {
      significand: this.select(isZero, this.constant(0), significand),
      signExponent: this.or(sign, this.select(isZero, this.constant(0), this.add(exponent, this.constant(rebias)))),
    };
    return { n, isPlain: this.or(isZero, isNormal) };
  }
  /** Of a signed integer. */
  fromInteger(value: Node): Extended {
    const isNegative = this.lts(value, this.constant(0));
    const magnitude = this.select(isNegative, this.sub(this.constant(0), value), value);
    const shift = this.clz(magnitude);
    const exponent = this.sub(this.constant(16383 + 63), shift);
    const sign = this.select(isNegative, this.constant(0x8000), this.constant(0));
    return {
      significand: this.shl(magnitude, shift),
      signExponent: this.select(this.isZero(value), this.constant(0), this.or(sign, exponent)),
    };
  }
  /** A significand moved down by any distance. */
  shiftedDown(significand: Node, distance: Node): Unrounded {
    const c = (n: number | bigint): Node => this.constant(n);
    const near = this.ltu(distance, c(64));
    const beyond = this.sub(distance, c(64));
    const far = this.or(
      this.shr(significand, this.select(this.ltu(beyond, c(63)), beyond, c(63))),
      this.select(this.or(this.isZero(beyond), this.isZero(significand)), c(0), c(1)),
    );
    const below = this.select(this.isZero(distance), c(0), this.shl(significand, this.sub(c(64), distance)));
    return {
      high: this.select(near, this.shr(significand, distance), c(0)),
      low: this.select(near, below, far),
    };
  }
  /** Whether rounding to nearest, ties to even, goes up. */
  roundsUp({ high, low }: Unrounded): Node {
    const odd = this.and(high, this.constant(1));
    const tie = this.and(this.eq(low, this.constant(half)), this.narrow(odd));
    return this.or(this.ltu(this.constant(half), low), tie);
  }
}
