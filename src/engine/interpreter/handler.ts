/** One handler per shape of instruction: meaning, size, operand kinds. Which register or constant is meant stands in the record. */

import { Bug } from '../../base/assert.ts';
import type { Decoded, DecodedOperand } from '../../isa/decode.ts';
import { needsFloat } from '../../isa/instruction.ts';
import type { Meaning, Operand, Size } from '../../isa/ops.ts';
import type { Emitter } from '../wasm/emitter.ts';
import type { GraphHost, Node } from '../wasm/graph.ts';
import type { FunctionBody } from '../wasm/module.ts';
import { Op } from '../wasm/opcodes.ts';
import type { Callee } from './callees.ts';
import { FunctionOps } from './function-ops.ts';
import type { HandlerOps, Notes, Place } from './handler-ops.ts';
import { LoopOps, type WayOn } from './loop-ops.ts';
import { Record } from './record.ts';

const meaningNumbers = new WeakMap<Meaning, number>();
// tidy-allow: module-state — numbers for identity only: the same meaning always gets the same number within a process
const numbering = { next: 1 };
function meaningNumber(meaning: Meaning): number {
  let number = meaningNumbers.get(meaning);
  if (number === undefined) {
    number = numbering.next++;
    meaningNumbers.set(meaning, number);
  }
  return number;
}

const namesSegment = (d: Decoded): boolean => d.row.string || (d.row.operands.length === 0 && d.memory === undefined);
/** A RIP-relative displacement so far up that adding the instruction's place in its page would leave 32 bits: the handler adds it then. */
export const isFar = (displacement: bigint | number): boolean => displacement > 0x7fff_0000;
export const isFarRelative = (d: Decoded): boolean => d.memory?.base === 16 && isFar(d.memory.displacement);
export const hasIndex = (d: Decoded): boolean => d.memory !== undefined && d.memory.index >= 0;
/** In 64-bit code only FS and GS have bases. */
const isFlat = (d: Decoded): boolean => d.form.long && d.form.segment < 4;
export const isAbsolute = (d: Decoded): boolean => d.row.operands[0]?.[0] === 'O' || d.row.operands[1]?.[0] === 'O';

/** A jump or call by a distance. */
export const isRelative = (d: Decoded): boolean => d.row.operands[0]?.[0] === 'J';
/** A jump that control may go on behind. */
export const isConditional = (d: Decoded): boolean => isRelative(d) && d.row.ends !== true;
/** A jump or call whose target is computed. */
export const isIndirect = (d: Decoded): boolean => (d.row.name === 'jmp' || d.row.name === 'call') && d.row.operands[0]?.[0] === 'E';

const notesOf = (d: Decoded): Notes => ({ targets: isIndirect(d), outcomes: isConditional(d) });

/** Two instructions with the same key run the same handler. */
export function shapeKey(d: Decoded): string {
  const operands = d.operands
    .map((o) => (o.kind === 'high' ? 'register' : o.kind) + o.size + (o.kind === 'immediate' ? `#${o.number}` : ''))
    .join();
  const parts = [
    meaningNumber(d.row.meaning),
    d.form.size,
    d.form.addressSize,
    d.form.long ? 'L' : '',
    d.form.rep,
    operands,
    isAbsolute(d) ? 'A' : '',
  ];
  if (d.row.name.endsWith('cc')) parts.push(`c${d.form.condition}`);
  if (isFarRelative(d)) parts.push('R');
  if (hasIndex(d)) parts.push('x');
  if (d.memory && isFlat(d)) parts.push('f');
  if (namesSegment(d)) parts.push(`s${d.form.segment}`);
  if (d.row.immediateInShape || d.row.modrmInShape) parts.push(`i${d.form.immediate}`);
  return parts.join(':');
}

class RecordOperand implements Operand<Node> {
  readonly size: number;
  readonly isMemory: boolean;
  readonly #o: HandlerOps;
  readonly #kind: DecodedOperand['kind'];
  /** Of a register. */
  readonly #place: Place;
  readonly #field: number;
  readonly #number: number;
  readonly #decoded: Decoded;
  #offset: Node | undefined;
  #linear: Node | undefined;
  #writable = false;

  constructor(o: HandlerOps, operand: DecodedOperand, position: number, decoded: Decoded) {
    this.size = operand.size;
    this.isMemory = operand.kind === 'memory';
    this.#o = o;
    this.#kind = operand.kind;
    this.#field = Record.operands + 2 * position;
    this.#place = o.stateAt(this.#field);
    this.#number = operand.number;
    this.#decoded = decoded;
  }

