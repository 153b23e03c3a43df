/** The locals of a region under construction: parts of the vCPU's state, each made when first named, and temporaries. */
import { offsetOf } from '../../cpu/state.ts';
import { type GraphHost, memoryCode, simdMemoryCode } from '../wasm/graph.ts';
import { unsignedLeb, type ValueType } from '../wasm/module.ts';
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
  /** Which way the region is left: see `exitWord`; and to which offset. */
  | 'exit'
  | 'exitOffset'
  /** Where control goes on; and the place in the jump cache that tells how. */
  | 'exitIp'
  | 'exitEntry'
  /** The entry that the dispatcher goes to. */
  | 'entry'
  /** What records hold that enter this region. */
  | 'slot';

const typeOf = (name: LocalName): ValueType => {
  if (name.startsWith('gpr')) return 'i64';
  if (name.startsWith('xmm')) return 'v128';
  return name === 'flagA' || name === 'flagB' || name === 'flagResult' || name === 'codePage' || name === 'exitIp' ? 'i64' : 'i32';
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

  /** Code that loads every named part of the state. */
  loads(): number[] {
    const out: number[] = [];
    for (const [name, index] of this.#named) {
      const code = loadOf(name);
      if (code) out.push(Op.localGet, 0, ...code, Op.localSet, ...unsignedLeb(index));
    }
    return out;
  }
  /** Code that stores what was set of registers. */
  stores(): number[] {
    const out: number[] = [];
    for (const name of this.#written) {
      const number = Number(name.slice(3));
      const local = [Op.localGet, ...unsignedLeb(this.named(name))];
      if (name.startsWith('gpr')) out.push(Op.localGet, 0, ...local, ...memoryCode(Op.i64Store, offsetOf('gpr', number)));
      else if (name.startsWith('xmm')) out.push(Op.localGet, 0, ...local, ...simdMemoryCode(Simd.store, offsetOf('xmm', number)));
    }
    return out;
  }
}

function loadOf(name: LocalName): readonly number[] | undefined {
  if (name.startsWith('gpr')) return memoryCode(Op.i64Load, offsetOf('gpr', Number(name.slice(3))));
  if (name.startsWith('xmm')) return simdMemoryCode(Simd.load, offsetOf('xmm', Number(name.slice(3))));
  switch (name) {
    case 'flagResult':
      return memoryCode(Op.i64Load, offsetOf('flagResult'));
    case 'flagWord':
      return memoryCode(Op.i32Load, offsetOf('flagBits'));
    case 'codePage':
      return memoryCode(Op.i64Load, offsetOf('codePage'));
    case 'tlbRead':
      return memoryCode(Op.i32Load, offsetOf('tlbRead'));
    case 'tlbWrite':
      return memoryCode(Op.i32Load, offsetOf('tlbWrite'));
    case 'fuel': // the dispatcher took one for the region as a whole
      return [...memoryCode(Op.i32Load, offsetOf('fuel')), Op.i32Const, 1, Op.i32Add];
    default:
      return undefined;
  }
}
