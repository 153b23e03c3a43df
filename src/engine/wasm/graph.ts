/**
 * Code under construction: statements over expression nodes. Pure nodes used once are emitted where they are used, everything else
 * goes through a temporary; pure nodes nobody uses vanish. Reads of a local stay reads until the local is set.
 */

import type { Hint } from './branch-hints.ts';
import { Emitter } from './emitter.ts';
import type { ValueType } from './module.ts';
import { Op } from './opcodes.ts';
import { codeOf, get } from './pieces.ts';

export interface Node {
  readonly kind: 'node';
  readonly type: ValueType;
  /** Emitted after the arguments. */
  readonly code: readonly number[];
  readonly args: readonly Node[];
  readonly constant: bigint | undefined;
  /** Upper bound of the value's width in bits (i64 only). */
  readonly bits: number;
  readonly pure: boolean;
  /** The local that a leaf reads. */
  readonly leaf: number;
  uses: number;
  emitted: number;
  /** The temporary that holds the value, once it has one. */
  local: number;
}

type Statement =
  | Node
  | { readonly kind: 'effect'; readonly args: readonly Node[]; readonly code: readonly number[] }
  | { readonly kind: 'set'; readonly local: number; readonly value: Node }
  | { readonly kind: 'place'; readonly emit: (out: Emitter) => void }
  | {
      readonly kind: 'if';
      readonly condition: Node;
      readonly hint: Hint;
      readonly then: Statement[];
      readonly otherwise: Statement[];
      readonly sets: readonly number[];
    };

/** Where a graph's code goes: who gives it temporaries, and who counts how deep it is nested. */
export interface GraphHost {
  /** Number of a local for a value that lives no longer than this graph. */
  temporary(type: ValueType): number;
  enter(): void;
  leave(): void;
}

const noArguments: readonly Node[] = [];
const localGets: readonly (readonly number[])[] = Array.from({ length: 256 }, (_, n) => get(n));
const localGet = (index: number): readonly number[] => localGets[index] ?? get(index);

interface Constant {
  readonly code: readonly number[];
  readonly unsigned: bigint;
  readonly bits: number;
}
function makeConstant(type: 'i32' | 'i64', value: bigint): Constant {
  const wrapped = BigInt.asIntN(type === 'i32' ? 32 : 64, value);
  const code = codeOf((out) => (type === 'i32' ? out.i32(Number(wrapped)) : out.i64(wrapped)));
  const unsigned = BigInt.asUintN(64, value);
  const bits = unsigned < 0x1_0000_0000n ? 32 - Math.clz32(Number(unsigned)) || 1 : 64;
  return { code, unsigned, bits };
}
const smallConstants = {
  i32: Array.from({ length: 256 }, (_, n) => makeConstant('i32', BigInt(n))),
  i64: Array.from({ length: 256 }, (_, n) => makeConstant('i64', BigInt(n))),
} as const;
const constantOf = (type: 'i32' | 'i64', value: bigint): Constant =>
  (value >= 0n && value < 256n && smallConstants[type][Number(value)]) || makeConstant(type, value);

/** Whether the next statement that has code is where a node used once is used: its code may stand there then, and it needs no temporary. */
function isUsedNext(statements: readonly Statement[], at: number, node: Node): boolean {
  for (let n = at + 1; n < statements.length; n++) {
    const s = statements[n] as Statement;
    switch (s.kind) {
      case 'node':
        if (s.leaf >= 0 || (s.pure && s.uses <= 1)) continue; // no code of its own
        return s.args.some((a) => isWithin(a, node));
      case 'set':
        return isWithin(s.value, node);
      case 'effect':
        return s.args.some((a) => isWithin(a, node));
      default:
        return false;
    }
  }
  return false;
}
/** Whether a value's code, where it is used, has that of a node in it. */
function isWithin(value: Node, node: Node): boolean {
  if (value === node) return true;
  if (value.local >= 0 || value.uses > 1 || !value.pure) return false;
  for (const a of value.args) if (isWithin(a, node)) return true;
  return false;
}

/** Comparisons, with those that hold where they do not. */
const pairs = [
  [Op.i32Eq, Op.i32Ne],
  [Op.i64Eq, Op.i64Ne],
  [Op.i32LtS, Op.i32GeS],
  [Op.i32LtU, Op.i32GeU],
  [Op.i64LtS, Op.i64GeS],
  [Op.i64LtU, Op.i64GeU],
] as const;
const opposites: Partial<Record<number, number>> = Object.fromEntries(
  pairs.flatMap(([op, opposite]) => [
    [op, opposite],
    [opposite, op],
  ]),
);

export class Graph {
  readonly #host: GraphHost;
  #current: Statement[] = [];
  readonly #root = this.#current;
  /** Locals set within the branch at hand. */
  #sets: number[] = [];

  constructor(host: GraphHost) {
    this.#host = host;
  }