  read(): Node {
    return this.#read(false);
  }
  readForWrite(): Node {
    return this.#read(true);
  }
  #read(write: boolean): Node {
    const o = this.#o;
    switch (this.#kind) {
      case 'register':
      case 'high':
        return o.loadAt(this.#place, this.size as Size);
      case 'memory': {
        const address = this.#address(write);
        if (this.size === 128) return o.load128(address);
        return write ? o.loadForWrite(address, this.size as Size) : o.load(address, this.size as Size);
      }
      case 'immediate':
        return this.#number === 0 ? o.recordImmediate() : o.record16(this.#field);
      case 'segment':
        return o.helper('segmentSelector', o.record16(this.#field));
      case 'control':
        return o.helper('readControl', o.record16(this.#field));
      case 'debug':
        return o.helper('readDebug', o.record16(this.#field));
      case 'xmm':
        return this.size === 128 ? o.vectorAt(this.#place) : o.loadAt(this.#place, this.size as Size);
      case 'mmx':
        return o.loadAt(this.#place, this.size as Size);
    }
  }
  write(value: Node): void {
    const o = this.#o;
    switch (this.#kind) {
      case 'register':
      case 'high':
        o.storeAt(this.#place, this.size as Size, value);
        return;
      case 'mmx': // the exponent of the x87 register becomes all ones
        o.storeAt(this.#place, 64, value);
        o.storeAt({ ...this.#place, offset: this.#place.offset + 8 }, 16, o.constant(0xffff));
        return;
      case 'memory':
        if (this.size === 128) o.store128(this.#address(true), value);
        else o.store(this.#address(true), this.size as Size, value);
        return;
      case 'segment':
        o.helper('loadSegment', o.record16(this.#field), value);
        return;
      case 'control':
        o.helper('writeControl', o.record16(this.#field), value);
        return;
      case 'debug':
        o.helper('writeDebug', o.record16(this.#field), value);
        return;
      case 'xmm':
        if (this.size === 128) o.storeVectorAt(this.#place, value);
        else o.storeLow(this.#place, this.size as Size, value);
        return;
      case 'immediate':
        throw new Bug('write to an immediate');
    }
  }
  offset(): Node {
    if (this.#offset) return this.#offset;
    const o = this.#o;
    if (isAbsolute(this.#decoded)) {
      this.#offset = o.recordImmediate();
      return this.#offset;
    }
    const base = isFarRelative(this.#decoded) ? o.next() : o.loadAt(o.stateAt(Record.base), 64);
    const near = o.add(base, o.recordDisplacement());
    const sum = hasIndex(this.#decoded) ? o.add(near, o.shl(o.loadAt(o.stateAt(Record.index), 64), o.record8(Record.scale))) : near;
    const size = this.#decoded.form.addressSize;
    this.#offset = size === 64 ? sum : o.zeroExtend(sum, size);
    return this.#offset;
  }
  address(offset = 0): Node {
    return offset === 0 ? this.#address(false) : this.#o.add(this.#address(false), this.#o.constant(offset));
  }
  addressAt(displacement: Node): Node {
    const { addressSize } = this.#decoded.form;
    const sum = this.#o.add(this.offset(), displacement);
    return this.#linearOf(addressSize === 64 ? sum : this.#o.zeroExtend(sum, addressSize), this.size / 8, false);
  }
  #address(write: boolean): Node {
    if (this.#linear && (this.#writable || !write || this.#decoded.form.long)) return this.#linear;
    this.#writable = write;
    this.#linear = this.#linearOf(this.offset(), Math.max(1, this.size / 8), write);
    return this.#linear;
  }
  #linearOf(offset: Node, bytes: number, write: boolean): Node {
    return isFlat(this.#decoded) ? offset : this.#o.linearOfRecord(offset, bytes, write);
  }
}

const absent: Operand<Node> = new Proxy({} as Operand<Node>, {
  get: (_target, key) => {
    throw new Bug(`meaning uses an operand that its row does not have (${String(key)})`);
  },
});

/**
 * Runs the meanings of an instruction, or of several whose records follow each other. `restricted`: CR0 or CR4 may forbid floating point and vectors,
 * so that is looked at first.
 */
function write(o: HandlerOps, group: readonly Decoded[], restricted: boolean): void {
  for (const [n, decoded] of group.entries()) {
    if (n > 0) o.goOn(decoded.form, notesOf(decoded));
    if (restricted && needsFloat(decoded.row)) o.helper(needsFloat(decoded.row) === 'x87' ? 'checkFloat' : 'checkVector');
    const operand = (position: number): Operand<Node> => {
      const found = decoded.operands[position];
      return found ? new RecordOperand(o, found, position, decoded) : absent;
    };
    decoded.row.meaning(o, decoded.form, operand(0), operand(1), operand(2));
    if (isConditional(decoded)) o.noteOutcome(0);
  }
  o.fallThrough();
}

/** The handler as a function. */
export function makeHandler(
  name: string,
  group: readonly Decoded[],
  callIndex: (callee: Callee) => number,
  restricted: boolean,
): FunctionBody {
  const [first] = group as readonly [Decoded];
  const o = new FunctionOps(first.form, callIndex, notesOf(first));
  write(o, group, restricted);
  const code = o.graph.finish().op(Op.unreachable).bytes; // every path has returned
  return { name, signature: { parameters: ['i32', 'i32'], results: ['i32'] }, locals: o.locals, code };
}
/** The handler as a part of the dispatch loop; throws `NotInLoop` when it can't be one. */
export function makeLoopHandler(
  group: readonly Decoded[],
  base: number,
  host: GraphHost,
  goOn: (way: WayOn, out: Emitter) => void,
): readonly number[] {
  const [first] = group as readonly [Decoded];
  const o = new LoopOps(first.form, notesOf(first), base, host, goOn);
  write(o, group, false);
  return o.graph.finish().op(Op.unreachable).bytes;
}
