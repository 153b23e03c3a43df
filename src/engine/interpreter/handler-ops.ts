/**
 * Meanings as interpreter handlers: a WebAssembly function (state, record) -> next record, or 0 to leave the run.
 * Operands come from the record's fields, registers live in the vCPU's state, memory goes through the software TLB's functions.
 */

import { assert } from '../../base/assert.ts';
import { offsetOf, tlbSlotMask, tlbSlotShift } from '../../cpu/state.ts';
import { type FloatOp, floatCode } from '../../isa/float-ops.ts';
import { type HelperName, helperNames } from '../../isa/helper-names.ts';
import type { Form, Size } from '../../isa/ops.ts';
import type { X87Name } from '../../isa/x87-names.ts';
import { pageBytes } from '../../memory/pool.ts';
import { Graph, type Node } from '../wasm/graph.ts';
import type { ValueType } from '../wasm/module.ts';
import { Op, Simd } from '../wasm/opcodes.ts';
import { call, memoryCode, simdMemoryCode } from '../wasm/pieces.ts';
import { WasmOps } from '../wasm/wasm-ops.ts';
import { type Callee, calleeSignature } from './callees.ts';
import { hasFastPath } from './core-float.ts';
import { type LegacyName, legacyNames } from './core-legacy.ts';
import { everBits, everOn, everTaken } from './outcomes.ts';
import { Record, recordBytes, relookupHandler } from './record.ts';

const bulkIterationsMin = 8;
const isLegacyName = (name: HelperName): name is LegacyName => (legacyNames as readonly HelperName[]).includes(name);

/** What a jump notes in its record. */
export interface Notes {
  /** Where it went. */
  readonly targets: boolean;
  /** Whether it was taken. */
  readonly outcomes: boolean;
}

export class HandlerOps extends WasmOps {
  readonly locals: ValueType[] = [];
  readonly graph = new Graph({ temporary: (type) => this.locals.push(type) + 1, enter: () => {}, leave: () => {} });
  readonly state = this.graph.parameter(0);
  readonly #record = this.graph.parameter(1);
  readonly #callIndex: (callee: Callee) => number;
  // the instruction at hand
  #form: Form;
  #notes: Notes;
  /** Where its record is, from the first one's: bytes. */
  #at = 0;
  /** It may have written code. */
  #stores = false;
  /** It does what the dispatch loop may have to look at. */
  #isSpecial = false;

