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
  /** The result is the sum or difference of the operands, without a carry in: comparisons may compare them, and it is not kept itself. */
  readonly exact: boolean;
}

/** All kinds are made here, with their fields in one order: code that reads them meets one sort of object. */
export const flagKind = (rule: FlagKind['rule'], size: Size, exact = false): FlagKind => ({ rule, size, exact });
export const vectorKind = flagKind('vector', 64);
export const sameKind = (a: FlagKind, b: FlagKind): boolean => a.rule === b.rule && a.size === b.size && a.exact === b.exact;

/** What both can be seen as with little work, or the vector. */
export function meet(a: FlagKind, b: FlagKind): FlagKind {
  if (sameKind(a, b)) return a;
  if (a.rule === b.rule && a.size === b.size) return flagKind(a.rule, a.size);
  return vectorKind;
}

/** Where control comes in from outside, flags come as a vector: what can be made of one without loss, or the vector. */
export function enterable(kind: FlagKind): FlagKind {
  if (kind.rule === 'add' || kind.rule === 'sub') return flagKind(kind.rule, kind.size);
  if (kind.rule === 'logic') return flagKind('add', 64);
  return vectorKind;
}
