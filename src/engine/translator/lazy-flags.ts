/** The flags of a region's code: kept as the last instruction left them, read as each reader needs. See flag-kind.ts. */
import type { FlagBits, FlagName, FlagRule, Size } from '../../isa/ops.ts';
import type { Hint } from '../wasm/branch-hints.ts';
import type { Node } from '../wasm/graph.ts';
import { Op } from '../wasm/opcodes.ts';
import { WasmOps } from '../wasm/wasm-ops.ts';
import { type FlagKind, flagKind, sameKind, vectorKind } from './flag-kind.ts';
import type { RegionLocals } from './region-locals.ts';

const typeOf = { flagA: 'i64', flagB: 'i64', flagResult: 'i64', flagWord: 'i32', flagOverflow: 'i32' } as const;
type FlagLocal = keyof typeof typeOf;

export abstract class LazyFlags extends WasmOps {
  protected abstract readonly locals: RegionLocals;
  /** What is known of the flags at the place that is being made. */
  kind: FlagKind;
  /** Whether the instruction looked at the flags, or keeps some of them. */
  flagsRead = false;
  /** Nobody will see the flags that the instruction leaves: they stay as they were before it. */
  readonly #areDead: boolean;
  /** Operands of sums and differences of this instruction. */
  #operands: Map<Node, readonly [Node, Node]> | undefined;

  constructor(kind: FlagKind, areDead: boolean) {
    super();
    this.kind = kind;
    this.#areDead = areDead;
  }
  /** Flags were changed. */
  protected abstract noteFlags(): void;