  constructor(form: Form, callIndex: (callee: Callee) => number, notes: Notes) {
    super();
    this.#notes = notes;
    this.#form = form;
    this.#callIndex = callIndex;
  }
  /** Goes on with the instruction whose record comes next, as the dispatch loop would. */
  goOn(form: Form, notes: Notes): void {
    assert(!this.#isSpecial, 'only the last instruction of a group may be special');
    this.#form = form;
    this.#notes = notes;
    this.#at += recordBytes;
    const fuel = this.field('fuel');
    const isSpent = this.graph.node('i32', [Op.i32LtS], [fuel, this.i32(1)], true, 1);
    const isGone = (): Node => this.graph.node('i32', [Op.i32Eq], [this.record16(Record.own), this.i32(relookupHandler)], true, 1);
    this.when(this.#stores ? this.or(isSpent, isGone()) : isSpent, () => this.#fallTo(this.#at));
    this.setField('fuel', this.graph.node('i32', [Op.i32Sub], [fuel, this.i32(1)], true, 32));
    this.setField('record', this.record);
  }
  /** The address of the instruction's record. */
  get record(): Node {
    return this.#at === 0 ? this.#record : this.add32(this.#record, this.i32(this.#at));
  }

  // --- plumbing
  #call(callee: Callee, args: readonly Node[]): Node {
    const code = call(this.#callIndex(callee));
    const result = calleeSignature(callee).results[0];
    if (result) return this.graph.node(result, code, args, false, callee.startsWith('load') ? Number(/\d+$/.exec(callee)?.[0]) : 64);
    this.graph.effect(code, args);
    return this.constant(0);
  }
  /** A 16-bit field of the record. */
  record16(offset: number): Node {
    return this.graph.node('i32', memoryCode(Op.i32Load16U, this.#at + offset), [this.#record], false, 16);
  }
  record8(offset: number): Node {
    return this.graph.node('i32', memoryCode(Op.i32Load8U, this.#at + offset), [this.#record], false, 8);
  }
  #record32(offset: number): Node {
    return this.graph.node('i32', memoryCode(Op.i32Load, this.#at + offset), [this.#record], false, 32);
  }
  #setRecord32(offset: number, value: Node): void {
    this.graph.effect(memoryCode(Op.i32Store, this.#at + offset), [this.#record, value]);
  }
  recordImmediate(): Node {
    return this.graph.node('i64', memoryCode(Op.i64Load, this.#at + Record.immediate), [this.#record], false);
  }
  recordDisplacement(): Node {
    return this.graph.node('i64', memoryCode(Op.i64Load32S, this.#at + Record.displacement), [this.#record], false);
  }
  /** State memory at an offset held in a record field. */
  stateAt(recordField: number): Node {
    return this.add32(this.state, this.record16(recordField));
  }
  loadAt(address: Node, size: Size, offset = 0): Node {
    const op = { 8: Op.i64Load8U, 16: Op.i64Load16U, 32: Op.i64Load32U, 64: Op.i64Load }[size];
    return this.graph.node('i64', memoryCode(op, offset), [address], false, size);
  }
  /** Register write: 32 bits clear the upper half, smaller sizes leave the rest. */
  storeAt(address: Node, size: Size, value: Node, offset = 0): void {
    const op = { 8: Op.i64Store8, 16: Op.i64Store16, 32: Op.i64Store, 64: Op.i64Store }[size];
    this.graph.effect(memoryCode(op, offset), [address, size === 32 ? this.zeroExtend(value, 32) : this.wide(value)]);
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
    this.graph.effect(memoryCode(op, 0), [address, this.wide(value)]);
  }
  leave(next: Node): void {
    this.graph.effect([Op.return], [next]);
  }

  // --- state
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
  /** Where the TLB has memory `hit` happens, with its host address; elsewhere the core's function finds it. */
  #access(table: 'tlbRead' | 'tlbWrite', address: Node, bytes: number, hit: (host: Node) => void, miss: () => void): void {
    const slot = this.and(
      this.graph.node('i32', [Op.i32ShrU], [this.narrow(address), this.i32(tlbSlotShift)], true, 32),
      this.i32(tlbSlotMask),
    );
    const entry = this.add32(this.field(table), slot);
    const page = this.and(this.add(address, this.constant(bytes - 1)), this.constant(-pageBytes));
    this.when(
      this.eq(this.loadAt(entry, 64), page),
      () => hit(this.add32(this.narrow(address), this.narrow(this.loadAt(entry, 32, 8)))),
      miss,
    );
  }
  #load(table: 'tlbRead' | 'tlbWrite', callee: Callee, address: Node, size: Size): Node {
    const result = this.locals.push('i64') + 1;
    const at = this.wide(address);
    this.#access(
      table,
      at,
      size / 8,
      (host) => this.graph.set(result, this.loadAt(host, size)),
      () => this.graph.set(result, this.#call(callee, [this.state, at])),
    );
    return this.graph.read('i64', result, size);
  }
  load(address: Node, size: Size): Node {
    return this.#load('tlbRead', `load${size}`, address, size);
  }
  loadForWrite(address: Node, size: Size): Node {
    return this.#load('tlbWrite', `loadForWrite${size}`, address, size);
  }
  store(address: Node, size: Size, value: Node): void {
    this.#stores = true;
    const at = this.wide(address);
    const wide = this.wide(value);
    this.#access(
      'tlbWrite',
      at,
      size / 8,
      (host) => this.storeLow(host, size, wide),
      () => void this.#call(`store${size}`, [this.state, at, wide]),
    );
  }
  load128(address: Node): Node {
    return this.#call('load128', [this.state, this.wide(address)]);
  }
  store128(address: Node, value: Node): void {
    this.#stores = true;
    this.#call('store128', [this.state, this.wide(address), value]);
  }
  linear(segment: number, offset: Node, bytes: number, write: boolean): Node {
    if (!this.#form.long) return this.helper('linear', this.constant(segment), offset, this.constant(bytes), this.constant(write ? 1 : 0));
    return segment < 4 ? offset : this.add(offset, this.field('segmentBase', segment));
  }
  /** As `linear`, for the segment that the record names. */
  linearOfRecord(offset: Node, bytes: number, write: boolean): Node {
    if (this.#form.long) return this.add(offset, this.loadAt(this.stateAt(Record.segment), 64));
    return this.helper('linear', this.wide(this.record8(Record.segmentNumber)), offset, this.constant(bytes), this.constant(write ? 1 : 0));
  }

  // --- flags
  protected flagBits(): Node {
    return this.field('flagBits');
  }
  protected flagResult(): Node {
    return this.field('flagResult');
  }
  protected putFlags(bits: Node, result: Node | undefined): void {
    this.setField('flagBits', bits);
    if (result) this.setField('flagResult', result);
  }

  // --- control
  enterFlat(level: 0 | 3, codeSelector: Node, stackSelector: Node): void {
    this.#isSpecial = true;
    this.storeFlatLevel(level, codeSelector, stackSelector);
  }
  ip(): Node {
    return this.add(this.field('codePage'), this.wide(this.record16(Record.offset)));
  }
  next(): Node {
    return this.add(this.ip(), this.wide(this.record8(Record.length)));
  }
  #lookup(): Node {
    return this.#call('lookup', [this.state]);
  }
  jump(target: Node): void {
    this.setField('ip', target);
    const next = this.#lookup();
    if (this.#notes.targets) {
      const latest = this.#record32(Record.latest);
      this.when(this.graph.node('i32', [Op.i32Ne], [latest, next], true, 1), () => {
        this.#setRecord32(Record.earliest, this.#record32(Record.before));
        this.#setRecord32(Record.before, latest);
        this.#setRecord32(Record.latest, next);
      });
    }
    this.leave(next);
  }
  jumpRelative(): void {
    if (this.#notes.outcomes) this.noteOutcome(1);
    const link = this.#record32(Record.link);
    this.when(link, () => this.leave(link));
    this.setField('ip', this.zeroExtend(this.add(this.next(), this.recordImmediate()), this.#form.size));
    const target = this.#lookup();
    this.when(this.record8(Record.inPage), () => this.#setRecord32(Record.link, target));
    this.leave(target);
  }
  again(): void {
    this.#isSpecial = true;
    this.leave(this.record);
  }
  bulk(kind: 'moveRun' | 'storeRun', form: Form): void {
    this.#isSpecial = true;
    if (form.addressSize !== 64 || !form.long) return;
    // all but the last iteration, as far as the fuel goes; not worth a call for a few, nor downward
    const up = this.isZero(this.and(this.field('systemFlags'), this.i32(0x400)));
    const long = this.ltu(this.constant(bulkIterationsMin), this.register(1, 64));
    const fuel = this.graph.node('i32', [Op.i32LtS], [this.i32(0), this.field('fuel')], true, 1);
    this.when(this.and(this.and(up, long), fuel), () => {
      const rest = this.sub(this.register(1, 64), this.constant(1));
      const left = this.wide(this.field('fuel'));
      const scale = this.i32(Math.log2(form.size / 8));
      const moves = kind === 'moveRun';
      const from = moves ? this.linear(form.segment, this.register(6, 64), 0, false) : this.register(0, form.size);
      const most = this.select(this.ltu(rest, left), rest, left);
      const done = this.#call(kind, [this.state, this.register(7, 64), from, most, scale]);
      const bytes = this.shl(done, this.constant(Math.log2(form.size / 8)));
      for (const n of moves ? [6, 7] : [7]) this.setRegister(n, 64, this.add(this.register(n, 64), bytes));
      this.setRegister(1, 64, this.sub(this.register(1, 64), this.wide(done)));
      this.setField('fuel', this.graph.node('i32', [Op.i32Sub], [this.field('fuel'), done], true, 32));
    });
  }
  exitNext(): void {
    this.setField('ip', this.next());
    this.exitHere();
  }
  exitHere(): void {
    this.#isSpecial = true;
    this.setField('record', this.i32(0));
    this.leave(this.i32(0));
  }
  fault(vector: number, error = 0): void {
    this.#call('raise', [this.i32(vector), this.i32(error)]);
    this.graph.effect([Op.unreachable], []);
  }
  /** A conditional jump notes whether it was taken. */
  noteOutcome(taken: 0 | 1): void {
    const before = this.#record32(Record.outcomes);
    const latest = this.and(this.add32(before, before), this.i32(~everBits));
    const bits = taken === 1 ? everTaken | 1 : everOn;
    this.#setRecord32(Record.outcomes, this.or(this.or(this.and(before, this.i32(everBits)), latest), this.i32(bits)));
  }
  fallThrough(): void {
    this.#fallTo(this.#at + recordBytes);
  }
  #fallTo(at: number): void {
    this.leave(this.add32(this.#record, this.i32(at)));
  }
  float(op: FloatOp, size: 32 | 64, a: Node, b: Node, extra?: Node): Node {
    if (hasFastPath(op)) return this.#call(`float:${op}:${size}`, [this.state, this.wide(a), this.wide(b)]);
    return this.helper('float', this.constant(floatCode(op, size)), a, b, extra ?? this.constant(0));
  }
  x87(name: X87Name, value: Node, form: Node): Node {
    return this.#call(`x87:${name}`, [this.state, this.wide(value), this.narrow(form)]);
  }
  helper(name: HelperName, ...args: Node[]): Node {
    this.#isSpecial = true;
    assert(helperNames.includes(name), `helper ${name}`);
    if (isLegacyName(name)) return this.#call(`legacy:${name}`, [this.state, ...args.map((a) => this.wide(a))]);
    return this.#call(
      `helper:${name}/${args.length}`,
      args.map((a) => this.wide(a)),
    );
  }
}
