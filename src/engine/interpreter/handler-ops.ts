/**
 * Meanings as interpreter handlers: a WebAssembly function (state, record) -> next record, or 0 to leave the run.
 * Operands come from the record's fields, registers live in the vCPU's state, memory goes through the software TLB's functions.
 */

import { assert } from '../../base/assert.ts';
import { offsetOf, type StateField, stateLayout } from '../../cpu/state.ts';
import { type FloatOp, floatCode } from '../../isa/float-ops.ts';
import { type HelperName, helperNames } from '../../isa/helper-names.ts';
import type { FlagBits, FlagName, FlagRule, Form, Ops, Size } from '../../isa/ops.ts';
import type { StateName } from '../../isa/state-names.ts';
import type { VectorOp1, VectorOp2 } from '../../isa/vector-names.ts';
import { Graph, memoryCode, type Node, simdCode, simdMemoryCode } from '../wasm/graph.ts';

import { unsignedLeb } from '../wasm/module.ts';
import { extractLaneCodes, Op, replaceLaneCodes, Simd, vector1Codes, vector2Codes, vectorShiftCodes } from '../wasm/opcodes.ts';
import { type Callee, calleeSignature } from './callees.ts';
import { hasFastPath } from './core-float.ts';
import { type LegacyName, legacyNames } from './core-legacy.ts';
import { Record, recordBytes } from './record.ts';

const bulkIterationsMin = 8;
const isLegacyName = (name: HelperName): name is LegacyName => (legacyNames as readonly HelperName[]).includes(name);

const masks: Readonly<Record<Size, bigint>> = { 8: 0xffn, 16: 0xffffn, 32: 0xffff_ffffn, 64: 0xffff_ffff_ffff_ffffn };
const segmentFields = { fsBase: 4, gsBase: 5, csBase: 1 } as const;

export class HandlerOps implements Ops<Node> {
  readonly graph = new Graph(2);
  readonly callees = new Map<Callee, number>();
  readonly state = this.graph.parameter(0);
  readonly record = this.graph.parameter(1);
  readonly #callIndex: (callee: Callee) => number;
  readonly #form: Form;

  constructor(form: Form, callIndex: (callee: Callee) => number) {
    this.#form = form;
    this.#callIndex = callIndex;
  }

