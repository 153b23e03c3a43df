/**
 * How a region holds the arithmetic flags between two instructions. What the last instruction left is kept as it came (its operands and
 * result); the vector of `cpu/flags.ts` is made of it where a region is left, or where the ways that meet disagree.
 */
import type { Size } from '../../isa/ops.ts';

export interface FlagKind {
  /**
   * vector: as in the state. add, sub: operands and result. logic: the result alone. inc, dec: the result and the carry of before.
   * parts: carry, overflow and result; adjust is clear.
   */
  readonly rule: 'vector' | 'add' | 'sub' | 'logic' | 'inc' | 'dec' | 'parts';
  readonly size: Size;
  /** The result is the sum or difference of the operands, without a carry in: comparisons may compare them. */
  readonly exact: boolean;
}

export const vectorKind: FlagKind = { rule: 'vector', size: 64, exact: false };
export const sameKind = (a: FlagKind, b: FlagKind): boolean => a.rule === b.rule && a.size === b.size && a.exact === b.exact;

/** What both can be seen as without work, or the vector. */
export function meet(a: FlagKind, b: FlagKind): FlagKind {
  if (sameKind(a, b)) return a;
  if (a.rule === b.rule && a.size === b.size) return { ...a, exact: false };
  return vectorKind;
}

/** Where control comes in from outside, flags come as a vector: what can be made of one without loss, or the vector. */
export function enterable(kind: FlagKind): FlagKind {
  if (kind.rule === 'add' || kind.rule === 'sub') return { ...kind, exact: false };
  if (kind.rule === 'logic') return { rule: 'add', size: 64, exact: false };
  return vectorKind;
}