  node(type: ValueType, code: readonly number[], args: readonly Node[], pure: boolean, bits = 64): Node {
    const node: Node = { kind: 'node', type, code, args, constant: undefined, bits, pure, leaf: -1, uses: 0, emitted: 0, local: -1 };
    for (const a of args) a.uses++;
    this.#current.push(node);
    return node;
  }
  /** 1 where the value is 0: of a comparison, another one. */
  isZero(a: Node): Node {
    const [op = 0] = a.code;
    const opposite = a.code.length === 1 ? opposites[op] : undefined;
    if (opposite !== undefined) return this.node('i32', [opposite], a.args, true, 1);
    return this.node('i32', [a.type === 'i32' ? Op.i32Eqz : Op.i64Eqz], [a], true, 1);
  }
  constant(type: 'i32' | 'i64', value: bigint): Node {
    const { code, unsigned, bits } = constantOf(type, value);
    return { kind: 'node', type, code, args: noArguments, constant: unsigned, bits, pure: true, leaf: -1, uses: 0, emitted: 0, local: -1 };
  }
  /** A local nobody sets. */
  parameter(index: number): Node {
    const code = localGet(index);
    return {
      kind: 'node',
      type: 'i32',
      code,
      args: noArguments,
      constant: undefined,
      bits: 32,
      pure: true,
      leaf: -1,
      uses: 0,
      emitted: 0,
      local: -1,
    };
  }
  /** The value that a local has here. */
  read(type: ValueType, local: number, bits = 64): Node {
    const code = localGet(local);
    const node: Node = {
      kind: 'node',
      type,
      code,
      args: noArguments,
      constant: undefined,
      bits,
      pure: true,
      leaf: local,
      uses: 0,
      emitted: 0,
      local: -1,
    };
    this.#current.push(node);
    return node;
  }
  set(local: number, value: Node): void {
    value.uses++;
    this.#sets.push(local);
    this.#current.push({ kind: 'set', local, value });
  }
  effect(code: readonly number[], args: readonly Node[]): void {
    for (const a of args) a.uses++;
    this.#current.push({ kind: 'effect', args, code });
  }
  /** Code that is made when its place is known: branches out of the graph. */
  place(emit: (out: Emitter) => void): void {
    this.#current.push({ kind: 'place', emit });
  }
  branch(condition: Node, then: () => void, otherwise?: () => void, hint?: Hint): void {
    condition.uses++;
    const sets: number[] = [];
    const statement = { kind: 'if' as const, condition, hint, then: [] as Statement[], otherwise: [] as Statement[], sets };
    const outer = this.#current;
    const outerSets = this.#sets;
    this.#sets = sets;
    this.#current = statement.then;
    then();
    this.#current = statement.otherwise;
    otherwise?.();
    this.#current = outer;
    this.#sets = outerSets;
    if (statement.then.length === 0 && statement.otherwise.length === 0) {
      condition.uses--;
      return;
    }
    outerSets.push(...sets);
    outer.push(statement);
  }

  finish(out = new Emitter()): Emitter {
    this.#prune(this.#root);
    this.#statements(this.#root, out, new Set());
    return out;
  }

  /** Later statements first: what only dead nodes used becomes dead too. */
  #prune(statements: Statement[]): void {
    for (let n = statements.length - 1; n >= 0; n--) {
      const s = statements[n];
      if (s === undefined) continue;
      if (s.kind === 'if') {
        this.#prune(s.then);
        this.#prune(s.otherwise);
      } else if (s.kind === 'node' && s.pure && s.uses === 0) {
        for (const a of s.args) a.uses--;
        statements.splice(n, 1);
      }
    }
  }
  #statements(statements: readonly Statement[], out: Emitter, leaves: Set<Node>): void {
    for (let n = 0; n < statements.length; n++) {
      const s = statements[n] as Statement;
      switch (s.kind) {
        case 'node':
          if (s.leaf >= 0) leaves.add(s);
          else if (!s.pure || s.uses > 1) {
            if (s.uses === 1 && isUsedNext(statements, n, s)) break;
            this.#expression(s, out);
            if (s.uses === 0) out.op(Op.drop);
            else this.#keep(s, out);
          }
          break;
        case 'effect':
          for (const a of s.args) this.#value(a, out);
          out.append(s.code);
          break;
        case 'set':
          this.#value(s.value, out);
          this.#save(s.local, leaves, out);
          out.set(s.local);
          break;
        case 'place':
          s.emit(out);
          break;
        case 'if':
          for (const local of s.sets) this.#save(local, leaves, out);
          this.#value(s.condition, out);
          out.if(s.hint);
          this.#host.enter();
          this.#statements(s.then, out, leaves);
          if (s.otherwise.length > 0) {
            out.op(Op.else);
            this.#statements(s.otherwise, out, leaves);
          }
          this.#host.leave();
          out.end();
          break;
      }
    }
  }
  #keep(node: Node, out: Emitter): void {
    node.local = this.#host.temporary(node.type);
    out.set(node.local);
  }
  /** Before a local changes, what has read it and is still to be used gets a temporary. */
  #save(local: number, leaves: Set<Node>, out: Emitter): void {
    for (const leaf of leaves) {
      if (leaf.leaf !== local) continue;
      if (leaf.local < 0 && leaf.emitted < leaf.uses) {
        out.append(leaf.code);
        this.#keep(leaf, out);
      }
      leaves.delete(leaf);
    }
  }
  #value(node: Node, out: Emitter): void {
    if (node.local >= 0) out.get(node.local);
    else this.#expression(node, out);
  }
  #expression(node: Node, out: Emitter): void {
    node.emitted++;
    for (const a of node.args) this.#value(a, out);
    out.append(node.code);
  }
}
