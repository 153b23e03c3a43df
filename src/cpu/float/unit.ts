/** What an x87 instruction works with: the register stack, and a context with the control word's modes. */

import type { Processor } from '../processor.ts';
import { At } from '../state.ts';
import { FloatStack, Status } from './registers.ts';
import { Context, defaultNan, Exception, extended } from './soft.ts';

export const indefinite = defaultNan(extended);
const precisions = [24, 64, 53, 64] as const;

export class Unit {
  readonly p: Processor;
  readonly stack: FloatStack;
  readonly c: Context;
  constructor(p: Processor) {
    this.p = p;
    this.stack = new FloatStack(p.v);
    const control = this.stack.control;
    this.c = new Context({ rounding: (control >> 10) & 3, precision: precisions[(control >> 8) & 3] ?? 64, largerNan: true, masked: control & 0x3f });
  }
  /** A context that rounds to the full 64 bits, sharing the flags. */
  full(): Context {
    const c = new Context({ rounding: this.c.mode.rounding, largerNan: true, masked: this.c.mode.masked });
    c.flags = this.c.flags;
    return c;
  }
  adopt(c: Context): void {
    this.c.flags |= c.flags;
    this.c.roundedUp = c.roundedUp;
  }
  setConditions(mask: number): void {
    this.p.v.set(At.floatStatus, (this.p.v.get(At.floatStatus) & ~(Status.c0 | Status.c1 | Status.c2 | Status.c3)) | mask);
  }
  /** ST(i), or the indefinite with a stack fault when it is empty. */
  read(i: number): bigint {
    if (!this.stack.isEmpty(i)) return this.stack.get(i);
    this.stackFault(false);
    return indefinite;
  }
  stackFault(overflow: boolean): void {
    this.c.flags |= Exception.invalid;
    const s = this.p.v.get(At.floatStatus) | Status.stackFault;
    this.p.v.set(At.floatStatus, overflow ? s | Status.c1 : s & ~Status.c1);
  }
  /** Makes the exceptions visible; false when one that comes before the result is unmasked, so that nothing is stored. */
  report(): boolean {
    const { v } = this.p;
    if ((this.c.flags & Exception.invalid) !== 0) this.c.flags &= ~Exception.denormal; // the invalid operand comes first
    const unmasked = this.c.flags & ~this.c.mode.masked;
    const early = (unmasked & (Exception.invalid | Exception.denormal | Exception.divide)) !== 0;
    let s = v.get(At.floatStatus) | (early ? this.c.flags & 7 : this.c.flags);
    if ((s & Status.stackFault) === 0 || (this.c.flags & Exception.invalid) === 0) s = this.c.roundedUp && !early ? s | Status.c1 : s & ~Status.c1;
    v.set(At.floatStatus, s);
    this.stack.summarise();
    return !early;
  }
  push(value: bigint): void {
    if (!this.stack.isEmpty(-1)) {
      this.stackFault(true);
      if (this.report()) this.stack.push(indefinite);
      return;
    }
    if (this.report()) this.stack.push(value);
  }
}
