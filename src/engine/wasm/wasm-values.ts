/** Values over a graph of nodes: the verbs of `Ops` that only compute, with constants folded and widths known. */
import type { Size } from '../../isa/ops.ts';
import type { Graph, Node } from './graph.ts';
import { Op } from './opcodes.ts';

const masks: Readonly<Record<Size, bigint>> = { 8: 0xffn, 16: 0xffffn, 32: 0xffff_ffffn, 64: 0xffff_ffff_ffff_ffffn };

type Fold = (a: bigint, b: bigint) => bigint;
const extension: readonly number[] = [Op.i64ExtendI32U];
const signed = (a: bigint): bigint => BigInt.asIntN(64, a);
/** Operations on two constants, unsigned 64-bit. */
const foldable: Partial<Record<number, Fold>> = {
  [Op.i64Add]: (a, b) => a + b,
  [Op.i64Sub]: (a, b) => a - b,
  [Op.i64And]: (a, b) => a & b,
  [Op.i64Or]: (a, b) => a | b,
  [Op.i64Xor]: (a, b) => a ^ b,
  [Op.i64Shl]: (a, b) => a << (b & 63n),
  [Op.i64ShrU]: (a, b) => a >> (b & 63n),
  [Op.i64ShrS]: (a, b) => signed(a) >> (b & 63n),
};

/** The same of 32 bits, for operands that have no more: V8's first compiler joins these with their branch. Signs are for those of 31. */
const narrowed: Partial<Record<number, number>> = {
  [Op.i64Eq]: Op.i32Eq,
  [Op.i64Ne]: Op.i32Ne,
  [Op.i64LtU]: Op.i32LtU,
  [Op.i64LtS]: Op.i32LtS,
};

const comparisons: Partial<Record<number, (a: bigint, b: bigint) => boolean>> = {
  [Op.i64Eq]: (a, b) => a === b,
  [Op.i64Ne]: (a, b) => a !== b,
  [Op.i64LtU]: (a, b) => a < b,
  [Op.i64LtS]: (a, b) => signed(a) < signed(b),
};

const isNarrow = (a: Node): boolean => a.type === 'i32' || a.bits <= 32;

export abstract class WasmValues {
  abstract readonly graph: Graph;

  wide(a: Node): Node {
    if (a.type === 'i64') return a;
    if (a.constant !== undefined) return this.constant(a.constant & 0xffff_ffffn);
    return this.graph.node('i64', extension, [a], true, a.bits);
  }
  narrow(a: Node): Node {
    if (a.constant !== undefined && a.type === 'i64') return this.graph.constant('i32', BigInt.asIntN(32, a.constant));
    if (a.type === 'i32') return a;
    const [inner] = a.args;
    if (inner && a.code === extension) return inner;
    return this.graph.node('i32', [Op.i32WrapI64], [a], true, Math.min(a.bits, 32));
  }
  /** As a condition: any value but zero. */
  protected truth(a: Node): Node {
    return isNarrow(a) ? this.narrow(a) : this.graph.node('i32', [Op.i64Ne], [a, this.constant(0)], true, 1);
  }
  protected binary(op: number, a: Node, b: Node, bits = 64): Node {
    const x = this.wide(a);
    const y = this.wide(b);
    if (x.constant !== undefined && y.constant !== undefined) {
      const value = foldable[op]?.(x.constant, y.constant);
      if (value !== undefined) return this.constant(value);
    }
    // V8's first compiler has an instruction for a sum with a constant, and three for a difference
    if (op === Op.i64Sub && y.constant !== undefined)
      return this.graph.node('i64', [Op.i64Add], [x, this.constant(-y.constant)], true, bits);
    return this.graph.node('i64', [op], [x, y], true, bits);
  }
  protected compare(op: number, a: Node, b: Node): Node {
    if (a.constant !== undefined && b.constant !== undefined) return this.i32(comparisons[op]?.(a.constant, b.constant) ? 1 : 0);
    const most = op === Op.i64LtS ? 31 : 32;
    const narrow = a.bits <= most && b.bits <= most ? narrowed[op] : undefined;
    if (narrow !== undefined) return this.graph.node('i32', [narrow], [this.narrow(a), this.narrow(b)], true, 1);
    return this.graph.node('i32', [op], [this.wide(a), this.wide(b)], true, 1);
  }
  i32(value: number): Node {
    return this.graph.constant('i32', BigInt(value));
  }
  protected add32(a: Node, b: Node): Node {
    return this.graph.node('i32', [Op.i32Add], [a, b], true, 32);
  }

