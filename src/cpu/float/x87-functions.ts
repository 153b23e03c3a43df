/** F2XM1 FYL2X FPTAN FPATAN FYL2XP1 FSINCOS FSIN FCOS. */

import { At } from '../state.ts';
import { Status } from './registers.ts';
import { Context, Exception, extended, infinity, invalid, multiply, nanResult, operand, type Parts, round, zero } from './soft.ts';
import { arcTangent, exponentialMinusOne, fixed, logarithm, one, pi, places, sineCosine, unfix } from './transcendental.ts';
import { indefinite, type Unit } from './unit.ts';

const full = (u: Unit): Context => new Context({ rounding: u.c.mode.rounding, largerNan: true, masked: u.c.mode.masked });
const leading = (p: Parts): number => p.exponent + p.significand.toString(2).length - 1;
/** Below this the function is its first term to more bits than there are. */
const tiny = -68;

export function transcendental(u: Unit, modrm: number): void {
  switch (modrm) {
    case 0xf0: return oneOperand(u, powerOfTwo);
    case 0xf1: case 0xf9: return twoOperands(u, modrm === 0xf1 ? yLog : yLogPlusOne);
    case 0xf3: return twoOperands(u, angle);
    case 0xfe: case 0xff: return trigonometric(u, (s, c) => [modrm === 0xfe ? s : c]);
    case 0xfb: return trigonometric(u, (s, c) => [s, c]);
    default: return trigonometric(u, (s, c) => [((s << places) / (c === 0n ? 1n : c)) as bigint, 'one']);
  }
}

function oneOperand(u: Unit, f: (u: Unit, a: Parts, bits: bigint) => bigint): void {
  const empty = u.stack.isEmpty(0);
  const bits = u.read(0);
  const a = operand(u.c, bits, extended);
  const nan = empty ? indefinite : nanResult(u.c, a, undefined, extended, extended);
  if (nan === undefined && a.denormal) u.c.flags |= Exception.denormal;
  const value = nan ?? f(u, a, bits);
  if (u.report()) u.stack.set(0, value);
}
/** ST(1) op ST(0), result in ST(1), then a pop. */
function twoOperands(u: Unit, f: (u: Unit, x: Parts, y: Parts, bits: readonly [x: bigint, y: bigint]) => bigint): void {
  const empty = u.stack.isEmpty(0) || u.stack.isEmpty(1);
  const [xb, yb] = [u.read(0), u.read(1)];
  const [x, y] = [operand(u.c, xb, extended), operand(u.c, yb, extended)];
  const nan = empty ? indefinite : nanResult(u.c, y, x, extended, extended);
  if (nan === undefined && (x.denormal || y.denormal)) u.c.flags |= Exception.denormal;
  const value = nan ?? f(u, x, y, [xb, yb]);
  if (!u.report()) return;
  u.stack.set(1, value);
  u.stack.pop();
}
/** A product of a fixed-point number and a floating one. */
function scaled(u: Unit, y: Parts, factor: bigint): bigint {
  const sign = ((factor < 0n ? 1 : 0) ^ y.sign) as 0 | 1;
  u.c.flags |= Exception.precision;
  const c = full(u);
  const value = round(c, sign, (factor < 0n ? -factor : factor) * y.significand, y.exponent - Number(places), true, extended);
  u.adopt(c);
  return value;
}

