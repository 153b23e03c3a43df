/**
 * Windows: stretches of guest memory at constant distances from one value (a stack pointer, a structure's address), for which a region looks into
 * the software TLB once. The first access makes the check for all; later ones widen it, which is possible because code is emitted last.
 */
import { tlbSlotMask, tlbSlotShift } from '../../cpu/state.ts';
import { Emitter } from '../wasm/emitter.ts';
import type { Graph, Node } from '../wasm/graph.ts';
import { Op } from '../wasm/opcodes.ts';
import { memoryCode } from '../wasm/pieces.ts';
import type { RegionLocals } from './region-locals.ts';

/** A value as a constant distance from another one, whatever that is. */
export interface Relative {
  readonly origin: object;
  readonly distance: number;
}

/** A window is as wide as this at most: one that lies across two pages cannot be used at all. */
const bytesMax = 128;

interface Access {
  readonly code: Emitter;
  readonly op: number;
  readonly isVector: boolean;
  readonly distance: number;
}

export class Window {
  readonly origin: object;
  /** Where it was opened: elsewhere it is not made writable any more. */
  readonly block: object;
  /** Index of the local that holds the host address of its lowest byte. */
  readonly host: number;
  writes: boolean;
  #low: number;
  #high: number;
  readonly #first: number;
  readonly #accesses: Access[] = [];
  /** Code that is filled in by `finish`. */
  readonly toLowest = new Emitter();
  readonly toHighest = new Emitter();
  readonly table = new Emitter();

  constructor({ origin, distance }: Relative, bytes: number, writes: boolean, block: object, host: number) {
    this.origin = origin;
    this.block = block;
    this.host = host;
    this.writes = writes;
    this.#first = distance;
    this.#low = distance;
    this.#high = distance + bytes;
  }
  /** Makes room for an access; false when it is too far away. */
  takes(distance: number, bytes: number, most = bytesMax): boolean {
    const [low, high] = [Math.min(this.#low, distance), Math.max(this.#high, distance + bytes)];
    if (high - low > Math.max(most, this.#high - this.#low)) return false;
    this.#low = low;
    this.#high = high;
    return true;
  }
  /** The code of an access, to be filled in. */
  access(op: number, isVector: boolean, distance: number): readonly number[] {
    const code = new Emitter();
    this.#accesses.push({ code, op, isVector, distance });
    return code.bytes;
  }
  finish(locals: RegionLocals): void {
    const add = (code: Emitter, n: number): void => {
      if (n !== 0) code.i64(BigInt(n)).op(Op.i64Add);
    };
    add(this.toLowest, this.#low - this.#first);
    add(this.toHighest, this.#high - 1 - this.#first);
    this.table.get(locals.named(this.writes ? 'tlbWrite' : 'tlbRead'));
    for (const { code, op, isVector, distance } of this.#accesses) {
      if (isVector) code.simdMemory(op, distance - this.#low);
      else code.memory(op, distance - this.#low);
    }
  }
}

/** The windows of a region. */
export class Windows {
  readonly #locals: RegionLocals;
  /** Each access has a window of its own: those that others share lay across pages too often. */
  readonly #narrow: boolean;
  readonly #all: Window[] = [];

  constructor(locals: RegionLocals, narrow: boolean) {
    this.#locals = locals;
    this.#narrow = narrow;
  }
  /** The window of `open` that an access may use, wide enough for it. */
  find(
    open: readonly Window[],
    { origin, distance }: Relative,
    bytes: number,
    writes: boolean,
    block: object | undefined,
  ): Window | undefined {
    return open.find((w) => {
      if (w.origin !== origin || (writes && !w.writes && w.block !== block)) return false;
      if (!w.takes(distance, bytes, this.#narrow ? 0 : bytesMax)) return false;
      w.writes ||= writes;
      return true;
    });
  }
  /** Emits the check at the first access. `miss` takes the condition under which the region is left. */
  open(graph: Graph, first: Node, window: Window, miss: (condition: Node) => void): void {
    this.#all.push(window);
    const constant = (n: number): Node => graph.constant('i32', BigInt(n));
    const i32 = (op: number, a: Node, b: Node): Node => graph.node('i32', [op], [a, b], true, 32);
    const lowest = graph.node('i32', [Op.i32WrapI64], [graph.node('i64', window.toLowest.bytes, [first], true)], true, 32);
    const slot = i32(Op.i32And, i32(Op.i32ShrU, lowest, constant(tlbSlotShift)), constant(tlbSlotMask));
    const entry = i32(Op.i32Add, graph.node('i32', window.table.bytes, [], true, 32), slot);
    const tag = graph.node('i64', memoryCode(Op.i64Load, 0), [entry], true);
    const highest = graph.node('i64', window.toHighest.bytes, [first], true);
    const page = graph.node('i64', [Op.i64And], [highest, graph.constant('i64', -4096n)], true);
    miss(graph.node('i32', [Op.i64Ne], [tag, page], true, 1));
    graph.set(window.host, i32(Op.i32Add, lowest, graph.node('i32', memoryCode(Op.i32Load, 8), [entry], true, 32)));
  }
  finish(): void {
    for (const window of this.#all) window.finish(this.#locals);
  }
}
