/**
 * Meanings as interpreter handlers. Operands come from the fields of the instruction's record, registers live in the vCPU's state, memory goes through the
 * software TLB in line. A handler is a function (function-ops.ts); that of what runs often is a part of the dispatch loop, too (loop-ops.ts).
 */

import { offsetOf, tlbSlotMask, tlbSlotShift } from '../../cpu/state.ts';
import type { Form, Size } from '../../isa/ops.ts';
import { pageBytes } from '../../memory/pool.ts';
import type { Graph, Node } from '../wasm/graph.ts';
import { Op, Simd } from '../wasm/opcodes.ts';
import { memoryCode, simdMemoryCode } from '../wasm/pieces.ts';
import { WasmOps } from '../wasm/wasm-ops.ts';
import { everBits, everOn, everTaken } from './outcomes.ts';
import { Record, recordBytes } from './record.ts';

/** What a jump notes in its record. */
export interface Notes {
  /** Where it went. */
  readonly targets: boolean;
  /** Whether it was taken. */
  readonly outcomes: boolean;
}
/** A place in machine memory. */
export interface Place {
  readonly address: Node;
  readonly offset: number;
}
const loads = { 8: Op.i64Load8U, 16: Op.i64Load16U, 32: Op.i64Load32U, 64: Op.i64Load } as const;
/** Of a part; the bytes above stay. */
const partStores = { 8: Op.i64Store8, 16: Op.i64Store16, 32: Op.i64Store32, 64: Op.i64Store } as const;

export abstract class HandlerOps extends WasmOps {
  abstract override readonly graph: Graph;
  /** The record of the first instruction. */
  protected abstract readonly first: Node;
  // the instruction at hand
  protected form: Form;
  protected notes: Notes;
  /** Where its record is, from the first one's: bytes. */
  protected at = 0;

  constructor(form: Form, notes: Notes) {
    super();
    this.form = form;
    this.notes = notes;
  }
  /** Goes on with the instruction whose record comes next, as the dispatch loop would. */
  goOn(form: Form, notes: Notes): void {
    this.form = form;
    this.notes = notes;
    this.at += recordBytes;
  }
  /** The address of the instruction's record. */
  get record(): Node {
    return this.at === 0 ? this.first : this.add32(this.first, this.i32(this.at));
  }
  /** Goes on at a record. */
  abstract leave(next: Node): void;

  // --- fields of the record; none that these give changes while its handler runs
  record16(offset: number): Node {
    return this.graph.node('i32', memoryCode(Op.i32Load16U, this.at + offset), [this.first], true, 16);
  }
  record8(offset: number): Node {
    return this.graph.node('i32', memoryCode(Op.i32Load8U, this.at + offset), [this.first], true, 8);
  }
  recordImmediate(): Node {
    return this.graph.node('i64', memoryCode(Op.i64Load, this.at + Record.immediate), [this.first], true);
  }
  recordDisplacement(): Node {
    return this.graph.node('i64', memoryCode(Op.i64Load32S, this.at + Record.displacement), [this.first], true);
  }
  /** A field that handlers change. */
  protected note32(offset: number): Node {
    return this.graph.node('i32', memoryCode(Op.i32Load, this.at + offset), [this.first], false, 32);
  }
  protected setNote32(offset: number, value: Node): void {
    this.graph.effect(memoryCode(Op.i32Store, this.at + offset), [this.first, value]);
  }

  // --- the state
  /** The place in the state whose offset a field of the record holds. */
  abstract stateAt(recordField: number): Place;
  protected inState(offset: number): Place {
    return { address: this.state, offset };
  }
  loadAt({ address, offset }: Place, size: Size): Node {
    return this.graph.node('i64', memoryCode(loads[size], offset), [address], false, size);
  }
  /** Register write: 32 bits clear the upper half, smaller sizes leave the rest. */
  storeAt({ address, offset }: Place, size: Size, value: Node): void {
    const op = size === 32 ? Op.i64Store : partStores[size];
    this.graph.effect(memoryCode(op, offset), [address, size === 32 ? this.zeroExtend(value, 32) : this.wide(value)]);
  }
  /** The low part of a vector register, or of memory; the rest stays. */
  storeLow({ address, offset }: Place, size: Size, value: Node): void {
    this.graph.effect(memoryCode(partStores[size], offset), [address, this.wide(value)]);
  }
  vectorAt({ address, offset }: Place): Node {
    return this.graph.node('v128', simdMemoryCode(Simd.load, offset), [address], false);
  }
  storeVectorAt({ address, offset }: Place, value: Node): void {
    this.graph.effect(simdMemoryCode(Simd.store, offset), [address, value]);
  }
  register(number: number, size: Size): Node {
    return this.loadAt(this.inState(offsetOf('gpr', number)), size);
  }
  setRegister(number: number, size: Size, value: Node): void {
    this.storeAt(this.inState(offsetOf('gpr', number)), size, value);
  }
  xmm(number: number): Node {
    return this.vectorAt(this.inState(offsetOf('xmm', number)));
  }
  setXmm(number: number, value: Node): void {
    this.storeVectorAt(this.inState(offsetOf('xmm', number)), value);
  }

  // --- memory
  /** Looks into the TLB: whether it has the bytes, and where they are in machine memory then. */
  protected probe(table: 'tlbRead' | 'tlbWrite', address: Node, bytes: number): { readonly has: Node; readonly host: () => Place } {
    const slot = this.and(
      this.graph.node('i32', [Op.i32ShrU], [this.narrow(address), this.i32(tlbSlotShift)], true, 32),
      this.i32(tlbSlotMask),
    );
    const entry = this.add32(this.field(table), slot);
    const page = this.and(this.add(address, this.constant(bytes - 1)), this.constant(-pageBytes));
    return {
      has: this.eq(this.loadAt({ address: entry, offset: 0 }, 64), page),
      host: () => ({
        address: this.add32(this.narrow(address), this.narrow(this.loadAt({ address: entry, offset: 8 }, 32))),
        offset: 0,
      }),
    };
  }
  linear(segment: number, offset: Node, bytes: number, write: boolean): Node {
    if (!this.form.long) return this.helper('linear', this.constant(segment), offset, this.constant(bytes), this.constant(write ? 1 : 0));
    return segment < 4 ? offset : this.add(offset, this.field('segmentBase', segment));
  }
  /** As `linear`, for the segment that the record names. */
  linearOfRecord(offset: Node, bytes: number, write: boolean): Node {
    if (this.form.long) return this.add(offset, this.loadAt(this.stateAt(Record.segment), 64));
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
  ip(): Node {
    return this.add(this.field('codePage'), this.wide(this.record16(Record.offset)));
  }
  next(): Node {
    return this.add(this.ip(), this.wide(this.record8(Record.length)));
  }
  /** Where a jump by a distance goes. */
  protected relativeTarget(): Node {
    return this.zeroExtend(this.add(this.next(), this.recordImmediate()), this.form.size);
  }
  /** A conditional jump notes whether it was taken. */
  noteOutcome(taken: 0 | 1): void {
    const before = this.note32(Record.outcomes);
    const latest = this.and(this.add32(before, before), this.i32(~everBits));
    const bits = taken === 1 ? everTaken | 1 : everOn;
    this.setNote32(Record.outcomes, this.or(this.or(this.and(before, this.i32(everBits)), latest), this.i32(bits)));
  }
  fallThrough(): void {
    this.leave(this.add32(this.first, this.i32(this.at + recordBytes)));
  }
}