function powerOfTwo(u: Unit, a: Parts, bits: bigint): bigint {
  if (a.kind === 'zero') return bits;
  if (a.kind === 'infinity') return a.sign === 1 ? (round(full(u), 1, 1n, 0, false, extended) as bigint) : bits;
  if (leading(a) >= 1) return bits; // outside -1..1 the result is undefined
  if (leading(a) < tiny) return scaled(u, a, fixed({ ...a, sign: 0, significand: 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6afn, exponent: -128 }));
  const c = full(u);
  const value = unfix(c, exponentialMinusOne(fixed(a)));
  u.adopt(c);
  return value;
}
function yLog(u: Unit, x: Parts, y: Parts): bigint {
  if (x.kind === 'zero') {
    if (y.kind === 'zero') return invalid(u.c, extended);
    if (y.kind !== 'infinity') u.c.flags |= Exception.divide;
    return infinity(y.sign === 1 ? 0 : 1, extended);
  }
  if (x.sign === 1) return invalid(u.c, extended);
  const big = x.kind === 'infinity' || leading(x) >= 0;
  const isOne = x.kind === 'finite' && leading(x) === 0 && (x.significand & (x.significand - 1n)) === 0n;
  const sign = (y.sign ^ (big ? 0 : 1)) as 0 | 1;
  if (x.kind === 'infinity') return y.kind === 'zero' ? invalid(u.c, extended) : infinity(y.sign, extended);
  if (y.kind === 'infinity') return isOne ? invalid(u.c, extended) : infinity(sign, extended);
  if (isOne || y.kind === 'zero') return zero(isOne ? y.sign : sign, extended);
  // x = 2^k * m with m from 1 to 2, or from 1/2 to 1 just below 1, so that numbers near 1 keep their precision
  const k = leading(x) === -1 ? 0 : leading(x);
  const log = logarithm(fixed({ ...x, exponent: x.exponent - k }));
  return scaled(u, y, (BigInt(k) << places) + log);
}
function yLogPlusOne(u: Unit, x: Parts, y: Parts, [xb]: readonly [bigint, bigint]): bigint {
  const sign = (x.sign ^ y.sign) as 0 | 1;
  if (x.kind === 'zero') return y.kind === 'infinity' ? invalid(u.c, extended) : zero(sign, extended);
  if (x.kind === 'infinity') return x.sign === 1 || y.kind === 'zero' ? invalid(u.c, extended) : infinity(sign, extended);
  if (y.kind === 'zero') return zero(sign, extended);
  if (y.kind === 'infinity') return infinity(sign, extended);
  if (leading(x) < tiny) return multiply(full(u), scaled(u, y, 0x1_7154_7652_b82f_e177_7d0f_fda0_d23an << (places - 112n)), xb, extended);
  const sum = one + fixed(x);
  return sum <= 0n ? invalid(u.c, extended) : scaled(u, y, logarithm(sum));
}
function angle(u: Unit, x: Parts, y: Parts): bigint {
  const result = (value: bigint): bigint => {
    const c = full(u);
    const bits = unfix(c, y.sign === 1 ? -value : value);
    u.adopt(c);
    return bits;
  };
  if (y.kind === 'zero') return x.sign === 0 ? zero(y.sign, extended) : result(pi);
  if (y.kind === 'infinity') return result(x.kind !== 'infinity' ? pi / 2n : x.sign === 0 ? pi / 4n : (3n * pi) / 4n);
  if (x.kind === 'zero') return result(pi / 2n);
  if (x.kind === 'infinity') return x.sign === 0 ? zero(y.sign, extended) : result(pi);
  const gap = leading(y) - leading(x);
  if (gap < tiny && x.sign === 0) {
    const c = full(u);
    const shift = 140n;
    const value = round(c, y.sign, (y.significand << shift) / x.significand, y.exponent - x.exponent - Number(shift), true, extended);
    c.flags |= Exception.precision;
    u.adopt(c);
    return value;
  }
  if (gap > 200) return result(pi / 2n);
  const base = Math.min(x.exponent, y.exponent);
  const [ym, xm] = [y.significand << BigInt(y.exponent - base), x.significand << BigInt(x.exponent - base)];
  const a = arcTangent(ym, xm);
  return result(x.sign === 0 ? a : pi - a);
}

/** Results go to ST(0) and then are pushed; the operand must be below 2^63. */
function trigonometric(u: Unit, results: (sine: bigint, cosine: bigint) => readonly (bigint | 'one')[]): void {
  const empty = u.stack.isEmpty(0);
  const bits = u.read(0);
  const a = operand(u.c, bits, extended);
  const nan = empty ? indefinite : (nanResult(u.c, a, undefined, extended, extended) ?? (a.kind === 'infinity' ? invalid(u.c, extended) : undefined));
  if (nan === undefined && a.kind === 'finite' && leading(a) >= 63) return u.setConditions(Status.c2);
  if (nan === undefined && a.denormal) u.c.flags |= Exception.denormal;
  const values = results(0n, one); // which of them are zero at zero
  let out: bigint[];
  if (nan !== undefined) out = values.map(() => nan);
  else if (a.kind === 'zero') out = values.map((v) => (v === 0n ? bits : round(full(u), 0, 1n, 0, false, extended)));
  else if (leading(a) < tiny) {
    u.c.flags |= Exception.precision;
    out = values.map((v) => (v === 0n ? bits : round(full(u), 0, 1n, 0, false, extended)));
  } else {
    const { sine, cosine } = sineCosine(fixed(a));
    const c = full(u);
    out = results(sine, cosine).map((v) => (v === 'one' ? round(full(u), 0, 1n, 0, false, extended) : unfix(c, v)));
    u.adopt(c);
  }
  if (out.length > 1 && !u.stack.isEmpty(-1)) {
    u.stackFault(true);
    out = [indefinite, indefinite];
  }
  if (!u.report()) return;
  u.stack.set(0, out[0] ?? indefinite);
  if (out.length > 1) u.stack.push(out[1] ?? indefinite);
  u.p.v.set(At.floatStatus, u.p.v.get(At.floatStatus) & ~Status.c2);
}
