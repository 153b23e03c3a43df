/**
 * Meanings as part of a region of translated code: operands are known, registers and flags live in locals, memory goes through the software
 * TLB in line. What a region cannot do (helpers, faults, accesses that miss the TLB) leaves it before the instruction has changed anything,
 * and the interpreter does the instruction.
 */
import type { StateField } from '../../cpu/state.ts';
import { sizeIndex } from '../../isa/encodings.ts';
import type { FloatOp } from '../../isa/float-ops.ts';
import type { HelperName } from '../../isa/helper-names.ts';
import type { Form, Size } from '../../isa/ops.ts';
import type { StateName } from '../../isa/state-names.ts';
import type { X87Name } from '../../isa/x87-names.ts';
import { pageBytes } from '../../memory/pool.ts';
import type { Callee } from '../interpreter/callees.ts';
import { isConditional } from '../interpreter/handler.ts';
import { Outcome, Record } from '../interpreter/record.ts';
import type { Hint } from '../wasm/branch-hints.ts';
import { Graph, type Node } from '../wasm/graph.ts';
import { Op } from '../wasm/opcodes.ts';
import { call, memoryCode } from '../wasm/pieces.ts';
import type { FlagKind } from './flag-kind.ts';
import { hostFloat } from './host-float.ts';
import { NotTranslated } from './not-translated.ts';
import { mapOffset } from './page-check.ts';
import { gprName, type RegionLocals, xmmName } from './region-locals.ts';
import { RegionMemory, valueOfFs, valueOfGs } from './region-memory.ts';
import { copyKnown, exitToIp, exitWord, type Known, type Place, type Surroundings } from './surroundings.ts';
import type { Windows } from './windows.ts';

/** What changes nothing that a region relies on. */
const settable: readonly StateName[] = [
  'systemFlags',
  'interruptShadow',
  'fsBase',
  'gsBase',
  'kernelGsBase',
  'floatControl',
  'floatOpcode',
  'floatIp',
  'floatData',
];
/** More than a region runs between two looks at the fuel. */
const fuelReserve = 512;
const masks = { 8: 0xffn, 16: 0xffffn } as const;

export class RegionOps extends RegionMemory {
  readonly graph: Graph;
  readonly state: Node;
  protected readonly locals: RegionLocals;
  protected readonly windows: Windows;
  /** Shared along a block. */
  protected readonly known: Known;
  readonly #around: Surroundings;
  readonly #place: Place;
  readonly #widths: number[];
  /** Which register a low lane was read from; which numbers are plain results of this instruction, and of what size. */
  #lanes: Map<Node, number> | undefined;
  #results: Map<Node, 32 | 64> | undefined;
  /** The same node for a register that is read again, so that an instruction with one register twice is seen to have one value twice. */
  #readings: (Node | undefined)[] = [];
  /** Something of the machine's state was changed: from here on the instruction must run to its end. */
  #changed = false;
  #ended = false;
  /** The meaning says more, but all of it is done already. */
  #done = false;
  #nested = 0;

  constructor(around: Surroundings, place: Place, kind: FlagKind, known: Known) {
    super(kind, place.flagsAreDead);
    this.#around = around;
    this.locals = around.locals;
    this.windows = around.windows;
    this.graph = new Graph(around.locals);
    this.state = this.graph.parameter(0);
    this.#place = place;
    this.known = known;
    this.#widths = known.widths;
  }

  /** Whether control cannot reach what follows. */
  get ended(): boolean {
    return this.#ended;
  }

