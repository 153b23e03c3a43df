/**
 * The dispatch loop: a module of two functions. `dispatch` has the handlers of what runs most in itself and calls nothing; `run` around it calls what else there
 * is: other handlers, regions, the search for code by address.
 */
import { offsetOf, type StateField } from '../../cpu/state.ts';
import type { Decoded } from '../../isa/decode.ts';
import { Emitter } from '../wasm/emitter.ts';
import type { GraphHost } from '../wasm/graph.ts';
import { type FunctionBody, Imports, ModuleBuilder, type ValueType } from '../wasm/module.ts';
import { Op } from '../wasm/opcodes.ts';
import { makeLoopHandler } from './handler.ts';
import { cachedRecord, isCached } from './jump-cache.ts';
import { Local, NotInLoop, type WayOn } from './loop-ops.ts';
import { asItself, countHandler, gotoHandler, handlersEnd, longCode, missedBit, Outcome, outcomeMax, Record } from './record.ts';

/** What `dispatch` gives to have code looked up by `ip`, for a jump in the current record. It is none of the outcomes. */
const jumpOutside = 2;

class LoopEmitter extends Emitter {
  load(local: number, field: StateField): this {
    return this.get(local).memory(Op.i32Load, offsetOf(field));
  }
  /** Puts the local's value into a field of the state. */
  keep(field: StateField, local: number): this {
    return this.get(Local.state).get(local).memory(Op.i32Store, offsetOf(field));
  }
}

/** Locals for the values of one handler, which all of them share. */
class Temporaries implements GraphHost {
  readonly types: ValueType[];
  /** How many blocks the code at hand is in, within its handler. */
  depth = 0;
  readonly #locals = new Map<ValueType, number[]>();
  readonly #used = new Map<ValueType, number>();

  constructor(fixed: readonly ValueType[]) {
    this.types = [...fixed];
  }
  startHandler(): void {
    this.#used.clear();
    this.depth = 0;
  }
  temporary(type: ValueType): number {
    let locals = this.#locals.get(type);
    if (!locals) {
      locals = [];
      this.#locals.set(type, locals);
    }
    const used = this.#used.get(type) ?? 0;
    this.#used.set(type, used + 1);
    if (used === locals.length) locals.push(this.types.push(type) - 1);
    return locals[used] as number;
  }
  enter(): void {
    this.depth++;
  }
  leave(): void {
    this.depth--;
  }
}

/** The handlers that are in the loop. */
export class LoopHandlers {
  readonly #base: number;
  /** The locals of `dispatch`: state, record and the like, as `Local` numbers them, and those of the handlers. */
  readonly temporaries = new Temporaries(['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i64']);
  /** The code of each, by number. Those added before are around it. */
  readonly codes = new Map<number, readonly number[]>();

