/** Guest memory in a region: the software TLB in line, by windows; and which values lie at constant distances from each other. */

import type { Size } from '../../isa/ops.ts';
import { toFloat } from '../wasm/float-values.ts';
import type { Node } from '../wasm/graph.ts';
import { Op, Simd } from '../wasm/opcodes.ts';
import { LazyFlags } from './lazy-flags.ts';
import { hostName, type RegionLocals } from './region-locals.ts';
import type { Known } from './surroundings.ts';
import { type Relative, Window, type Windows } from './windows.ts';

const loads = { 8: Op.i64Load8U, 16: Op.i64Load16U, 32: Op.i64Load32U, 64: Op.i64Load } as const;
const stores = { 8: Op.i64Store8, 16: Op.i64Store16, 32: Op.i64Store32, 64: Op.i64Store } as const;
/** Places in `Known.values` behind those of the registers. */
export const [valueOfFs, valueOfGs] = [16, 17] as const;
const firstSegmentWithBase = 4;
/** Distances stay far within what numbers hold exactly. */
const distanceMax = 2 ** 40;

export abstract class RegionMemory extends LazyFlags {
  protected abstract override readonly locals: RegionLocals;
  protected abstract readonly windows: Windows;
  protected abstract readonly known: Known;
  /** What this instruction has loaded, and as floats too. */
  #loaded: Map<Node, { readonly window: Window; readonly distance: number; readonly size: Size }> | undefined;
  #floats: Map<Node, Node> | undefined;
  /** Values of this instruction. */
  #relatives: Map<Node, Relative> | undefined;

  protected abstract missesIf(condition: Node): void;
  protected abstract noteChange(): void;
  /** The code at hand runs on some ways only. */
  protected abstract get isNested(): boolean;

  // --- values at constant distances
  #note(node: Node, relative: Relative): Node {
    this.#relatives ??= new Map();
    this.#relatives.set(node, relative);
    return node;
  }
  #relativeOf(node: Node): Relative {
    const known = this.#relatives?.get(node);
    if (known) return known;
    const fresh = { origin: {}, distance: 0 };
    this.#note(node, fresh);
    return fresh;
  }
  /** Says that a node is the value that `origin` stands for. */
  protected relativeTo(origin: object, node: Node): Node {
    return this.#note(node, { origin, distance: 0 });
  }
  /** A register, or the base of a segment, as it was read. */
  protected readValue(n: number, node: Node): Node {
    const relative = this.known.values[n] ?? { origin: {}, distance: 0 };
    this.known.values[n] = relative;
    return this.#note(node, relative);
  }
  protected writeValue(n: number, node: Node): void {
    this.known.values[n] = this.#relatives?.get(node);
  }
  override add(a: Node, b: Node): Node {
    return this.#moved(super.add(a, b), a, b.constant, 1);
  }
  override sub(a: Node, b: Node): Node {
    return this.#moved(super.sub(a, b), a, b.constant, -1);
  }
  #moved(result: Node, from: Node, by: bigint | undefined, sign: 1 | -1): Node {
    const relative = by === undefined ? undefined : this.#relatives?.get(from);
    if (!relative || by === undefined) return result;
    const distance = relative.distance + sign * Number(BigInt.asIntN(64, by));
    return Math.abs(distance) < distanceMax ? this.#note(result, { origin: relative.origin, distance }) : result;
  }

  // --- memory
  /** What is added to an offset in a segment. */
  segmentBase(segment: number): Node {
    return this.readValue(valueOfFs + segment - firstSegmentWithBase, this.field('segmentBase', segment));
  }
  linear(segment: number, offset: Node): Node {
    return segment < firstSegmentWithBase ? offset : this.inSegment(segment, offset);
  }
  inSegment(segment: number, offset: Node): Node {
    const base = this.segmentBase(segment);
    return offset.constant === undefined ? this.add(offset, base) : this.add(base, offset);
  }
  /** The window that an access goes through; the region is left where the TLB does not have it. */
  #window(address: Node, bytes: number, writes: boolean): { readonly window: Window; readonly distance: number } {
    const relative = this.#relativeOf(address);
    const { known } = this;
    const block = this.isNested ? undefined : known.values;
    const found = this.windows.find(known.windows, relative, bytes, writes, block);
    if (found) return { window: found, distance: relative.distance };
    const host = this.locals.named(hostName(known.windowLocals++));
    const window = new Window(relative, bytes, writes, known.values, host);
    this.windows.open(this.graph, address, window, (condition) => this.missesIf(condition));
    known.windows = [...known.windows, window];
    return { window, distance: relative.distance };
  }
  #load(address: Node, size: Size, writes: boolean): Node {
    const { window, distance } = this.#window(this.wide(address), size / 8, writes);
    const node = this.graph.node('i64', window.access(loads[size], false, distance), [this.graph.read('i32', window.host)], false, size);
    if (size >= 32) {
      this.#loaded ??= new Map();
      this.#loaded.set(node, { window, distance, size });
    }
    return node;
  }
  /** Memory goes to the host's floats directly: loading twice takes less than the way over an integer register. */
  protected toFloat(bits: Node, size: 32 | 64): Node {
    const access = this.#loaded?.get(bits);
    if (access?.size !== size) return toFloat(this.graph, bits, size);
    let float = this.#floats?.get(bits);
    if (!float) {
      const { window, distance } = access;
      const code = window.access(size === 64 ? Op.f64Load : Op.f32Load, false, distance);
      float = this.graph.node(size === 64 ? 'f64' : 'f32', code, [this.graph.read('i32', window.host)], false);
      if (!this.isNested) {
        this.#floats ??= new Map();
        this.#floats.set(bits, float);
      }
    }
    return float;
  }
  override vector(low: Node, high: Node): Node {
    const access = high.constant === 0n ? this.#loaded?.get(low) : undefined;
    if (!access) return super.vector(low, high);
    const code = access.window.access(access.size === 64 ? Simd.load64Zero : Simd.load32Zero, true, access.distance);
    return this.graph.node('v128', code, [this.graph.read('i32', access.window.host)], false);
  }
  load(address: Node, size: Size): Node {
    return this.#load(address, size, false);
  }
  loadForWrite(address: Node, size: Size): Node {
    return this.#load(address, size, true);
  }
  store(address: Node, size: Size, value: Node): void {
    const { window, distance } = this.#window(this.wide(address), size / 8, true);
    this.graph.effect(window.access(stores[size], false, distance), [this.graph.read('i32', window.host), this.wide(value)]);
    this.noteChange();
  }
  load128(address: Node): Node {
    const { window, distance } = this.#window(this.wide(address), 16, false);
    return this.graph.node('v128', window.access(Simd.load, true, distance), [this.graph.read('i32', window.host)], false);
  }
  store128(address: Node, value: Node): void {
    const { window, distance } = this.#window(this.wide(address), 16, true);
    this.graph.effect(window.access(Simd.store, true, distance), [this.graph.read('i32', window.host), value]);
    this.noteChange();
  }
}
