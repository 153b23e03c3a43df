/** The table of handlers: made when a shape of instruction is first met, with the core's functions and regions of translated code beside them. */

import { Bug, present } from '../../base/assert.ts';
import { Fault, Vector } from '../../cpu/fault.ts';
import type { Processor } from '../../cpu/processor.ts';
import { At } from '../../cpu/state.ts';
import type { Decoded } from '../../isa/decode.ts';
import { helperNames } from '../../isa/helper-names.ts';
import { needsFloat } from '../../isa/instruction.ts';
import type { CompiledCode, EngineOptions } from '../options.ts';
import type { EngineProfile } from '../profile.ts';
import { type FunctionBody, Imports, ModuleBuilder } from '../wasm/module.ts';
import { Callees, calleeSignature } from './callees.ts';
import { commonCode } from './common-code.ts';
import { type coreImports, coreModule } from './core.ts';
import { Groups } from './groups.ts';
import { makeHandler, shapeKey } from './handler.ts';
import { LoopHandlers, loopModule } from './loop.ts';
import { countHandler, crossingHandler, firstHandler, handlersEnd, relookupHandler } from './record.ts';
import { ShapeMap } from './shapes.ts';

/** A region takes some 20 KiB of the host's memory with the machine code made of it. */
export const regionsMax = 12_288;
const tableSize = handlersEnd + regionsMax;

/** How many of the most common handlers the dispatch loop has in itself, as far as they can be there. */
const handlersInLoop = 500;

/** What the core calls about records: a place became hot; a region was left (only when profiled). */
export interface RecordCalls {
  readonly hot: (record: number) => void;
  readonly left: ((next: number, entered: number, retired: number) => void) | undefined;
}

export class Handlers {
  readonly run: (state: number, record: number) => void;
  /** Finds the record at `ip` without the jump cache; 0 when there is none. */
  readonly search: (state: number) => number;
  readonly #p: Processor;
  readonly #profile: EngineProfile | undefined;
  readonly #compiling: EngineOptions['compiling'];
  readonly #table = new WebAssembly.Table({ initial: tableSize, element: 'anyfunc' });
  readonly #imports: Record<string, WebAssembly.ExportValue> = {};
  readonly #handlers = new Map<string, number>();
  /** The same, by code mode: where nothing is restricted, and where it is. */
  readonly #byShape = [new ShapeMap<number>(), new ShapeMap<number>()] as const;
  #next = firstHandler;
  /** The handlers that the dispatch loop has in itself. */
  readonly #inLoop: ReadonlySet<number>;
  /** Made, but not compiled; and what they call. */
  #waiting: { readonly index: number; readonly body: FunctionBody }[] = [];
  #callees = new Callees();
  /** Those of several instructions. */
  readonly groups = new Groups();
  #nextSlot = handlersEnd;
  readonly #freeSlots: number[] = [];

