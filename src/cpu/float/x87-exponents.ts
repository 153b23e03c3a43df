/** FPREM, FPREM1, FSCALE and FXTRACT: the instructions that work on exponents. SDM 2, chapter 3. */

import { fromInteger, toInteger } from './conversions.ts';
import { Status } from './registers.ts';
import { Exception, extended, infinity, invalid, nanResult, operand, round, zero } from './soft.ts';
import { indefinite, type Unit } from './unit.ts';

/** FPREM (truncating) and FPREM1 (to nearest): at most 63 bits of quotient at a time; the low three go to C0, C3, C1. */
export function remainder(u: Unit, toNearest: boolean): void {
  const empty = u.stack.isEmpty(0) || u.stack.isEmpty(1);
  const [x, y] = [u.read(0), u.read(1)];
  const [a, b] = [operand(u.c, x, extended), operand(u.c, y, extended)];
  let value: bigint;
  let conditions = 0;
  const nan = empty ? indefinite : nanResult(u.c, a, b, extended, extended);
  if (nan !== undefined) value = nan;
  else if (a.kind === 'infinity' || b.kind === 'zero') value = invalid(u.c, extended);
  else if (a.kind === 'zero' || b.kind === 'infinity') {
    if (a.denormal || b.denormal) u.c.flags |= Exception.denormal;
    value = x;
  } else {
    if (a.denormal || b.denormal) u.c.flags |= Exception.denormal;
    const leading = (n: bigint, e: number): number => e + n.toString(2).length;
    const gap = leading(a.significand, a.exponent) - leading(b.significand, b.exponent);
    const low = Math.min(a.exponent, b.exponent);
    const [m, n] = [a.significand << BigInt(a.exponent - low), b.significand << BigInt(b.exponent - low)];
    let rest: bigint;
    let sign = a.sign;
    if (gap < 64) {
      let quotient = m / n;
      rest = m - quotient * n;
      if (toNearest && (2n * rest > n || (2n * rest === n && (quotient & 1n) === 1n))) {
        quotient += 1n;
        rest = n - rest;
        sign = sign === 0 ? 1 : 0;
      }
      const q = Number(quotient & 7n);
      conditions = (q & 4 ? Status.c0 : 0) | (q & 2 ? Status.c3 : 0) | (q & 1 ? Status.c1 : 0);
    } else {
      const reduced = BigInt(gap - 63 + ((gap - 63) % 32 === 0 ? 0 : 32 - ((gap - 63) % 32)));
      const step = n << (reduced > BigInt(gap) ? BigInt(gap) : reduced);
      rest = m % step;
      conditions = Status.c2;
    }
    value = rest === 0n ? zero(a.sign, extended) : round(u.full(), sign, rest, low, false, extended);
  }
  if (!u.report()) return;
  u.stack.set(0, value);
  u.setConditions(empty ? 0 : conditions);
}
export function scale(u: Unit): void {
  const empty = u.stack.isEmpty(0) || u.stack.isEmpty(1);
  const [x, y] = [u.read(0), u.read(1)];
  const [a, b] = [operand(u.c, x, extended), operand(u.c, y, extended)];
  const nan = empty ? indefinite : nanResult(u.c, a, b, extended, extended);
  let value: bigint;
  if (nan !== undefined) value = nan;
  else if (b.kind === 'infinity') {
    if ((a.kind === 'infinity' && b.sign === 1) || (a.kind === 'zero' && b.sign === 0)) value = invalid(u.c, extended);
    else value = b.sign === 1 ? zero(a.sign, extended) : infinity(a.sign, extended);
  } else if (a.kind !== 'finite') value = x;
  else {
    if (a.denormal || b.denormal) u.c.flags |= Exception.denormal;
    const shift = b.kind === 'zero' ? 0n : BigInt.asIntN(64, toInteger(u.full(), y, extended, 64, 3));
    const limited = Number(shift > 70_000n ? 70_000n : shift < -70_000n || (b.sign === 1 && shift === -(2n ** 63n)) ? -70_000n : shift);
    const c = u.full();
    value = round(c, a.sign, a.significand, a.exponent + (b.exponent > 40 && b.sign === 0 && b.kind === 'finite' ? 70_000 : limited), false, extended);
    u.adopt(c);
  }
  if (u.report()) u.stack.set(0, value);
}
export function extract(u: Unit): void {
  const empty = u.stack.isEmpty(0);
  const x = u.read(0);
  const a = operand(u.c, x, extended);
  const full = u.full();
  let exponent: bigint;
  let significand: bigint;
  const nan = empty ? indefinite : nanResult(u.c, a, undefined, extended, extended);
  if (nan !== undefined) exponent = significand = nan;
  else if (a.kind === 'infinity') [exponent, significand] = [infinity(0, extended), x];
  else if (a.kind === 'zero') {
    u.c.flags |= Exception.divide;
    [exponent, significand] = [infinity(1, extended), x];
  } else {
    if (a.denormal) u.c.flags |= Exception.denormal;
    const length = a.significand.toString(2).length;
    exponent = fromInteger(full, BigInt(a.exponent + length - 1), extended);
    significand = round(full, a.sign, a.significand, -(length - 1), false, extended);
  }
  if (!empty && !u.stack.isEmpty(-1)) {
    u.stackFault(true);
    exponent = significand = indefinite;
  }
  if (!u.report()) return;
  u.stack.set(0, exponent);
  u.stack.push(significand);
}