  /** `base`: the address of the vCPU's state. */
  constructor(base: number) {
    this.#base = base;
  }
  /** Adds the handler of an instruction, or of several in a row; false when it can't be in the loop. */
  add(handler: number, group: readonly Decoded[]): boolean {
    const { temporaries, codes } = this;
    const around = codes.size;
    const goOn = (way: WayOn, out: Emitter): void => {
      out.branch(temporaries.depth + around + { outside: 0, jump: 1, next: 2 }[way]);
    };
    temporaries.startHandler();
    try {
      codes.set(handler, makeLoopHandler(group, this.#base, temporaries, goOn));
      return true;
    } catch (problem) {
      if (!(problem instanceof NotInLoop)) throw problem;
      return false;
    }
  }
}

/** dispatch(state, next): runs handlers; gives the record whose function is to be called, 0 when the fuel is spent, or `jumpOutside`. */
function dispatchFunction({ codes, temporaries }: LoopHandlers): FunctionBody {
  const out = new LoopEmitter();
  const handlers = [...codes].reverse();
  const count = handlers.length;
  const { state, next, record, fuel, handler, entry, ip } = Local;

  out.load(state, 'fuel').set(fuel);
  out.open(Op.loop);
  for (let n = 0; n < count + 3; n++) out.open(Op.block); // jump, outside, the handlers, goto
  out.get(next).i32(-8).op(Op.i32And).set(record);
  out.get(fuel).i32(1).op(Op.i32Sub).tee(fuel).i32(0).op(Op.i32LtS).if();
  out.get(fuel).i32(1).op(Op.i32Add).set(fuel);
  out.keep('fuel', fuel).keep('record', record).i32(0).op(Op.return).end();
  // an entry of code that is not translated is counted; the function does that when it has been entered often enough
  out.get(next).memory(Op.i32Load16U, Record.handler).tee(handler).i32(countHandler).op(Op.i32Eq).if();
  out.get(record).memory(Op.i32Load16U, Record.entry).i32(1).op(Op.i32Add).tee(entry);
  out
    .load(state, 'hotEntries')
    .op(Op.i32GeU)
    .op(Op.brIf)
    .unsigned(count + 2);
  out.get(record).get(entry).memory(Op.i32Store16, Record.entry);
  out.get(next).i32(asItself).op(Op.i32Or).set(next);
  out.get(record).memory(Op.i32Load16U, Record.own).set(handler);
  out.end();
  const [goto, outside] = [0, count + 1];
  const depths: number[] = [];
  for (const [n, [number]] of handlers.entries()) depths[number] = n + 1;
  depths[gotoHandler] = goto;
  out.get(handler).op(Op.brTable).unsigned(depths.length);
  for (let n = 0; n < depths.length; n++) out.unsigned(depths[n] ?? outside);
  out.unsigned(outside).end();
  out.get(fuel).i32(1).op(Op.i32Add).set(fuel); // it costs none
  out
    .get(record)
    .memory(Op.i32Load, Record.link)
    .set(next)
    .branch(count + 2)
    .end();
  for (const [, code] of handlers) out.append(code).end();

  out.keep('fuel', fuel);
  out.get(state).get(next).i32(-8).op(Op.i32And).memory(Op.i32Store, offsetOf('record'));
  out.get(next).op(Op.return).end();

  isCached(out, { ip, entry });
  out.op(Op.i32Eqz).if();
  out.get(state).get(ip).memory(Op.i64Store, offsetOf('ip')).keep('fuel', fuel).keep('record', record);
  out.i32(jumpOutside).op(Op.return).end();
  cachedRecord(out, { ip, entry });
  out.set(next);
  link(out, record, next);
  out.branch(0).end().op(Op.unreachable);
  return {
    name: 'dispatch',
    signature: { parameters: ['i32', 'i32'], results: ['i32'] },
    locals: temporaries.types.slice(2),
    code: out.bytes,
  };
}
/** A jump that stays in its page remembers where it goes. */
function link(out: Emitter, from: number, to: number): void {
  out.get(from).memory(Op.i32Load8U, Record.inPage).if();
  out.get(from).get(to).memory(Op.i32Store, Record.link).end();
}

/** What `run` calls: numbers of functions, and of the handlers' signature. `left` only when profiled: every place where a region leaves an instruction to the interpreter. */
interface Called {
  readonly dispatch: number;
  readonly lookup: number;
  readonly left: number | undefined;
  readonly handler: number;
}
/** run(state, next): until the fuel is spent or a handler leaves. A handler gives the next record, 0 to leave, or an `Outcome`. */
function runFunction(called: Called): FunctionBody {
  const out = new LoopEmitter();
  const [state, next, record, fuel, found, word] = [0, 1, 2, 3, 4, 5];
  out.open(Op.loop);
  out.open(Op.block);
  out.get(next).memory(Op.i32Load16U, Record.handler).i32(handlersEnd).op(Op.i32LtU).if();
  out.get(state).get(next).op(Op.call).unsigned(called.dispatch).tee(next);
  out.i32(outcomeMax).op(Op.i32LeU).op(Op.brIf).unsigned(1);
  out.get(next).i32(-8).op(Op.i32And).set(record).load(state, 'fuel').set(fuel);
  out.op(Op.else); // regions follow each other
  out.get(next).i32(-8).op(Op.i32And).set(record).keep('record', record);
  out.load(state, 'fuel').i32(1).op(Op.i32Sub).tee(fuel).i32(0).op(Op.i32LtS).if().op(Op.return).end();
  out.keep('fuel', fuel).end();
  out.get(state).get(record).get(next).memory(Op.i32Load16U, Record.handler);
  out.op(Op.callIndirect).unsigned(called.handler).op(0).tee(next).i32(outcomeMax).op(Op.i32GtU).op(Op.brIf).unsigned(1);
  out.end();

  out.get(next).op(Op.i32Eqz).if().op(Op.return).end();
  out.get(next).i32(missedBit).op(Op.i32And).if();
  out.get(state).load(state, 'misses').i32(1).op(Op.i32Add).memory(Op.i32Store, offsetOf('misses')).keep('missedIn', record).end();
  out.get(state).op(Op.call).unsigned(called.lookup).tee(found).op(Op.i32Eqz).if().op(Op.return).end();
  out.get(next).i32(jumpOutside).op(Op.i32Eq).if();
  link(out.load(state, 'record').set(record), record, found);
  out.get(found).set(next).branch(1).end();
  // where regions are left for, entries are counted: that place may have been the middle of a trace so far
  out.get(found).memory(Op.i32Load, Record.handler).tee(word).i32(16).op(Op.i32Rotl).get(word).op(Op.i32Eq); // the instruction's own
  out.get(next).i32(Outcome.goOn).op(Op.i32Eq).op(Op.i32And);
  out.get(found).memory(Op.i32Load, Record.page).i32(3).op(Op.i32And).i32(longCode).op(Op.i32Eq).op(Op.i32And).if();
  out.get(found).i32(countHandler).memory(Op.i32Store16, Record.handler).end();
  out.get(found).get(next).i32(asItself).op(Op.i32And).op(Op.i32Or).set(next);
  if (called.left !== undefined) {
    out.get(next).get(record).get(fuel).i32(1).op(Op.i32Add).load(state, 'fuel').op(Op.i32Sub);
    out.op(Op.call).unsigned(called.left);
  }
  out.branch(0).end();
  return { name: 'run', signature: { parameters: ['i32', 'i32'], results: [] }, locals: ['i32', 'i32', 'i32', 'i32'], code: out.bytes };
}

/** The module imports the table of handlers, `lookup` and, if `profiled`, `left`. */
export function loopModule(handlers: LoopHandlers, profiled: boolean): Uint8Array<ArrayBuffer> {
  const imports = new Imports();
  imports.memory();
  imports.table();
  const lookup = imports.function('lookup', { parameters: ['i32'], results: ['i32'] });
  const left = profiled ? imports.function('left', { parameters: ['i32', 'i32', 'i32'], results: [] }) : undefined;
  const handler = imports.type({ parameters: ['i32', 'i32'], results: ['i32'] });
  const module = new ModuleBuilder(imports);
  const dispatch = module.add(dispatchFunction(handlers));
  module.add(runFunction({ dispatch, lookup, left, handler }));
  return module.bytes();
}