  // --- values
  constant(value: bigint | number): Node {
    return this.graph.constant('i64', BigInt(value));
  }
  add(a: Node, b: Node): Node {
    if (b.constant === 0n) return this.wide(a);
    return this.binary(Op.i64Add, a, b);
  }
  sub(a: Node, b: Node): Node {
    if (a === b) return this.constant(0);
    return this.binary(Op.i64Sub, a, b);
  }
  mul(a: Node, b: Node): Node {
    return this.binary(Op.i64Mul, a, b);
  }
  protected logic(op64: number, op32: number, a: Node, b: Node, bits: number): Node {
    if (a.type === 'i32' && b.type === 'i32') return this.graph.node('i32', [op32], [a, b], true, bits);
    return this.binary(op64, a, b, bits);
  }
  and(a: Node, b: Node): Node {
    if (a === b) return a;
    return this.logic(Op.i64And, Op.i32And, a, b, Math.min(a.bits, b.bits));
  }
  or(a: Node, b: Node): Node {
    if (a === b) return a;
    return this.logic(Op.i64Or, Op.i32Or, a, b, Math.max(a.bits, b.bits));
  }
  xor(a: Node, b: Node): Node {
    if (a === b) return a.type === 'i32' ? this.i32(0) : this.constant(0);
    return this.logic(Op.i64Xor, Op.i32Xor, a, b, Math.max(a.bits, b.bits));
  }
  shl(a: Node, n: Node): Node {
    if (n.constant === 0n) return this.wide(a);
    return this.binary(Op.i64Shl, a, n);
  }
  shr(a: Node, n: Node): Node {
    if (n.constant === 0n) return this.wide(a);
    return this.binary(Op.i64ShrU, a, n, n.constant === undefined ? a.bits : Math.max(1, a.bits - Number(n.constant & 63n)));
  }
  sar(a: Node, n: Node): Node {
    return this.binary(Op.i64ShrS, a, n);
  }
  divu(a: Node, b: Node): Node {
    return this.impure(Op.i64DivU, a, b);
  }
  remu(a: Node, b: Node): Node {
    return this.impure(Op.i64RemU, a, b);
  }
  divs(a: Node, b: Node): Node {
    return this.impure(Op.i64DivS, a, b);
  }
  rems(a: Node, b: Node): Node {
    return this.impure(Op.i64RemS, a, b);
  }
  /** Division traps, so it keeps its place behind the meaning's check. */
  protected impure(op: number, a: Node, b: Node): Node {
    return this.graph.node('i64', [op], [this.wide(a), this.wide(b)], false);
  }
  clz(a: Node): Node {
    return this.graph.node('i64', [Op.i64Clz], [this.wide(a)], true, 7);
  }
  ctz(a: Node): Node {
    return this.graph.node('i64', [Op.i64Ctz], [this.wide(a)], true, 7);
  }
  popcnt(a: Node): Node {
    return this.graph.node('i64', [Op.i64Popcnt], [this.wide(a)], true, 7);
  }
  zeroExtend(a: Node, size: Size): Node {
    const wide = this.wide(a);
    if (wide.constant !== undefined) return this.constant(wide.constant & masks[size]);
    if (wide.bits <= size) return wide;
    return size === 32 ? this.wide(this.narrow(wide)) : this.binary(Op.i64And, wide, this.constant(masks[size]), size);
  }
  signExtend(a: Node, size: Size): Node {
    const wide = this.wide(a);
    if (size === 64 || wide.bits < size) return wide;
    if (wide.constant !== undefined) return this.constant(BigInt.asIntN(size, wide.constant));
    return this.graph.node('i64', [{ 8: Op.i64Extend8S, 16: Op.i64Extend16S, 32: Op.i64Extend32S }[size]], [wide], true);
  }
  eq(a: Node, b: Node): Node {
    return this.compare(Op.i64Eq, a, b);
  }
  ne(a: Node, b: Node): Node {
    return this.compare(Op.i64Ne, a, b);
  }
  ltu(a: Node, b: Node): Node {
    return this.compare(Op.i64LtU, a, b);
  }
  lts(a: Node, b: Node): Node {
    return this.compare(Op.i64LtS, a, b);
  }
  isZero(a: Node): Node {
    if (a.constant !== undefined) return this.i32(a.constant === 0n ? 1 : 0);
    return this.graph.isZero(isNarrow(a) ? this.narrow(a) : a);
  }
  select(condition: Node, a: Node, b: Node): Node {
    return this.graph.node('i64', [Op.select], [this.wide(a), this.wide(b), this.truth(condition)], true, Math.max(a.bits, b.bits));
  }
  when(condition: Node, then: () => void, otherwise?: () => void): void {
    if (condition.constant !== undefined) return condition.constant !== 0n ? then() : otherwise?.();
    this.graph.branch(this.truth(condition), then, otherwise);
  }
}
