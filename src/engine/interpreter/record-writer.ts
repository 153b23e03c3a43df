/** Writes decoded instructions as records, and the records between traces. */
import type { Processor } from '../../cpu/processor.ts';
import { offsetOf } from '../../cpu/state.ts';
import { type Decoded, type DecodedOperand, type DecodeFailure, type Decoder, longestInstruction } from '../../isa/decode.ts';
import { pageBytes } from '../../memory/pool.ts';
import type { CodePages } from './code-pages.ts';
import type { Way } from './groups.ts';
import { isAbsolute, isFarRelative, isRelative } from './handler.ts';
import type { Handlers } from './handlers.ts';
import { noOutcomes } from './outcomes.ts';
import { Record, recordBytes } from './record.ts';
import { Templates } from './templates.ts';

/** An instruction with its record. */
export interface Written {
  readonly record: number;
  readonly length: number;
  /** Whether control never goes on behind it. */
  readonly ends: boolean;
  /** Where in the page a jump or call by a distance leads in 64-bit code; -1 when it leaves the page, or is none. */
  readonly target: number;
}

export class RecordWriter {
  /** Instructions written so far. */
  count = 0;
  readonly #p: Processor;
  readonly #pages: CodePages;
  readonly #handlers: Handlers;
  readonly #decoder: Decoder;
  readonly #templates: Templates;

  constructor(p: Processor, pages: CodePages, handlers: Handlers, decoder: Decoder) {
    this.#p = p;
    this.#pages = pages;
    this.#handlers = handlers;
    this.#decoder = decoder;
    this.#templates = new Templates(decoder);
  }