  // --- plumbing
  #call(callee: Callee, args: readonly Node[]): Node {
    const code = [Op.call, ...unsignedLeb(this.#callIndex(callee))];
    const result = calleeSignature(callee).results[0];
    if (result) return this.graph.node(result, code, args, false, callee.startsWith('load') ? Number(/\d+$/.exec(callee)?.[0]) : 64);
    this.graph.effect(code, args);
    return this.constant(0);
  }
  #wide(a: Node): Node {
    if (a.type === 'i64') return a;
    if (a.constant !== undefined) return this.constant(a.constant & 0xffff_ffffn);
    return this.graph.node('i64', [Op.i64ExtendI32U], [a], true, a.bits);
  }
  #narrow(a: Node): Node {
    return a.type === 'i32' ? a : this.graph.node('i32', [Op.i32WrapI64], [a], true, 32);
  }
  /** As a condition: any value but zero. */
  #truth(a: Node): Node {
    return a.type === 'i32' ? a : this.graph.node('i32', [Op.i64Ne], [a, this.constant(0)], true, 1);
  }
  #binary(op: number, a: Node, b: Node, bits = 64): Node {
    return this.graph.node('i64', [op], [this.#wide(a), this.#wide(b)], true, bits);
  }
  #compare(op: number, a: Node, b: Node): Node {
    return this.graph.node('i32', [op], [this.#wide(a), this.#wide(b)], true, 1);
  }
  i32(value: number): Node {
    return this.graph.constant('i32', BigInt(value));
  }
  #add32(a: Node, b: Node): Node {
    return this.graph.node('i32', [Op.i32Add], [a, b], true, 32);
  }
  /** A 32- or 64-bit field of the state. */
  field(name: StateField, index = 0): Node {
    return stateLayout.fields[name].size === 4
      ? this.graph.node('i32', memoryCode(Op.i32Load, offsetOf(name, index)), [this.state], false, 32)
      : this.graph.node('i64', memoryCode(Op.i64Load, offsetOf(name, index)), [this.state], false);
  }
  setField(name: StateField, value: Node, index = 0): void {
    if (stateLayout.fields[name].size === 4)
      this.graph.effect(memoryCode(Op.i32Store, offsetOf(name, index)), [this.state, this.#narrow(value)]);
    else this.graph.effect(memoryCode(Op.i64Store, offsetOf(name, index)), [this.state, this.#wide(value)]);
  }
  /** A 16-bit field of the record. */
  record16(offset: number): Node {
    return this.graph.node('i32', memoryCode(Op.i32Load16U, offset), [this.record], false, 16);
  }
  record8(offset: number): Node {
    return this.graph.node('i32', memoryCode(Op.i32Load8U, offset), [this.record], false, 8);
  }
  recordImmediate(): Node {
    return this.graph.node('i64', memoryCode(Op.i64Load, Record.immediate), [this.record], false);
  }
  recordDisplacement(): Node {
    return this.graph.node('i64', memoryCode(Op.i64Load32S, Record.displacement), [this.record], false);
  }
  /** State memory at an offset held in a record field. */
  stateAt(recordField: number): Node {
    return this.#add32(this.state, this.record16(recordField));
  }
  loadAt(address: Node, size: Size, offset = 0): Node {
    const op = { 8: Op.i64Load8U, 16: Op.i64Load16U, 32: Op.i64Load32U, 64: Op.i64Load }[size];
    return this.graph.node('i64', memoryCode(op, offset), [address], false, size);
  }
  /** Register write: 32 bits clear the upper half, smaller sizes leave the rest. */
  storeAt(address: Node, size: Size, value: Node, offset = 0): void {
    const op = { 8: Op.i64Store8, 16: Op.i64Store16, 32: Op.i64Store, 64: Op.i64Store }[size];
    this.graph.effect(memoryCode(op, offset), [address, size === 32 ? this.zeroExtend(value, 32) : this.#wide(value)]);
  }
  vectorAt(address: Node, offset = 0): Node {
    return this.graph.node('v128', simdMemoryCode(Simd.load, offset), [address], false);
  }
  storeVectorAt(address: Node, value: Node, offset = 0): void {
    this.graph.effect(simdMemoryCode(Simd.store, offset), [address, value]);
  }
  /** The low part of a vector register; the rest stays. */
  storeLow(address: Node, size: number, value: Node): void {
    const op = size === 64 ? Op.i64Store : size === 32 ? Op.i64Store32 : size === 16 ? Op.i64Store16 : Op.i64Store8;
    this.graph.effect(memoryCode(op, 0), [address, this.#wide(value)]);
  }
  leave(next: Node): void {
    this.graph.effect([Op.return], [next]);
  }

  // --- values
  constant(value: bigint | number): Node {
    return this.graph.constant('i64', BigInt(value));
  }
  add(a: Node, b: Node): Node {
    if (b.constant === 0n) return this.#wide(a);
    return this.#binary(Op.i64Add, a, b);
  }
  sub(a: Node, b: Node): Node {
    if (a.constant !== undefined && b.constant !== undefined) return this.constant(a.constant - b.constant);
    return this.#binary(Op.i64Sub, a, b);
  }
  mul(a: Node, b: Node): Node {
    return this.#binary(Op.i64Mul, a, b);
  }
  #logic(op64: number, op32: number, a: Node, b: Node, bits: number): Node {
    if (a.type === 'i32' && b.type === 'i32') return this.graph.node('i32', [op32], [a, b], true, bits);
    return this.#binary(op64, a, b, bits);
  }
  and(a: Node, b: Node): Node {
    return this.#logic(Op.i64And, Op.i32And, a, b, Math.min(a.bits, b.bits));
  }
  or(a: Node, b: Node): Node {
    return this.#logic(Op.i64Or, Op.i32Or, a, b, Math.max(a.bits, b.bits));
  }
  xor(a: Node, b: Node): Node {
    return this.#logic(Op.i64Xor, Op.i32Xor, a, b, Math.max(a.bits, b.bits));
  }
  shl(a: Node, n: Node): Node {
    return this.#binary(Op.i64Shl, a, n);
  }
  shr(a: Node, n: Node): Node {
    return this.#binary(Op.i64ShrU, a, n, n.constant === undefined ? a.bits : Math.max(1, a.bits - Number(n.constant & 63n)));
  }
  sar(a: Node, n: Node): Node {
    return this.#binary(Op.i64ShrS, a, n);
  }
  divu(a: Node, b: Node): Node {
    return this.#impure(Op.i64DivU, a, b);
  }
  remu(a: Node, b: Node): Node {
    return this.#impure(Op.i64RemU, a, b);
  }
  divs(a: Node, b: Node): Node {
    return this.#impure(Op.i64DivS, a, b);
  }
  rems(a: Node, b: Node): Node {
    return this.#impure(Op.i64RemS, a, b);
  }
  /** Division traps, so it keeps its place behind the meaning's check. */
  #impure(op: number, a: Node, b: Node): Node {
    return this.graph.node('i64', [op], [this.#wide(a), this.#wide(b)], false);
  }
  clz(a: Node): Node {
    return this.graph.node('i64', [Op.i64Clz], [this.#wide(a)], true, 7);
  }
  ctz(a: Node): Node {
    return this.graph.node('i64', [Op.i64Ctz], [this.#wide(a)], true, 7);
  }
  popcnt(a: Node): Node {
    return this.graph.node('i64', [Op.i64Popcnt], [this.#wide(a)], true, 7);
  }
  zeroExtend(a: Node, size: Size): Node {
    const wide = this.#wide(a);
    if (wide.constant !== undefined) return this.constant(wide.constant & masks[size]);
    return wide.bits <= size ? wide : this.#binary(Op.i64And, wide, this.constant(masks[size]), size);
  }
  signExtend(a: Node, size: Size): Node {
    const wide = this.#wide(a);
    if (size === 64) return wide;
    if (wide.constant !== undefined) return this.constant(BigInt.asIntN(size, wide.constant));
    return this.graph.node('i64', [{ 8: Op.i64Extend8S, 16: Op.i64Extend16S, 32: Op.i64Extend32S }[size]], [wide], true);
  }
  eq(a: Node, b: Node): Node {
    return this.#compare(Op.i64Eq, a, b);
  }
  ne(a: Node, b: Node): Node {
    return this.#compare(Op.i64Ne, a, b);
  }
  ltu(a: Node, b: Node): Node {
    return this.#compare(Op.i64LtU, a, b);
  }
  lts(a: Node, b: Node): Node {
    return this.#compare(Op.i64LtS, a, b);
  }
  isZero(a: Node): Node {
    return this.graph.node('i32', [a.type === 'i32' ? Op.i32Eqz : Op.i64Eqz], [a], true, 1);
  }
  select(condition: Node, a: Node, b: Node): Node {
    return this.graph.node('i64', [Op.select], [this.#wide(a), this.#wide(b), this.#truth(condition)], true, Math.max(a.bits, b.bits));
  }
  when(condition: Node, then: () => void, otherwise?: () => void): void {
    this.graph.branch(this.#truth(condition), then, otherwise);
  }

  // --- state
  get(name: StateName): Node {
    if (name === 'fsBase' || name === 'gsBase' || name === 'csBase') return this.field('segmentBase', segmentFields[name]);
    return this.field(name);
  }
  set(name: StateName, value: Node): void {
    if (name === 'fsBase' || name === 'gsBase' || name === 'csBase') this.setField('segmentBase', value, segmentFields[name]);
    else this.setField(name, value);
  }
  register(number: number, size: Size): Node {
    return this.loadAt(this.state, size, offsetOf('gpr', number));
  }
  setRegister(number: number, size: Size, value: Node): void {
    this.storeAt(this.state, size, value, offsetOf('gpr', number));
  }
  xmm(number: number): Node {
    return this.vectorAt(this.state, offsetOf('xmm', number));
  }
  setXmm(number: number, value: Node): void {
    this.storeVectorAt(this.state, value, offsetOf('xmm', number));
  }

  // --- memory
  load(address: Node, size: Size): Node {
    return this.#call(`load${size}`, [this.state, this.#wide(address)]);
  }
  loadForWrite(address: Node, size: Size): Node {
    return this.#call(`loadForWrite${size}`, [this.state, this.#wide(address)]);
  }
  store(address: Node, size: Size, value: Node): void {
    this.#call(`store${size}`, [this.state, this.#wide(address), this.#wide(value)]);
  }
  load128(address: Node): Node {
    return this.#call('load128', [this.state, this.#wide(address)]);
  }
  store128(address: Node, value: Node): void {
    this.#call('store128', [this.state, this.#wide(address), value]);
  }
  linear(segment: number, offset: Node, bytes: number, write: boolean): Node {
    if (!this.#form.long) return this.helper('linear', this.constant(segment), offset, this.constant(bytes), this.constant(write ? 1 : 0));
    return segment < 4 ? offset : this.add(offset, this.field('segmentBase', segment));
  }
  /** As `linear`, for the segment that the record names. */
  linearOfRecord(offset: Node, bytes: number, write: boolean): Node {
    if (this.#form.long) return this.add(offset, this.loadAt(this.stateAt(Record.segment), 64));
    return this.helper(
      'linear',
      this.#wide(this.record8(Record.segmentNumber)),
      offset,
      this.constant(bytes),
      this.constant(write ? 1 : 0),
    );
  }

  // --- flags: result and carry vector, see cpu/flags.ts
  #bit(value: Node, n: number): Node {
    const shifted = n === 0 ? value : this.graph.node('i32', [Op.i32ShrU], [value, this.i32(n)], true, 32);
    return n === 31 ? shifted : this.graph.node('i32', [Op.i32And], [shifted, this.i32(1)], true, 1);
  }
  #xor32(a: Node, b: Node): Node {
    return this.graph.node('i32', [Op.i32Xor], [a, b], true, Math.max(a.bits, b.bits));
  }
  flag(name: FlagName): Node {
    const bits = name === 'zero' ? undefined : this.field('flagBits');
    switch (name) {
      case 'zero':
        return this.isZero(this.field('flagResult'));
      case 'sign': {
        const sign = this.graph.node('i32', [Op.i64LtS], [this.field('flagResult'), this.constant(0)], true, 1);
        return this.#xor32(sign, this.#bit(bits as Node, 7));
      }
      case 'carry':
        return this.#bit(bits as Node, 31);
      case 'adjust':
        return this.#bit(bits as Node, 3);
      case 'overflow':
        return this.#bit(this.#xor32(bits as Node, this.graph.node('i32', [Op.i32Shl], [bits as Node, this.i32(1)], true, 32)), 31);
      case 'parity': {
        const low = this.and(this.field('flagResult'), this.constant(0xff));
        const odd = this.#narrow(this.and(this.popcnt(low), this.constant(1)));
        return this.#xor32(this.#xor32(odd, this.i32(1)), this.#bit(bits as Node, 2));
      }
    }
  }
  condition(code: number): Node {
    const base = ((): Node => {
      switch (code >> 1) {
        case 0:
          return this.flag('overflow');
        case 1:
          return this.flag('carry');
        case 2:
          return this.flag('zero');
        case 3:
          return this.or(this.flag('carry'), this.flag('zero'));
        case 4:
          return this.flag('sign');
        case 5:
          return this.flag('parity');
        case 6:
          return this.xor(this.flag('sign'), this.flag('overflow'));
        default:
          return this.or(this.flag('zero'), this.xor(this.flag('sign'), this.flag('overflow')));
      }
    })();
    return code & 1 ? this.isZero(base) : base;
  }
  setFlags(rule: FlagRule, size: Size, a: Node, b: Node, result: Node): void {
    if (rule === 'logic') {
      this.setField('flagBits', this.i32(0));
      this.setField('flagResult', this.signExtend(result, size));
      return;
    }
    // carries out of each bit: of an addition (a & b) | ((a | b) & ~r), of a subtraction (~a & b) | ((~a | b) & r)
    const adds = rule === 'add' || rule === 'inc';
    const notA = this.xor(a, this.constant(-1));
    const notResult = this.xor(result, this.constant(-1));
    const carries = adds
      ? this.or(this.and(a, b), this.and(this.or(a, b), notResult))
      : this.or(this.and(notA, b), this.and(this.or(notA, b), result));
    const top =
      size >= 32 ? this.#narrow(this.shr(carries, this.constant(size - 32))) : this.#narrow(this.shl(carries, this.constant(32 - size)));
    const low = this.graph.node('i32', [Op.i32And], [this.#narrow(carries), this.i32(8)], true, 4);
    const upper = this.graph.node('i32', [Op.i32And], [top, this.i32(-0x4000_0000)], true, 32);
    let bits = this.graph.node('i32', [Op.i32Or], [upper, low], true, 32);
    if (rule === 'inc' || rule === 'dec') bits = this.#keepCarry(bits);
    this.setField('flagBits', bits);
    this.setField('flagResult', this.signExtend(result, size));
  }
  /** The old carry with the new overflow: bit 30 holds carry xor overflow, so both upper bits turn when the carry differs. */
  #keepCarry(bits: Node): Node {
    const different = this.graph.node('i32', [Op.i32And], [this.#xor32(this.field('flagBits'), bits), this.i32(-0x8000_0000)], true, 32);
    const both = this.graph.node('i32', [Op.i32ShrS], [different, this.i32(1)], true, 32);
    return this.#xor32(bits, both);
  }
  setFlagBits(bits: FlagBits<Node>): void {
    const carry = this.#flagValue(bits.carry ?? this.flag('carry'));
    const overflow = this.#flagValue(bits.overflow ?? this.flag('overflow'));
    const adjust = this.#flagValue(bits.adjust ?? this.flag('adjust'));
    const shifted = (value: Node, n: number): Node => this.graph.node('i32', [Op.i32Shl], [value, this.i32(n)], true, 32);
    const or = (a: Node, b: Node): Node => this.graph.node('i32', [Op.i32Or], [a, b], true, 32);
    let value = or(or(shifted(carry, 31), shifted(this.#xor32(carry, overflow), 30)), shifted(adjust, 3));
    if (bits.zero !== undefined) {
      const sign = this.flag('sign');
      const parity = this.flag('parity');
      const zero = this.#flagValue(bits.zero);
      value = or(value, or(shifted(sign, 7), shifted(this.#xor32(parity, zero), 2)));
      this.setField('flagBits', value);
      this.setField('flagResult', this.isZero(zero));
      return;
    }
    if (bits.result) {
      this.setField('flagBits', value);
      this.setField('flagResult', this.signExtend(bits.result.value, bits.result.size));
      return;
    }
    const kept = this.graph.node('i32', [Op.i32And], [this.field('flagBits'), this.i32(0x84)], true, 8);
    this.setField('flagBits', or(value, kept));
  }
  #flagValue(a: Node): Node {
    return a.type === 'i32' ? a : this.#narrow(a);
  }

  // --- control
  ip(): Node {
    return this.add(this.field('codePage'), this.#wide(this.record16(Record.offset)));
  }
  next(): Node {
    return this.add(this.ip(), this.#wide(this.record8(Record.length)));
  }
  #lookup(): Node {
    return this.#call('lookup', [this.state]);
  }
  jump(target: Node): void {
    this.setField('ip', target);
    this.leave(this.#lookup());
  }
  jumpRelative(): void {
    const link = this.graph.node('i32', memoryCode(Op.i32Load, Record.link), [this.record], false, 32);
    this.when(link, () => this.leave(link));
    this.setField('ip', this.zeroExtend(this.add(this.next(), this.recordImmediate()), this.#form.size));
    const target = this.#lookup();
    this.when(this.record8(Record.inPage), () => this.graph.effect(memoryCode(Op.i32Store, Record.link), [this.record, target]));
    this.leave(target);
  }
  again(): void {
    this.leave(this.record);
  }
  bulk(kind: 'bulkMove' | 'bulkStore', form: Form): void {
    if (form.addressSize !== 64) return;
    // not worth a call for a few iterations, nor downward
    const up = this.isZero(this.and(this.field('systemFlags'), this.i32(0x400)));
    const long = this.ltu(this.constant(bulkIterationsMin), this.register(1, 64));
    this.when(this.and(up, long), () =>
      this.#call(kind, [this.state, this.i32(form.size / 8), this.i32(form.addressSize), this.i32(form.segment)]),
    );
  }
  exitNext(): void {
    this.setField('ip', this.next());
    this.exitHere();
  }
  exitHere(): void {
    this.setField('record', this.i32(0));
    this.leave(this.i32(0));
  }
  fault(vector: number, error = 0): void {
    this.#call('raise', [this.i32(vector), this.i32(error)]);
    this.graph.effect([Op.unreachable], []);
  }
  fallThrough(): void {
    this.leave(this.#add32(this.record, this.i32(recordBytes)));
  }
  float(op: FloatOp, size: 32 | 64, a: Node, b: Node, extra?: Node): Node {
    if (hasFastPath(op)) return this.#call(`float:${op}:${size}`, [this.state, this.#wide(a), this.#wide(b)]);
    return this.helper('float', this.constant(floatCode(op, size)), a, b, extra ?? this.constant(0));
  }
  helper(name: HelperName, ...args: Node[]): Node {
    assert(helperNames.includes(name), `helper ${name}`);
    if (isLegacyName(name)) return this.#call(`legacy:${name}`, [this.state, ...args.map((a) => this.#wide(a))]);
    return this.#call(
      `helper:${name}/${args.length}`,
      args.map((a) => this.#wide(a)),
    );
  }

  // --- vectors
  vector1(op: VectorOp1, a: Node): Node {
    const code = simdCode(vector1Codes[op]);
    if (op.endsWith('bitmask')) return this.graph.node('i32', code, [a], true, 16);
    return this.graph.node('v128', code, [op.endsWith('splat') ? this.#narrow(a) : a], true);
  }
  vector2(op: VectorOp2, a: Node, b: Node): Node {
    return this.graph.node('v128', simdCode(vector2Codes[op]), [a, b], true);
  }
  vectorShift(op: 'shl' | 'shr_u' | 'shr_s', lane: 16 | 32 | 64, a: Node, count: Node): Node {
    return this.graph.node('v128', simdCode(vectorShiftCodes[op][lane]), [a, this.#narrow(count)], true);
  }
  shuffle(a: Node, b: Node, lanes: readonly number[]): Node {
    return this.graph.node('v128', simdCode(Simd.shuffle, ...lanes), [a, b], true);
  }
  lane(a: Node, size: Size, index: number): Node {
    return this.graph.node(size === 64 ? 'i64' : 'i32', simdCode(extractLaneCodes[size], index), [a], true, size);
  }
  withLane(a: Node, size: Size, index: number, value: Node): Node {
    return this.graph.node(
      'v128',
      simdCode(replaceLaneCodes[size], index),
      [a, size === 64 ? this.#wide(value) : this.#narrow(value)],
      true,
    );
  }
  vector(low: Node, high: Node): Node {
    const splat = this.graph.node('v128', simdCode(Simd.splat64), [this.#wide(low)], true);
    return this.withLane(splat, 64, 1, high);
  }
}
