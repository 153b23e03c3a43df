/** Conversions between formats and integers, with the same flags and NaNs as the arithmetic of soft.ts: SDM 1, 4.8 and 11.5. */
import { bitLength, Context, Exception, type Format, infinity, nanResult, noteDenormal, operand, type Parts, pack, round, roundTo, zero } from './soft.ts';

/** Between formats. */
export function convert(c: Context, x: bigint, from: Format, to: Format): bigint {
  const a = operand(c, x, from);
  const nan = nanResult(c, a, undefined, from, to);
  if (nan !== undefined) return nan;
  if (a.kind === 'infinity') return infinity(a.sign, to);
  if (a.kind === 'zero') return zero(a.sign, to);
  noteDenormal(c, a);
  return round(c, a.sign, a.significand, a.exponent, false, to);
}

export function fromInteger(c: Context, value: bigint, f: Format): bigint {
  if (value === 0n) return zero(0, f);
  return round(c, value < 0n ? 1 : 0, value < 0n ? -value : value, 0, false, f);
}

/** A signed integer of `bits` bits; the integer indefinite (only the sign bit set) when it does not fit. */
export function toInteger(c: Context, x: bigint, f: Format, bits: number, rounding = c.mode.rounding): bigint {
  const a = operand(c, x, f);
  const indefinite = 1n << BigInt(bits - 1);
  if (a.kind === 'nan' || a.kind === 'infinity' || a.kind === 'unsupported') {
    c.flags |= Exception.invalid;
    return indefinite;
  }
  if (a.kind === 'zero') return 0n;
  const rounded = toIntegral(c, a, rounding, bits + 2);
  const value = rounded === undefined ? undefined : a.sign === 1 ? -rounded.value : rounded.value;
  if (value === undefined || value < -indefinite || value >= indefinite) {
    c.flags |= Exception.invalid;
    return indefinite;
  }
  if (rounded?.inexact) c.flags |= Exception.precision;
  c.roundedUp = rounded?.up ?? false;
  return BigInt.asUintN(bits, value);
}

/** The magnitude as an integer; undefined when it is beyond `bitsMax` bits. */
function toIntegral(c: Context, a: Parts, rounding: number, bitsMax: number): { value: bigint; inexact: boolean; up: boolean } | undefined {
  if (a.exponent >= 0) return a.exponent + bitLength(a.significand) > bitsMax ? undefined : { value: a.significand << BigInt(a.exponent), inexact: false, up: false };
  const drop = Math.min(-a.exponent, bitLength(a.significand) + 2);
  const local = new Context({ ...c.mode, rounding });
  const r = roundTo(local, a.sign, a.significand, 0, false, drop);
  return { value: r.significand, inexact: r.inexact, up: r.up };
}

/** To an integral value in the same format (ROUNDSD, FRNDINT). */
export function roundToIntegral(c: Context, x: bigint, f: Format, rounding: number, quietPrecision = false): bigint {
  const a = operand(c, x, f);
  const nan = nanResult(c, a, undefined, f, f);
  if (nan !== undefined) return nan;
  if (a.kind === 'infinity') return infinity(a.sign, f);
  if (a.kind === 'zero') return zero(a.sign, f);
  if (f.explicit) noteDenormal(c, a); // ROUNDSD knows no denormal operands
  if (a.exponent >= 0) return x;
  const r = toIntegral(c, a, rounding, f.precision + 2);
  if (r?.inexact && !quietPrecision) c.flags |= Exception.precision;
  c.roundedUp = r?.up ?? false;
  return !r || r.value === 0n ? zero(a.sign, f) : pack(a.sign, r.value, 0, f);
}