  constructor(p: Processor, calls: RecordCalls, { profile, compiling }: EngineOptions) {
    this.#p = p;
    this.#profile = profile;
    this.#compiling = compiling;
    this.#addHelpers();
    const core = this.#instantiateCore(calls.hot);
    this.search = core.search as (state: number) => number;
    for (const [name, value] of Object.entries(core)) this.#imports[name] = value as WebAssembly.ExportValue;
    this.#table.set(relookupHandler, core.relookup as () => number);
    this.#table.set(countHandler, core.count as () => number);
    this.#table.set(crossingHandler, core.crossing as () => number);
    const env = { ...this.#imports, table: this.#table, ...calls };
    const inLoop = new LoopHandlers(p.v.base);
    this.#prepare((handler, group) => inLoop.codes.size < handlersInLoop && inLoop.add(handler, group));
    this.#inLoop = new Set(inLoop.codes.keys());
    const loop = this.instantiate(loopModule(inLoop, calls.left !== undefined), 'handlers', env);
    this.run = loop.run as (state: number, record: number) => void;
  }

  /** Makes functions of a module, which may import the memory and all that handlers and regions may call. */
  instantiate(
    from: BufferSource | WebAssembly.Module,
    code: CompiledCode,
    env: Record<string, unknown> = this.#imports,
  ): WebAssembly.Exports {
    const module = from instanceof WebAssembly.Module ? from : this.#compile(from, code);
    return new WebAssembly.Instance(module, { env: env as WebAssembly.ModuleImports }).exports;
  }
  #compile(bytes: BufferSource, code: CompiledCode): WebAssembly.Module {
    this.#compiling?.(code);
    return new WebAssembly.Module(bytes);
  }
  #instantiateCore(hot: RecordCalls['hot']): WebAssembly.Exports {
    const { paging } = this.#p;
    const slow: Record<(typeof coreImports)[number], (s: number, low: number, high: number, size: number) => number> = {
      loadSlow: (_s, low, high, size) => paging.loadSlow(low, high, size, 'read'),
      loadForWriteSlow: (_s, low, high, size) => paging.loadSlow(low, high, size, 'write'),
      storeSlow: (_s, low, high, size) => {
        paging.storeSlow(low, high, size);
        return 0;
      },
    };
    const profile = this.#profile;
    if (profile)
      for (const name of Object.keys(slow) as (keyof typeof slow)[]) {
        const plain = slow[name];
        slow[name] = (...args) => {
          profile.slowAccess();
          return plain(...args);
        };
      }
    return this.instantiate(coreModule(), 'handlers', { ...this.#imports, ...slow, hot });
  }
  #addHelpers(): void {
    const p = this.#p;
    this.#imports.memory = p.v.pool.memory;
    this.#imports.raise = ((vector: number, error: number) => {
      throw new Fault(vector, vector === Vector.protection || vector === Vector.stack ? error : undefined);
    }) as unknown as WebAssembly.ExportValue;
    for (const name of helperNames) {
      const helper = p.helpers[name];
      const u = (n: bigint): bigint => BigInt.asUintN(64, n);
      const call = (a = 0n, b = 0n, c = 0n, d = 0n, e = 0n): bigint => u(helper(p, u(a), u(b), u(c), u(d), u(e)) ?? 0n);
      const counted: typeof call = (...args) => {
        this.#profile?.helper(name);
        return call(...args);
      };
      for (let n = 0; n <= 5; n++)
        this.#imports[`helper:${name}/${n}`] = (this.#profile ? counted : call) as unknown as WebAssembly.ExportValue;
    }
  }

  /** How many shapes there are. */
  get count(): number {
    return this.#handlers.size;
  }
  /** Whether so many new shapes may be too many. */
  isNearlyFull(more: number): boolean {
    return this.#next + more > handlersEnd;
  }
  /** Forgets all handlers but those that guests mostly need; no record may be left that names one. */
  forget(): void {
    this.#handlers.clear();
    for (const shapes of this.#byShape) shapes.clear();
    this.groups.clear();
    this.#next = firstHandler;
    this.#prepare((handler) => this.#inLoop.has(handler));
  }
  /**
   * Makes those that guests mostly need, in one module: each module takes as long as many handlers. They have the same numbers each time. `isInLoop` says which the
   * dispatch loop has in itself. What a group leaves to its function there, that of its first instruction does.
   */
  #prepare(isInLoop: (handler: number, group: readonly Decoded[]) => boolean): void {
    const { decoder } = this.#p;
    const asFirst: [handler: number, first: number][] = [];
    for (const code of commonCode) {
      const group = code.split(' ').map((hex) => {
        const bytes = Uint8Array.from({ length: hex.length / 2 }, (_, n) => Number.parseInt(hex.slice(2 * n, 2 * n + 2), 16));
        return decoder.decode(bytes, 0, bytes.length, 64);
      });
      if (!group.every((d) => typeof d !== 'string')) continue; // not on this CPU
      const handlers = group.map((d) => this.#of(d, false));
      const [first = 0] = handlers;
      if (handlers.length === 1) isInLoop(first, group);
      else {
        const handler = this.#number();
        this.groups.add(handlers, handler);
        if (isInLoop(handler, group)) asFirst.push([handler, first]);
        else this.#make(handler, group, false);
      }
    }
    this.compile();
    for (const [handler, first] of asFirst) this.#table.set(handler, this.#table.get(first));
  }
  /** The handler of an instruction; it is made in `compile`. */
  of(decoded: Decoded): number {
    const isRestricted = (Number(this.#p.v.get64(At.codeMode)) & 4) !== 0;
    return this.#of(decoded, isRestricted && needsFloat(decoded.row) !== undefined);
  }
  #of(decoded: Decoded, restricted: boolean): number {
    const shapes = this.#byShape[restricted ? 1 : 0];
    let index = shapes.get(decoded);
    if (index !== undefined) return index;
    const key = (restricted ? '!' : '') + shapeKey(decoded);
    index = this.#handlers.get(key);
    if (index === undefined) {
      index = this.#number();
      this.#make(index, [decoded], restricted);
      this.#handlers.set(key, index);
    }
    shapes.set(decoded, index);
    return index;
  }
  /** The handler of bytes that are no instruction: it raises the fault. */
  failure(failure: 'undefined' | 'long' | 'short'): number {
    const key = `failure:${failure}`;
    const known = this.#handlers.get(key);
    if (known !== undefined) return known;
    const index = this.#number();
    this.#handlers.set(key, index);
    const vector = failure === 'undefined' ? Vector.undefined : Vector.protection;
    const imports = new Imports();
    const raise = imports.function('raise', calleeSignature('raise'));
    const module = new ModuleBuilder(imports);
    module.add({
      name: 'f',
      signature: { parameters: ['i32', 'i32'], results: ['i32'] },
      locals: [],
      code: [0x41, vector, 0x41, 0, 0x10, raise, 0x00],
    });
    this.#install(module, [index], ['f']);
    return index;
  }
  #number(): number {
    if (this.#next >= handlersEnd) throw new Bug('more instruction shapes than handlers');
    return this.#next++;
  }
  /** Makes a handler's function; it is compiled later. */
  #make(index: number, group: readonly Decoded[], restricted: boolean): void {
    this.#waiting.push({ index, body: makeHandler(`h${index}`, group, this.#callees.number, restricted) });
  }
  /** Compiles the handlers that were asked for. */
  compile(): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    const module = new ModuleBuilder(this.#callees.imports());
    this.#waiting = [];
    this.#callees = new Callees();
    for (const { body } of waiting) module.add(body);
    this.#install(
      module,
      waiting.map((w) => w.index),
      waiting.map((w) => w.body.name),
    );
  }
  #install(module: ModuleBuilder, indices: readonly number[], names: readonly string[]): void {
    const functions = this.instantiate(module.bytes(), 'handlers');
    indices.forEach((index, n) => this.#table.set(index, present(functions[names[n] ?? ''], 'handler') as () => number));
  }

  /** Gives a region a place in the table, which has `regionsMax` of them. */
  addRegion(region: () => number): number {
    const slot = this.#freeSlots.pop() ?? this.#nextSlot++;
    if (slot >= tableSize) throw new Bug('more regions than places for them');
    this.#table.set(slot, region);
    return slot;
  }
  removeRegion(slot: number): void {
    this.#table.set(slot, null);
    this.#freeSlots.push(slot);
  }
}