  // --- ways out
  #leave(word: number): void {
    const { kind } = this;
    this.#around.announceExit(kind);
    this.graph.place((out) => this.#around.exit(out, kind, word));
    this.#ended = true;
  }
  /** The interpreter does this instruction, always. */
  interpret(): void {
    this.#giveUp('not translated');
  }
  #giveUp(why: string, outcome: number = Outcome.asItself): void {
    if (this.#changed) throw new NotTranslated(`${why} after a change`);
    this.#leave(exitWord(outcome, this.#place.retired, this.#place.offset));
  }
  /** Like `when`, for a way out of the region: nothing that is known changes on the other side. */
  #giveUpIf(condition: Node, why: string, outcome: number = Outcome.asItself): void {
    if (this.#done) return;
    if (condition.constant !== undefined) {
      if (condition.constant !== 0n) this.#giveUp(why);
      return;
    }
    this.graph.branch(this.truth(condition), () => this.#giveUp(why, outcome), undefined, 'unlikely');
    this.#ended = false;
  }
  protected missesIf(condition: Node): void {
    this.#giveUpIf(condition, 'TLB miss', Outcome.missed);
  }
  protected get isNested(): boolean {
    return this.#nested > 0;
  }
  protected noteChange(): void {
    this.#changed = true;
  }
  helper(name: HelperName, ...args: Node[]): Node {
    if (name === 'segmentSelector' && args[0]?.constant !== undefined) return this.selector(Number(args[0].constant));
    if (this.#nested === 0) throw new NotTranslated(name);
    this.#giveUp(name);
    return this.constant(0);
  }
  fault(vector: number): void {
    if (this.#nested === 0) throw new NotTranslated(`fault ${vector}`);
    this.#giveUp('fault');
  }
  exitNext(): void {
    this.#leave(exitWord(Outcome.leave, this.#place.retired + 1, this.#place.offset + this.#place.decoded.length));
  }
  exitHere(): void {
    if (!this.#ended) throw new NotTranslated('exit'); // otherwise a helper before it has left the region already
  }
  enterFlat(level: 0 | 3, codeSelector: Node, stackSelector: Node): void {
    this.storeFlatLevel(level, codeSelector, stackSelector);
  }
  again(): void {
    throw new NotTranslated('repeat');
  }
  #call(callee: Callee, args: readonly Node[], bits: number): Node {
    return this.graph.node('i32', call(this.#around.callIndex(callee)), args, false, bits);
  }
  /** The whole of REP MOVS and STOS, as far as a page goes; what is left is the interpreter's. */
  bulk(kind: 'moveRun' | 'storeRun', form: Form): void {
    if (form.addressSize !== 64) throw new NotTranslated('repeat');
    const fuel = this.locals.named('fuel');
    const readFuel = (): Node => this.graph.read('i32', fuel, 32);
    this.#giveUpIf(this.and(this.field('systemFlags'), this.i32(0x400)), 'downward');
    this.#giveUpIf(this.graph.node('i32', [Op.i32LtS], [readFuel(), this.i32(2 * fuelReserve)], true, 1), 'fuel');
    const scale = Math.log2(form.size / 8);
    const moves = kind === 'moveRun';
    const count = this.register(1, 64);
    const left = this.wide(this.graph.node('i32', [Op.i32Sub], [readFuel(), this.i32(fuelReserve)], true, 32));
    const most = this.select(this.ltu(count, left), count, left);
    const from = moves ? this.linear(form.segment, this.register(6, 64)) : this.register(0, form.size);
    const done = this.#call(kind, [this.state, this.register(7, 64), from, most, this.i32(scale)], 13);
    this.#giveUpIf(this.isZero(done), 'TLB miss');
    const bytes = this.shl(done, this.constant(scale));
    for (const n of moves ? [6, 7] : [7]) this.setRegister(n, 64, this.add(this.register(n, 64), bytes));
    const rest = this.sub(count, this.wide(done));
    this.setRegister(1, 64, rest);
    this.graph.set(fuel, this.graph.node('i32', [Op.i32Sub], [readFuel(), done], true, 32));
    this.when(rest, () => this.#leave(exitWord(Outcome.asItself, this.#place.retired, this.#place.offset)));
    this.graph.set(fuel, this.add32(readFuel(), this.i32(1))); // the last iteration is counted with the block
    this.fallThrough();
    this.#done = true;
  }

  // --- control
  #inPage(offset: number): Node {
    const page = this.relativeTo(this.#around.windows, this.graph.read('i64', this.locals.named('codePage')));
    return this.add(page, this.constant(offset));
  }
  ip(): Node {
    return this.#inPage(this.#place.offset);
  }
  next(): Node {
    return this.#inPage(this.#place.offset + this.#place.decoded.length);
  }
  jump(target: Node): void {
    for (const { block, offset, hint } of this.#around.guesses)
      this.when(this.eq(target, this.#inPage(offset)), () => this.#goToBlock(block), undefined, hint);
    if (this.#around.page) this.#dispatch(target, this.#around.page);
    this.graph.set(this.locals.named('exitIp'), this.wide(target));
    this.#leave(exitToIp(Outcome.goOn, this.#place.retired + 1));
  }
  /** To one of the region's own entries, as the record of the target tells. */
  #dispatch(target: Node, { offset, map }: { readonly offset: number; readonly map: number }): void {
    const distance = this.sub(target, this.#inPage(offset));
    const field = (record: Node, offset: number): Node => this.graph.node('i32', memoryCode(Op.i32Load16U, offset), [record], false, 16);
    this.when(this.ltu(distance, this.constant(pageBytes)), () => {
      const place = this.graph.node('i32', [Op.i32Shl], [this.narrow(distance), this.i32(2)], true, 14);
      const maps = this.graph.node('i32', memoryCode(Op.i32Load, Record.maps), [this.graph.parameter(1)], false, 32);
      const start = this.graph.node('i32', memoryCode(Op.i32Load, mapOffset(map)), [maps], false, 32);
      const record = this.graph.node('i32', memoryCode(Op.i32Load, 0), [this.add32(start, place)], false, 32); // 0 is no region's either
      const slot = this.graph.read('i32', this.locals.named('slot'), 16);
      this.when(this.graph.node('i32', [Op.i32Eq], [field(record, Record.handler), slot], true, 1), () => {
        const { kind } = this;
        this.#around.announceExit(kind);
        this.graph.set(this.locals.named('entry'), field(record, Record.entry));
        this.graph.place((out) => this.#around.dispatch(out, kind, this.#place.retired + 1));
        this.#ended = true;
      });
    });
  }
  jumpRelative(): void {
    const { offset, decoded } = this.#place;
    this.#goTo(this.#around.target, offset + decoded.length + Number(BigInt.asIntN(64, decoded.immediates[0] ?? 0n)));
  }
  fallThrough(): void {
    const { offset, decoded } = this.#place;
    this.#goTo(this.#around.behind, offset + decoded.length);
  }
  #goTo(block: number | undefined, offset: number): void {
    if (block === undefined) this.#leave(exitWord(Outcome.goOn, this.#place.retired + 1, offset));
    else this.#goToBlock(block);
  }
  #goToBlock(block: number): void {
    const { kind } = this;
    const retired = this.#place.retired + 1;
    this.#around.reach(block, copyKnown(this.known), retired);
    this.#around.announceExit(kind); // the block may lie on a page that is elsewhere now
    this.graph.place((out) => this.#around.goTo(out, block, kind, retired));
    this.#ended = true;
  }
  /** A jump that goes on in the region in one way only mostly goes there. */
  get #jumpHint(): Hint {
    const { behind, target } = this.#around;
    if (this.#nested > 0 || !isConditional(this.#place.decoded) || (behind === undefined) === (target === undefined)) return undefined;
    return target === undefined ? 'unlikely' : 'likely';
  }
  override when(condition: Node, then: () => void, otherwise?: () => void, hint: Hint = this.#jumpHint): void {
    if (this.#done) return;
    if (condition.constant !== undefined) return condition.constant !== 0n ? then() : otherwise?.();
    const widths = [...this.#widths];
    let widthsFirst = widths;
    const changed = this.#changed;
    let changedFirst = false;
    let endedFirst = false;
    const { windows } = this.known;
    const values = [...this.known.values];
    const changedValues = new Set<number>();
    const endWay = (): void => {
      this.known.windows = windows;
      values.forEach((value, n) => {
        if (this.known.values[n] !== value) changedValues.add(n);
        this.known.values[n] = value;
      });
    };
    this.#nested++;
    const first = (): void => {
      then();
      endWay();
      widthsFirst = [...this.#widths];
      widths.forEach((width, n) => {
        this.#widths[n] = width;
      });
      changedFirst = this.#changed;
      endedFirst = this.#ended;
      this.#changed = changed;
      this.#ended = false;
    };
    this.branchWithFlags(condition, first, otherwise, hint);
    endWay();
    for (const n of changedValues) this.known.values[n] = undefined;
    this.#nested--;
    this.#changed ||= changedFirst;
    this.#ended &&= endedFirst;
    for (let n = 0; n < 16; n++) this.#widths[n] = Math.max(this.#widths[n] ?? 64, widthsFirst[n] ?? 64);
  }

  // --- state
  selector(segment: number): Node {
    return this.zeroExtend(this.field('segmentSelector', segment), 16);
  }
  override set(name: StateName, value: Node): void {
    if (!settable.includes(name)) throw new NotTranslated(`sets ${name}`);
    if (name === 'fsBase' || name === 'gsBase') this.writeValue(name === 'fsBase' ? valueOfFs : valueOfGs, value);
    super.set(name, value);
  }
  override setField(name: StateField, value: Node, index = 0): void {
    super.setField(name, value, index);
    this.#changed = true;
  }
  #whole(number: number): Node {
    return this.readValue(number, this.graph.read('i64', this.locals.named(gprName(number)), this.#widths[number]));
  }
  register(number: number, size: Size): Node {
    if (this.#nested > 0) return this.zeroExtend(this.#whole(number), size);
    const place = number * 4 + sizeIndex(size);
    this.#readings[place] ??= this.zeroExtend(this.#whole(number), size);
    return this.#readings[place];
  }
  highByte(number: number): Node {
    return this.and(this.shr(this.#whole(number), this.constant(8)), this.constant(0xff));
  }
  setRegister(number: number, size: Size, value: Node): void {
    this.#readings = [];
    const local = this.locals.written(gprName(number));
    let whole: Node;
    if (size >= 32) whole = this.zeroExtend(value, size);
    else {
      const mask = masks[size as 8 | 16];
      whole = this.or(this.and(this.#whole(number), this.constant(~mask)), this.zeroExtend(value, size));
    }
    this.graph.set(local, whole);
    this.writeValue(number, whole);
    this.#widths[number] = size >= 32 ? Math.min(whole.bits, size) : Math.max(size, this.#widths[number] ?? 64);
    this.#changed = true;
  }
  setHighByte(number: number, value: Node): void {
    this.#readings = [];
    const upper = this.shl(this.zeroExtend(value, 8), this.constant(8));
    this.graph.set(this.locals.written(gprName(number)), this.or(this.and(this.#whole(number), this.constant(~0xff00n)), upper));
    this.writeValue(number, upper);
    this.#widths[number] = Math.max(16, this.#widths[number] ?? 64);
    this.#changed = true;
  }
  xmm(number: number): Node {
    return this.graph.read('v128', this.locals.named(xmmName(number)));
  }
  setXmm(number: number, value: Node): void {
    this.graph.set(this.locals.written(xmmName(number)), value);
    this.known.plain.delete(number);
    this.#changed = true;
  }

  // --- floating point
  /** Changes nothing when it gives zero; otherwise the meaning goes on to note the instruction, which counts as the change. */
  x87(name: X87Name, value: Node, form: Node): Node {
    return this.#call(`x87:${name}`, [this.state, this.wide(value), this.narrow(form)], 32);
  }
  float(op: FloatOp, size: 32 | 64, a: Node, b: Node, extra?: Node): Node {
    const fast = hostFloat(
      this.graph,
      op,
      size,
      this.wide(a),
      this.wide(b),
      { isKnown: (n) => this.#isPlain(n, size), toFloat: (bits, s) => this.toFloat(bits, s) },
      Number(extra?.constant ?? 0n),
    );
    if (!fast) {
      if (this.#nested === 0) throw new NotTranslated(`float ${op}`);
      this.#giveUp(op);
      return this.constant(0);
    }
    const modeBelow = (least: number): Node =>
      this.graph.node('i32', [Op.i32LtU], [this.graph.read('i32', this.locals.named('hostFloat'), 2), this.i32(least)], true, 1);
    if (fast.plain) this.#giveUpIf(this.isZero(fast.plain), 'operands');
    const result = fast.compute();
    const { isExact } = result;
    if (fast.mode === 2 && isExact)
      this.when(modeBelow(2), () => {
        this.#giveUpIf(modeBelow(1), 'MXCSR');
        this.#giveUpIf(this.isZero(isExact()), 'rounding');
      });
    else if (fast.mode > 0) this.#giveUpIf(modeBelow(fast.mode), 'MXCSR');
    const { isSafeToo } = result;
    if (result.safe && isSafeToo) this.when(this.isZero(result.safe), () => this.#giveUpIf(this.isZero(isSafeToo()), 'result'));
    else if (result.safe) this.#giveUpIf(this.isZero(result.safe), 'result');
    if (op !== 'compare' && op !== 'comi' && op !== 'ucomi' && !op.endsWith('Int32') && !op.endsWith('Int64'))
      this.#noteResult(result.value, op === 'toOther' ? (size === 64 ? 32 : 64) : size);
    return result.value;
  }
  #noteResult(value: Node, size: 32 | 64): void {
    this.#results ??= new Map();
    this.#results.set(value, size);
  }
  /** The low lane of a register, for the checks of `float`. */
  noteLane(lane: Node, register: number): void {
    this.#lanes ??= new Map();
    this.#lanes.set(lane, register);
  }
  #isPlain(n: Node, size: 32 | 64): boolean {
    const register = this.#lanes?.get(n);
    return this.#results?.get(n) === size || (register !== undefined && this.known.plain.get(register) === size);
  }
  /** Writes the low lane of a register. */
  setLane(register: number, size: Size, value: Node): void {
    this.setXmm(register, this.withLane(this.xmm(register), size, 0, value));
    const plain = this.#results?.get(value);
    if (plain !== undefined && plain === size && this.#nested === 0) this.known.plain.set(register, plain);
  }

  /** Whether the instruction sets flags. */
  flagsSet = false;
  protected override noteFlags(): void {
    this.#changed = true;
    this.flagsSet = true;
    this.locals.setsFlags = true;
  }
}
