/**
 * A handler under construction: statements over expression nodes. Pure nodes used once are emitted where they are used, everything else
 * goes through a local; pure nodes nobody uses vanish.
 */

import { signedLeb, unsignedLeb, type ValueType } from './module.ts';
import { Op, Simd } from './opcodes.ts';

export interface Node {
  readonly type: ValueType;
  /** Emitted after the arguments. */
  readonly code: readonly number[];
  readonly args: readonly Node[];
  readonly constant: bigint | undefined;
  /** Upper bound of the value's width in bits (i64 only). */
  readonly bits: number;
  readonly pure: boolean;
  uses: number;
  local: number;
}

type Statement =
  | { readonly kind: 'node'; readonly node: Node }
  | { readonly kind: 'effect'; readonly args: readonly Node[]; readonly code: readonly number[] }
  | { readonly kind: 'if'; readonly condition: Node; readonly then: Statement[]; readonly otherwise: Statement[] };

export class Graph {
  readonly locals: ValueType[] = [];
  readonly #parameters: number;
  #current: Statement[] = [];
  readonly #root = this.#current;

  constructor(parameters: number) {
    this.#parameters = parameters;
  }

  node(type: ValueType, code: readonly number[], args: readonly Node[], pure: boolean, bits = 64): Node {
    const node: Node = { type, code, args, constant: undefined, bits, pure, uses: 0, local: -1 };
    for (const a of args) a.uses++;
    this.#current.push({ kind: 'node', node });
    return node;
  }
  constant(type: 'i32' | 'i64', value: bigint): Node {
    const wrapped = BigInt.asIntN(type === 'i32' ? 32 : 64, value);
    const code = [type === 'i32' ? Op.i32Const : Op.i64Const, ...signedLeb(wrapped)];
    const unsigned = BigInt.asUintN(64, value);
    return { type, code, args: [], constant: unsigned, bits: unsigned.toString(2).length, pure: true, uses: 0, local: -1 };
  }
  parameter(index: number): Node {
    return { type: 'i32', code: [Op.localGet, index], args: [], constant: undefined, bits: 32, pure: true, uses: 0, local: -2 };
  }
  effect(code: readonly number[], args: readonly Node[]): void {
    for (const a of args) a.uses++;
    this.#current.push({ kind: 'effect', args, code });
  }
  branch(condition: Node, then: () => void, otherwise?: () => void): void {
    condition.uses++;
    const statement = { kind: 'if' as const, condition, then: [] as Statement[], otherwise: [] as Statement[] };
    const outer = this.#current;
    this.#current = statement.then;
    then();
    this.#current = statement.otherwise;
    otherwise?.();
    this.#current = outer;
    outer.push(statement);
  }

  finish(): number[] {
    this.#prune(this.#root);
    const out: number[] = [];
    this.#statements(this.#root, out);
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
      } else if (s.kind === 'node' && s.node.pure && s.node.uses === 0) {
        for (const a of s.node.args) a.uses--;
        statements.splice(n, 1);
      }
    }
  }
  #statements(statements: readonly Statement[], out: number[]): void {
    for (const s of statements) {
      switch (s.kind) {
        case 'node':
          if (s.node.pure && s.node.uses <= 1) break; // emitted at its use
          this.#expression(s.node, out);
          if (s.node.uses === 0) out.push(Op.drop);
          else {
            s.node.local = this.#parameters + this.locals.push(s.node.type) - 1;
            out.push(Op.localSet, ...unsignedLeb(s.node.local));
          }
          break;
        case 'effect':
          for (const a of s.args) this.#value(a, out);
          pushAll(out, s.code);
          break;
        case 'if':
          this.#value(s.condition, out);
          out.push(Op.if, 0x40);
          this.#statements(s.then, out);
          if (s.otherwise.length > 0) {
            out.push(Op.else);
            this.#statements(s.otherwise, out);
          }
          out.push(Op.end);
          break;
      }
    }
  }
  #value(node: Node, out: number[]): void {
    if (node.local >= 0) out.push(Op.localGet, ...unsignedLeb(node.local));
    else this.#expression(node, out);
  }
  #expression(node: Node, out: number[]): void {
    for (const a of node.args) this.#value(a, out);
    pushAll(out, node.code);
  }
}

const pushAll = (out: number[], code: readonly number[]): void => {
  for (const byte of code) out.push(byte);
};

/** A memory instruction with its alignment (log2) and offset. */
export const memoryCode = (op: number, offset: number, alignment = 0): number[] => [op, alignment, ...unsignedLeb(offset)];
export const simdMemoryCode = (op: number, offset: number): number[] => [Simd.prefix, ...unsignedLeb(op), 0, ...unsignedLeb(offset)];
export const simdCode = (op: number, ...immediates: number[]): number[] => [Simd.prefix, ...unsignedLeb(op), ...immediates];
