/** The locals of a region under construction: parts of the vCPU's state, each made when first named, and temporaries. */
import { offsetOf } from '../../cpu/state.ts';
import type { Emitter } from '../wasm/emitter.ts';
import type { GraphHost } from '../wasm/graph.ts';
import type { ValueType } from '../wasm/module.ts';
import { Op, Simd } from '../wasm/opcodes.ts';

/** gpr and xmm are written back when they were set; the flags always; the others are for the region itself. */
export type LocalName =
  | `gpr${number}`
  | `xmm${number}`
  /** The host address of a window of memory. */
  | `host${number}`
  /** Operands of the last flag-setting instruction, its result, and a word: `flagBits`, or a carry. */
  | 'flagA'
  | 'flagB'
  | 'flagResult'
  | 'flagWord'
  | 'flagOverflow'
  | 'codePage'
  | 'tlbRead'
  | 'tlbWrite'
  | 'fuel'
  /** 0: scalar floating point is not the host's; 1: exact operations are; 2: all are. */
  | 'hostFloat'
  /** Which way the region is left: see `exitWord`. */
  | 'exit'
  /** Where control goes on; and the place in the jump cache that tells how. */
  | 'exitIp'
  | 'exitEntry'
  /** The entry that the dispatcher goes to. */
  | 'entry'
  /** What records hold that enter this region. */
  | 'slot';

/** Names of registers' locals and of windows', made once: making one for each use takes longer than finding it. */
const gprNames: readonly LocalName[] = Array.from({ length: 16 }, (_, n) => `gpr${n}` as const);
const xmmNames: readonly LocalName[] = Array.from({ length: 16 }, (_, n) => `xmm${n}` as const);
const hostNames: readonly LocalName[] = Array.from({ length: 64 }, (_, n) => `host${n}` as const);
export const gprName = (n: number): LocalName => gprNames[n] as LocalName;
export const xmmName = (n: number): LocalName => xmmNames[n] as LocalName;
export const hostName = (n: number): LocalName => hostNames[n] ?? `host${n}`;

const typeOf = (name: LocalName): ValueType => {
  if (name.startsWith('gpr')) return 'i64';
  if (name.startsWith('xmm')) return 'v128';
  return name === 'flagA' || name === 'flagB' || name === 'flagResult' || name === 'codePage' || name === 'exit' || name === 'exitIp'
    ? 'i64'
    : 'i32';
};

const none = { i32: 0, i64: 0, f32: 0, f64: 0, v128: 0 } as const;

/** Parameters of a region: the state's address and the record that entered it. */
const parameters = 2;

export class RegionLocals implements GraphHost {
  readonly types: ValueType[] = [];
  readonly #named = new Map<LocalName, number>();
  readonly #written = new Set<LocalName>();
  readonly #pools: Readonly<Record<ValueType, number[]>> = { i32: [], i64: [], f32: [], f64: [], v128: [] };
  #taken: Record<ValueType, number> = { ...none };
  /** How many blocks, loops and ifs are open around the place where code is emitted. */
  depth = 0;
  /** Some instruction sets flags, so they are written back. */
  setsFlags = false;

  named(name: LocalName): number {
    const known = this.#named.get(name);
    if (known !== undefined) return known;
    const index = parameters + this.types.push(typeOf(name)) - 1;
    this.#named.set(name, index);
    return index;
  }
  /** The local of a part of the state that will be set. */
  written(name: LocalName): number {
    this.#written.add(name);
    return this.named(name);
  }
  has(name: LocalName): boolean {
    return this.#named.has(name);
  }

  temporary(type: ValueType): number {
    const pool = this.#pools[type];
    const n = this.#taken[type]++;
    const known = pool[n];
    if (known !== undefined) return known;
    const index = parameters + this.types.push(type) - 1;
    pool.push(index);
    return index;
  }
  /** Temporaries of the instruction before are free again. */
  nextInstruction(): void {
    this.#taken = { ...none };
  }
  /** Code that control does not come back from, in the middle of an instruction's: the instruction keeps its temporaries. */
  apart(emit: () => void): void {
    const taken = this.#taken;
    emit();
    this.#taken = taken;
  }
  enter(): void {
    this.depth++;
  }
  leave(): void {
    this.depth--;
  }

  /** Loads every named part of the state. */
  load(out: Emitter): void {
    for (const [name, index] of this.#named) loadPart(out, name, index);
  }
  /** Stores what was set of registers. */
  store(out: Emitter): void {
    for (const name of this.#written) {
      const number = Number(name.slice(3));
      if (name.startsWith('gpr')) out.get(0).get(this.named(name)).memory(Op.i64Store, offsetOf('gpr', number));
      else if (name.startsWith('xmm')) out.get(0).get(this.named(name)).simdMemory(Simd.store, offsetOf('xmm', number));
    }
  }
}

const loadOps = {
  flagResult: Op.i64Load,
  flagWord: Op.i32Load,
  codePage: Op.i64Load,
  tlbRead: Op.i32Load,
  tlbWrite: Op.i32Load,
  fuel: Op.i32Load,
} as const;
const isLoaded = (name: LocalName): name is keyof typeof loadOps => name in loadOps;

function loadPart(out: Emitter, name: LocalName, local: number): void {
  if (name.startsWith('gpr')) out.get(0).memory(Op.i64Load, offsetOf('gpr', Number(name.slice(3))));
  else if (name.startsWith('xmm')) out.get(0).simdMemory(Simd.load, offsetOf('xmm', Number(name.slice(3))));
  else if (isLoaded(name)) {
    out.get(0).memory(loadOps[name], offsetOf(name === 'flagWord' ? 'flagBits' : name));
    if (name === 'fuel') out.i32(1).op(Op.i32Add); // the dispatcher took one for the region as a whole
  } else return;
  out.set(local);
}