  dispatchTo(record: number, handler: number): void {
    const { view } = this.#p.v.pool;
    view.setUint16(record + Record.handler, handler, true);
    view.setUint16(record + Record.own, handler, true);
  }
  /** Which page a record is of, and its offset there. */
  placeOf(record: number): readonly [page: number, offset: number] {
    const { view } = this.#p.v.pool;
    return [view.getUint32(record + Record.page, true), view.getUint16(record + Record.offset, true)];
  }
  pseudo(handler: number, page: number, offset: number, link: number): void {
    const at = this.#pages.allocate(recordBytes);
    const { view, bytes } = this.#p.v.pool;
    bytes.fill(0, at, at + recordBytes);
    this.dispatchTo(at, handler);
    view.setUint32(at + Record.page, page, true);
    view.setUint16(at + Record.offset, offset, true);
    view.setUint32(at + Record.link, link, true);
  }
  /**
   * Writes the record of the instruction at `start` in machine memory, `offset` in its page; undefined when it does not end before `end`. Bytes that are
   * no instruction end a trace, and are up to 15 long.
   */
  next(start: number, end: number, offset: number, mode: number): Written | undefined {
    const { v } = this.#p;
    const code = v.codeSize;
    const templates = code === 64 && start + longestInstruction <= end ? this.#templates : undefined;
    if (templates?.write(v.pool, start, (mode & 4) !== 0, this.#pages.room(recordBytes), offset)) {
      this.count++;
      return { record: this.#pages.allocate(recordBytes), length: templates.length, ends: templates.ends, target: templates.target };
    }
    const decoded = this.#decoder.decode(v.pool.bytes, start, end, code);
    if (decoded === 'short') return undefined;
    const record = this.write(decoded, offset);
    if (typeof decoded === 'string') return { record, length: longestInstruction, ends: true, target: -1 };
    templates?.add(decoded, v.pool.words, start, record);
    const target = code === 64 && isRelative(decoded) ? targetOf(decoded, offset) : -1;
    return { record, length: decoded.length, ends: decoded.row.ends, target };
  }
  /** Handlers are others from now on. */
  forget(): void {
    this.#templates.clear();
  }
  write(decoded: Decoded | DecodeFailure, offset: number): number {
    const at = this.#pages.allocate(recordBytes);
    const { view, bytes } = this.#p.v.pool;
    this.count++;
    bytes.fill(0, at, at + recordBytes);
    view.setUint16(at + Record.offset, offset, true);
    if (typeof decoded === 'string') {
      this.dispatchTo(at, this.#handlers.failure(decoded));
      return at;
    }
    this.dispatchTo(at, this.#handlers.of(decoded));
    bytes[at + Record.length] = decoded.length;
    decoded.operands.forEach((operand, n) => view.setUint16(at + Record.operands + 2 * n, operandField(operand, decoded), true));
    const immediate = isAbsolute(decoded) ? decoded.memory?.displacement : decoded.immediates[0];
    if (immediate !== undefined) view.setBigInt64(at + Record.immediate, BigInt.asIntN(64, immediate), true);
    bytes[at + Record.segmentNumber] = decoded.memory?.segment ?? 2;
    this.#memory(at, decoded, offset);
    if (isRelative(decoded)) {
      view.setUint32(at + Record.outcomes, noOutcomes, true);
      bytes[at + Record.inPage] = targetOf(decoded, offset) >= 0 ? 1 : 0;
    }
    return at;
  }
  /** Records in a row whose instructions have a handler together are dispatched to that one: the longest group, then the next behind it. */
  group(first: number, count: number): void {
    const { groups } = this.#handlers;
    const { view } = this.#p.v.pool;
    const end = first + count * recordBytes;
    for (let record = first; record < end; ) {
      if (!groups.begins(view.getUint16(record + Record.own, true))) {
        record += recordBytes;
        continue;
      }
      let behind = record + recordBytes;
      let handler = 0;
      let way: Way | undefined;
      for (let at = record; at < end; at += recordBytes) {
        way = groups.step(way, view.getUint16(at + Record.own, true));
        if (!way) break;
        if (way.handler !== 0) {
          handler = way.handler;
          behind = at + recordBytes;
        }
      }
      if (handler !== 0) this.#changeOwn(record, handler);
      record = behind;
    }
  }
  /** The record does its own instruction only. */
  ungroup(record: number): void {
    const single = this.#handlers.groups.firstOf(this.#p.v.pool.view.getUint16(record + Record.own, true));
    if (single !== undefined) this.#changeOwn(record, single);
  }
  #changeOwn(record: number, handler: number): void {
    const { view } = this.#p.v.pool;
    const isPlain = view.getUint16(record + Record.handler, true) === view.getUint16(record + Record.own, true);
    view.setUint16(record + Record.own, handler, true);
    if (isPlain) view.setUint16(record + Record.handler, handler, true);
  }
  #memory(at: number, decoded: Decoded, offset: number): void {
    const { view, bytes } = this.#p.v.pool;
    const zero = offsetOf('zero');
    const memory = decoded.memory;
    const relative = memory?.base === 16 && !isFarRelative(decoded);
    const register = (n: number): number => (n === 16 ? offsetOf('codePage') : n < 0 ? zero : offsetOf('gpr', n));
    view.setUint16(at + Record.base, register(memory?.base ?? -1), true);
    view.setUint16(at + Record.index, register(memory?.index ?? -1), true);
    bytes[at + Record.scale] = memory?.scale ?? 0;
    const segment = memory?.segment ?? -1;
    view.setUint16(at + Record.segment, segment >= (decoded.form.long ? 4 : 0) ? offsetOf('segmentBase', segment) : zero, true);
    if (!memory || isAbsolute(decoded)) return;
    const displacement = Number(memory.displacement) + (relative ? offset + decoded.length : 0);
    view.setInt32(at + Record.displacement, displacement, true);
  }
}

function targetOf(decoded: Decoded, offset: number): number {
  const target = offset + decoded.length + Number(decoded.immediates[0] ?? 0n);
  return target >= 0 && target < pageBytes ? target : -1;
}
/** What a record's operand field holds: the state offset of a register, or a small number. */
function operandField(operand: DecodedOperand, decoded: Decoded): number {
  switch (operand.kind) {
    case 'register':
      return offsetOf('gpr', operand.number);
    case 'high':
      return offsetOf('gpr', operand.number) + 1;
    case 'xmm':
      return offsetOf('xmm', operand.number);
    case 'mmx':
      return offsetOf('float', operand.number);
    case 'immediate':
      return Number((decoded.immediates[operand.number] ?? 0n) & 0xffffn);
    default:
      return operand.number;
  }
}
