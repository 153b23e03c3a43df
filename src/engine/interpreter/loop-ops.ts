/**
 * Handlers within the dispatch loop's function, without any call: registers and the loop's own values stay where V8 has them then. What takes more
 * (memory that the software TLB does not have, a jump to a place that the jump cache does not have) is left to the instruction's own function, before the
 * instruction has changed anything, or to the loop.
 */
import type { Form, Size } from '../../isa/ops.ts';
import type { Emitter } from '../wasm/emitter.ts';
import { Graph, type GraphHost, type Node } from '../wasm/graph.ts';
import { Op } from '../wasm/opcodes.ts';
import { set } from '../wasm/pieces.ts';
import { HandlerOps, type Notes, type Place } from './handler-ops.ts';
import { asItself, Record } from './record.ts';

/** The handler can't be within the loop: it needs a call, or what the loop looks at afterwards. */
export class NotInLoop {}

/** Locals of the loop's function. `next` is the record to go on with, or its address with `asItself`. */
export const Local = { state: 0, next: 1, record: 2, fuel: 3, handler: 4, entry: 5, ip: 6 } as const;

/** Ways on from a handler: the next record; the instruction of `next` by its own function; to the address in `ip`, from the jump of `record`. */
export type WayOn = 'next' | 'outside' | 'jump';

const refuse = (): never => {
  throw new NotInLoop();
};

export class LoopOps extends HandlerOps {
  readonly graph: Graph;
  readonly state: Node;
  protected readonly first: Node;
  readonly #base: number;
  readonly #goOn: (way: WayOn, out: Emitter) => void;

  /** `base`: the address of the state, which is a constant here. */
  constructor(form: Form, notes: Notes, base: number, host: GraphHost, goOn: (way: WayOn, out: Emitter) => void) {
    super(form, notes);
    this.graph = new Graph(host);
    this.state = this.graph.constant('i32', BigInt(base));
    this.first = this.graph.parameter(Local.record);
    this.#base = base;
    this.#goOn = goOn;
  }
  override goOn(form: Form, notes: Notes): void {
    super.goOn(form, notes);
    const fuel = this.graph.read('i32', Local.fuel);
    this.when(this.graph.node('i32', [Op.i32LtS], [fuel, this.i32(1)], true, 1), () => this.leave(this.record));
    this.graph.set(Local.fuel, this.graph.node('i32', [Op.i32Sub], [fuel, this.i32(1)], true, 32));
  }
  stateAt(recordField: number): Place {
    return { address: this.record16(recordField), offset: this.#base };
  }
  leave(next: Node): void {
    this.#leave('next', next);
  }
  #leave(way: WayOn, next: Node): void {
    this.graph.effect(set(Local.next), [next]);
    this.graph.place((out) => this.#goOn(way, out));
  }

  /** Nothing has been changed yet: accesses that can fault come before the first write (isa/ops.ts). */
  #leaveToFunction(): void {
    this.#leave('outside', this.or(this.record, this.i32(asItself)));
  }

  // --- memory
  #find(table: 'tlbRead' | 'tlbWrite', address: Node, bytes: number): Place {
    const { has, host } = this.probe(table, this.wide(address), bytes);
    this.when(this.isZero(has), () => this.#leaveToFunction());
    return host();
  }
  load(address: Node, size: Size): Node {
    return this.loadAt(this.#find('tlbRead', address, size / 8), size);
  }
  loadForWrite(address: Node, size: Size): Node {
    return this.loadAt(this.#find('tlbWrite', address, size / 8), size);
  }
  store(address: Node, size: Size, value: Node): void {
    this.storeLow(this.#find('tlbWrite', address, size / 8), size, value);
  }
  load128(address: Node): Node {
    return this.vectorAt(this.#find('tlbRead', address, 16));
  }
  store128(address: Node, value: Node): void {
    this.storeVectorAt(this.#find('tlbWrite', address, 16), value);
  }

  // --- control
  jump(target: Node): void {
    if (this.notes.targets) refuse();
    this.graph.set(Local.ip, this.wide(target));
    if (this.at > 0) this.graph.effect(set(Local.record), [this.record]);
    this.graph.place((out) => this.#goOn('jump', out));
  }
  jumpRelative(): void {
    if (this.notes.outcomes) this.noteOutcome(1);
    const link = this.note32(Record.link);
    this.when(link, () => this.leave(link));
    this.jump(this.relativeTarget());
  }
  fault(): void {
    this.#leaveToFunction();
  }
  enterFlat = refuse;
  again = refuse;
  bulk = refuse;
  exitNext = refuse;
  exitHere = refuse;
  float = refuse;
  x87 = refuse;
  helper = refuse;
}
