/** Handlers as functions: (state, record) -> next record, or 0 to leave the run. What the software TLB does not have, the core's functions find. */

import { assert } from '../../base/assert.ts';
import { type FloatOp, floatCode } from '../../isa/float-ops.ts';
import { type HelperName, helperNames } from '../../isa/helper-names.ts';
import type { Form, Size } from '../../isa/ops.ts';
import type { X87Name } from '../../isa/x87-names.ts';
import { Graph, type Node } from '../wasm/graph.ts';
import type { ValueType } from '../wasm/module.ts';
import { Op } from '../wasm/opcodes.ts';
import { call, memoryCode } from '../wasm/pieces.ts';
import { type Callee, calleeSignature } from './callees.ts';
import { hasFastPath } from './core-float.ts';
import { type LegacyName, legacyNames } from './core-legacy.ts';
import { HandlerOps, type Notes, type Place } from './handler-ops.ts';
import { Record, relookupHandler } from './record.ts';

const bulkIterationsMin = 8;
const isLegacyName = (name: HelperName): name is LegacyName => (legacyNames as readonly HelperName[]).includes(name);

export class FunctionOps extends HandlerOps {
  readonly locals: ValueType[] = [];
  readonly graph = new Graph({ temporary: (type) => this.locals.push(type) + 1, enter: () => {}, leave: () => {} });
  readonly state = this.graph.parameter(0);
  protected readonly first = this.graph.parameter(1);
  readonly #callIndex: (callee: Callee) => number;
  /** The instruction may have written code. */
  #stores = false;
  /** It does what the dispatch loop may have to look at. */
  #isSpecial = false;

  constructor(form: Form, callIndex: (callee: Callee) => number, notes: Notes) {
    super(form, notes);
    this.#callIndex = callIndex;
  }
  override goOn(form: Form, notes: Notes): void {
    assert(!this.#isSpecial, 'only the last instruction of a group may be special');
    super.goOn(form, notes);
    const fuel = this.field('fuel');
    const isSpent = this.graph.node('i32', [Op.i32LtS], [fuel, this.i32(1)], true, 1);
    const own = (): Node => this.graph.node('i32', memoryCode(Op.i32Load16U, this.at + Record.own), [this.first], false, 16);
    const isGone = (): Node => this.graph.node('i32', [Op.i32Eq], [own(), this.i32(relookupHandler)], true, 1);
    this.when(this.#stores ? this.or(isSpent, isGone()) : isSpent, () => this.leave(this.record));
    this.setField('fuel', this.graph.node('i32', [Op.i32Sub], [fuel, this.i32(1)], true, 32));
    this.setField('record', this.record);
  }
  #call(callee: Callee, args: readonly Node[]): Node {
    const code = call(this.#callIndex(callee));
    const result = calleeSignature(callee).results[0];
    if (result) return this.graph.node(result, code, args, false, callee.startsWith('load') ? Number(/\d+$/.exec(callee)?.[0]) : 64);
    this.graph.effect(code, args);
    return this.constant(0);
  }
  leave(next: Node): void {
    this.graph.effect([Op.return], [next]);
  }
  stateAt(recordField: number): Place {
    return { address: this.add32(this.state, this.record16(recordField)), offset: 0 };
  }

  // --- memory
  #load(table: 'tlbRead' | 'tlbWrite', callee: Callee, address: Node, size: Size): Node {
    const result = this.locals.push('i64') + 1;
    const at = this.wide(address);
    const { has, host } = this.probe(table, at, size / 8);
    this.when(
      has,
      () => this.graph.set(result, this.loadAt(host(), size)),
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
    const { has, host } = this.probe('tlbWrite', at, size / 8);
    this.when(
      has,
      () => this.storeLow(host(), size, wide),
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

  // --- control
  enterFlat(level: 0 | 3, codeSelector: Node, stackSelector: Node): void {
    this.#isSpecial = true;
    this.storeFlatLevel(level, codeSelector, stackSelector);
  }
  #lookup(): Node {
    return this.#call('lookup', [this.state]);
  }
  jump(target: Node): void {
    this.setField('ip', target);
    const next = this.#lookup();
    if (this.notes.targets) {
      const latest = this.note32(Record.latest);
      this.when(this.graph.node('i32', [Op.i32Ne], [latest, next], true, 1), () => {
        this.setNote32(Record.earliest, this.note32(Record.before));
        this.setNote32(Record.before, latest);
        this.setNote32(Record.latest, next);
      });
    }
    this.leave(next);
  }
  jumpRelative(): void {
    if (this.notes.outcomes) this.noteOutcome(1);
    const link = this.note32(Record.link);
    this.when(link, () => this.leave(link));
    this.setField('ip', this.relativeTarget());
    const target = this.#lookup();
    this.when(this.record8(Record.inPage), () => this.setNote32(Record.link, target));
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