  #read(name: FlagLocal): Node {
    this.flagsRead = true;
    return this.graph.read(typeOf[name], this.locals.named(name), typeOf[name] === 'i32' ? 32 : 64);
  }
  #write(name: FlagLocal, value: Node): void {
    this.graph.set(this.locals.written(name), value);
    this.noteFlags();
  }

  #noteOperands(result: Node, a: Node, b: Node): void {
    this.#operands ??= new Map();
    this.#operands.set(result, [a, b]);
  }
  override add(a: Node, b: Node): Node {
    const sum = super.add(a, b);
    this.#noteOperands(sum, a, b);
    return sum;
  }
  override sub(a: Node, b: Node): Node {
    const difference = super.sub(a, b);
    this.#noteOperands(difference, a, b);
    return difference;
  }

  override setFlags(rule: FlagRule, size: Size, a: Node, b: Node, result: Node): void {
    if (this.#areDead) return;
    const [x, y] = this.#operands?.get(result) ?? [];
    const exact = (rule === 'add' || rule === 'sub') && x === a && y === b;
    const extended = exact ? undefined : this.signExtend(result, size); // of an exact one the operands say all
    if (rule === 'inc' || rule === 'dec') this.#write('flagWord', this.narrow(this.flag('carry')));
    else if (rule !== 'logic') {
      this.#write('flagA', this.zeroExtend(a, size));
      this.#write('flagB', this.zeroExtend(b, size));
    }
    if (extended) this.#write('flagResult', extended);
    this.kind = flagKind(rule, rule === 'logic' ? 64 : size, exact);
  }
  override setFlagBits(bits: FlagBits<Node>): void {
    if (this.#areDead) return;
    if (bits.result && bits.carry && bits.overflow && bits.adjust?.constant === 0n) {
      const result = this.signExtend(bits.result.value, bits.result.size);
      this.#write('flagWord', this.narrow(bits.carry));
      this.#write('flagOverflow', this.narrow(bits.overflow));
      this.#write('flagResult', result);
      this.kind = flagKind('parts', 64);
    } else super.setFlagBits(bits);
  }
  override loadStatusFlags(image: Node): void {
    if (!this.#areDead) super.loadStatusFlags(image);
  }

  protected flagBits(): Node {
    if (this.kind.rule === 'vector') return this.#read('flagWord');
    const shifted = (value: Node, n: number): Node => this.graph.node('i32', [Op.i32Shl], [value, this.i32(n)], true, 32);
    const or = (a: Node, b: Node): Node => this.graph.node('i32', [Op.i32Or], [a, b], true, 32);
    switch (this.kind.rule) {
      case 'logic':
        return this.i32(0);
      case 'add':
      case 'sub':
        return this.bitsOfCarries(this.#carries(), this.kind.size);
      default: {
        const carry = this.narrow(this.flag('carry'));
        const upper = or(shifted(carry, 31), shifted(this.xor32(carry, this.narrow(this.flag('overflow'))), 30));
        return or(upper, shifted(this.narrow(this.flag('adjust')), 3));
      }
    }
  }
  protected flagResult(): Node {
    const { rule, size, exact } = this.kind;
    if (!exact) return this.#read('flagResult');
    const [a, b] = [this.#read('flagA'), this.#read('flagB')];
    return this.signExtend(rule === 'sub' ? this.sub(a, b) : this.add(a, b), size);
  }
  protected putFlags(bits: Node, result: Node | undefined): void {
    const kept = result ?? (this.kind.exact ? this.flagResult() : undefined);
    this.#write('flagWord', bits);
    if (kept) this.#write('flagResult', kept);
    this.kind = vectorKind;
  }
  /** Makes the vector of whatever the flags are kept as. */
  toVector(): void {
    if (this.kind.rule !== 'vector') this.putFlags(this.flagBits(), undefined);
  }
  /** Makes of a vector what `kind` says: one of those that `enterable` gives. The caller has seen that sign and parity follow from the result. */
  fromVector(kind: FlagKind): void {
    if (kind.rule === 'vector') return;
    const word = this.wide(this.#read('flagWord'));
    const { size } = kind;
    // carry and overflow to the top of the operands; the word has adjust where they have it, and nothing else
    const top = size === 64 ? this.shl(word, this.constant(32)) : this.shr(word, this.constant(32 - size));
    const carries = size === 32 ? word : this.or(top, word);
    this.#write('flagA', kind.rule === 'sub' ? this.xor(carries, this.constant(-1)) : carries);
    this.#write('flagB', carries);
    this.kind = kind;
  }
  /** Makes of the flags at hand the more general `kind`. */
  convert(kind: FlagKind): void {
    if (sameKind(this.kind, kind)) return;
    if (kind.rule === 'vector') return this.toVector();
    if (this.kind.exact && !kind.exact) this.#write('flagResult', this.flagResult());
    if (this.kind.rule === 'logic') {
      this.#write('flagA', this.constant(0));
      this.#write('flagB', this.constant(0));
    }
    this.kind = kind;
  }

  #carries(): Node {
    return this.carries(this.kind.rule === 'add', this.#read('flagA'), this.#read('flagB'), this.flagResult());
  }
  override flag(name: FlagName): Node {
    const { rule, size, exact } = this.kind;
    if (rule === 'vector') return super.flag(name);
    switch (name) {
      case 'zero':
        return exact && rule === 'sub' ? this.#compare('eq', false) : this.isZero(this.flagResult());
      case 'sign':
        return this.lts(this.flagResult(), this.constant(0));
      case 'parity':
        return this.parityOf(this.flagResult());
    }
    switch (rule) {
      case 'logic':
        return this.i32(0);
      case 'add':
      case 'sub': {
        if (name === 'carry' && exact)
          return rule === 'sub' ? this.#compare('ltu', false) : this.ltu(this.zeroExtend(this.flagResult(), size), this.#read('flagA'));
        const carries = this.#carries();
        const at = (n: number): Node => this.narrow(this.and(this.shr(carries, this.constant(n)), this.constant(1)));
        if (name === 'adjust') return at(3);
        return name === 'carry' ? at(size - 1) : this.xor32(at(size - 1), at(size - 2));
      }
      case 'inc':
      case 'dec': {
        if (name === 'carry') return this.#bounded('flagWord');
        const up = rule === 'inc';
        if (name === 'adjust') return this.eq(this.and(this.flagResult(), this.constant(15)), this.constant(up ? 0 : 15));
        const edge = 1n << BigInt(size - 1);
        return this.eq(this.flagResult(), this.constant(up ? -edge : edge - 1n));
      }
      case 'parts':
        if (name === 'adjust') return this.i32(0);
        return this.#bounded(name === 'carry' ? 'flagWord' : 'flagOverflow');
    }
  }
  /** A carry or overflow kept as 0 or 1. */
  #bounded(name: 'flagWord' | 'flagOverflow'): Node {
    this.flagsRead = true;
    return this.graph.read('i32', this.locals.named(name), 1);
  }
  /** The operands of an exact difference compared, in their own width where WebAssembly has it. */
  #compare(how: 'eq' | 'ltu' | 'lts', swapped: boolean): Node {
    const { size } = this.kind;
    let a = this.#read('flagA');
    let b = this.#read('flagB');
    if (swapped) [a, b] = [b, a];
    if (size === 64) return { eq: () => this.eq(a, b), ltu: () => this.ltu(a, b), lts: () => this.lts(a, b) }[how]();
    const op = { eq: Op.i32Eq, ltu: Op.i32LtU, lts: Op.i32LtS }[how];
    const operand = (value: Node): Node => this.narrow(how === 'lts' ? this.signExtend(value, size) : value);
    return this.graph.node('i32', [op], [operand(a), operand(b)], true, 1);
  }
  override condition(code: number): Node {
    const { rule, exact } = this.kind;
    const negated = (value: Node): Node => (code & 1 ? this.isZero(value) : value);
    if (rule === 'sub' && exact) {
      switch (code >> 1) {
        case 3: // below or equal: not above
          return code & 1 ? this.#compare('ltu', true) : this.isZero(this.#compare('ltu', true));
        case 6:
          return negated(this.#compare('lts', false));
        case 7:
          return code & 1 ? this.#compare('lts', true) : this.isZero(this.#compare('lts', true));
      }
    }
    if (rule === 'logic' && code >> 1 === 7) return negated(this.lts(this.flagResult(), this.constant(1)));
    return super.condition(code);
  }

  /** A branch on whose two sides the flags may be set differently: they meet as a vector then. */
  protected branchWithFlags(condition: Node, then: () => void, otherwise: (() => void) | undefined, hint: Hint): void {
    const before = this.kind;
    let changed = false;
    this.graph.branch(
      this.truth(condition),
      () => {
        then();
        changed = !sameKind(this.kind, before) || changed;
        if (changed) this.toVector();
        this.kind = before;
      },
      () => {
        otherwise?.();
        if (!sameKind(this.kind, before)) throw new Error('flags set on the second way only');
        if (changed) this.toVector();
      },
      hint,
    );
    this.flagsRead ||= changed; // on one side they are what they were
    this.kind = changed ? vectorKind : before;
  }
}
