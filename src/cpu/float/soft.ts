/**
 * IEEE 754 arithmetic with bigints, exact for any format: every operation is computed exactly (or with a sticky bit) and rounded once.
 * Flags and NaN payloads as x86 gives them: SDM 1, 4.8 and 11.5. Tininess is detected after rounding.
 */

export interface Format {
  /** Bits of the significand, the leading one included. */
  readonly precision: number;
  readonly exponentBits: number;
  /** The leading one is stored (x87 double extended). */
  readonly explicit: boolean;
  /** What follows from these: bits below the exponent, masks of fraction and exponent, the leading one, the bias, the lowest exponent of a last place. */
  readonly stored: bigint;
  readonly fractionMask: bigint;
  readonly exponentMask: bigint;
  readonly signShift: bigint;
  readonly hidden: bigint;
  readonly bias: number;
  readonly lowest: number;
}
function format(precision: number, exponentBits: number, explicit: boolean): Format {
  const stored = BigInt(explicit ? precision : precision - 1);
  const bias = 2 ** (exponentBits - 1) - 1;
  return {
    precision, exponentBits, explicit, stored, bias,
    fractionMask: (1n << stored) - 1n,
    exponentMask: (1n << BigInt(exponentBits)) - 1n,
    signShift: stored + BigInt(exponentBits),
    hidden: 1n << BigInt(precision - 1),
    lowest: 1 - bias - (precision - 1),
  };
}
export const single = format(24, 8, false);
export const double = format(53, 11, false);
export const extended = format(64, 15, true);

export const Exception = { invalid: 1, denormal: 2, divide: 4, overflow: 8, underflow: 16, precision: 32 } as const;
/** Rounding control as MXCSR and the x87 control word encode it. */
const Rounding = { nearest: 0, down: 1, up: 2, zero: 3 } as const;

/** A number taken apart: value = significand * 2^exponent. NaNs keep their payload in `significand`. */
export interface Parts {
  readonly sign: 0 | 1;
  readonly kind: 'zero' | 'finite' | 'infinity' | 'nan' | 'unsupported';
  readonly exponent: number;
  readonly significand: bigint;
  readonly signaling: boolean;
  readonly denormal: boolean;
}

export interface Mode {
  readonly rounding: number;
  /** Denormal operands count as zero; denormal results become zero. */
  readonly daz?: boolean;
  readonly ftz?: boolean;
  /** x87 precision control: bits of the significand to round to. */
  readonly precision?: number;
  /** Of two NaN operands the one with the larger significand wins (x87) rather than the first (SSE). */
  readonly largerNan?: boolean;
  /** Exceptions that are masked; an unmasked underflow is signalled by tininess alone. */
  readonly masked: number;
}

/** A result in parts or bits, with the exceptions that came up. */
export class Context {
  readonly mode: Mode;
  flags = 0;
  /** The magnitude was rounded up (x87 C1). */
  roundedUp = false;
  constructor(mode: Mode) {
    this.mode = mode;
  }
}

/** Of a number that is not negative; 1 for zero. */
export function bitLength(n: bigint): number {
  let rest = n;
  let bits = 0;
  while (rest > 0xffff_ffffn) {
    rest >>= 32n;
    bits += 32;
  }
  return bits + (32 - Math.clz32(Number(rest)) || 1);
}

export function unpack(bits: bigint, f: Format): Parts {
  const fraction = bits & f.fractionMask;
  const exponent = Number((bits >> f.stored) & f.exponentMask);
  const sign = Number((bits >> f.signShift) & 1n) as 0 | 1;
  const payload = fraction & (f.hidden - 1n);
  const plain = { signaling: false, denormal: false };
  if (f.explicit && exponent !== 0 && (fraction & f.hidden) === 0n) return { sign, kind: 'unsupported', exponent: 0, significand: fraction, ...plain }; // pseudo-NaN, pseudo-infinity, unnormal
  if (exponent === 2 * f.bias + 1) {
    if (payload === 0n) return { sign, kind: 'infinity', exponent: 0, significand: 0n, ...plain };
    return { sign, kind: 'nan', exponent: 0, significand: payload, signaling: (payload & (f.hidden >> 1n)) === 0n, denormal: false };
  }
  if (exponent === 0) {
    if (fraction === 0n) return { sign, kind: 'zero', exponent: 0, significand: 0n, ...plain };
    return { sign, kind: 'finite', exponent: f.lowest, significand: f.explicit ? fraction : payload, signaling: false, denormal: true };
  }
  return { sign, kind: 'finite', exponent: f.lowest + exponent - 1, significand: payload | f.hidden, signaling: false, denormal: false };
}

export function infinity(sign: 0 | 1, f: Format): bigint {
  const stored = f.stored;
  return (((BigInt(sign) << BigInt(f.exponentBits)) | f.exponentMask) << stored) | (f.explicit ? 1n << 63n : 0n);
}
export const zero = (sign: 0 | 1, f: Format): bigint => BigInt(sign) << f.signShift;
export const defaultNan = (f: Format): bigint => infinity(1, f) | (1n << BigInt(f.precision - 2));
function largest(sign: 0 | 1, f: Format, precision: number): bigint {
  const dropped = BigInt(f.precision - precision);
  const stored = f.stored;
  const significand = (((1n << BigInt(precision)) - 1n) << dropped) & ((1n << stored) - 1n);
  return ((((BigInt(sign) << BigInt(f.exponentBits)) | ((1n << BigInt(f.exponentBits)) - 2n)) << stored) | significand);
}

/** A NaN operand as a result of format `f`: quiet, with its payload moved from format `from`. */
export function quiet(nan: Parts, from: Format, f: Format): bigint {
  const shift = f.precision - from.precision;
  const payload = shift >= 0 ? nan.significand << BigInt(shift) : nan.significand >> BigInt(-shift);
  return (infinity(nan.sign, f) | payload | (1n << BigInt(f.precision - 2))) as bigint;
}

/** Rounds sign * significand * 2^exponent (plus a bit more when sticky) into the format. */
export function round(c: Context, sign: 0 | 1, significand: bigint, exponent: number, sticky: boolean, f: Format): bigint {
  const precision = c.mode.precision ?? f.precision;
  const bias = f.bias;
  const length = bitLength(significand);
  const smallest = 1 - bias; // exponent of the leading one of the smallest normal number
  const normal = roundTo(c, sign, significand, exponent, sticky, length - precision);
  // tiny after rounding as if the exponent had no bound
  const roundedLeading = normal.exponent + bitLength(normal.significand) - 1;
  if (roundedLeading < smallest) return underflow(c, { sign, significand, exponent, sticky, smallest, precision }, f);
  if (normal.inexact) c.flags |= Exception.precision;
  c.roundedUp = normal.up;
  if (roundedLeading > bias) {
    c.flags |= Exception.overflow | Exception.precision;
    const r = c.mode.rounding;
    const toInfinity = r === Rounding.nearest || (r === Rounding.up && sign === 0) || (r === Rounding.down && sign === 1);
    c.roundedUp = toInfinity;
    return toInfinity ? infinity(sign, f) : largest(sign, f, precision);
  }
  return pack(sign, normal.significand, normal.exponent, f);
}

interface Rounded {
  readonly significand: bigint;
  readonly exponent: number;
  readonly inexact: boolean;
  readonly up: boolean;
}

/** Drops `drop` low bits (nothing when not positive) by the rounding mode. */
export function roundTo(c: Context, sign: 0 | 1, significand: bigint, exponent: number, sticky: boolean, drop: number): Rounded {
  if (drop <= 0) {
    // a sticky bit below the last place: only with room to spare, so shift it in
    if (!sticky) return { significand, exponent, inexact: false, up: false };
    return roundTo(c, sign, (significand << 2n) | 1n, exponent - 2, false, drop + 2 > 0 ? drop + 2 : 2);
  }
  const d = BigInt(drop);
  const kept = significand >> d;
  const rest = significand & ((1n << d) - 1n);
  const half = 1n << (d - 1n);
  const inexact = rest !== 0n || sticky;
  let up = false;
  switch (c.mode.rounding) {
    case Rounding.nearest: up = rest > half || (rest === half && (sticky || (kept & 1n) === 1n)); break;
    case Rounding.down: up = sign === 1 && inexact; break;
    case Rounding.up: up = sign === 0 && inexact; break;
  }
  return { significand: up ? kept + 1n : kept, exponent: exponent + drop, inexact, up };
}

interface Tiny { readonly sign: 0 | 1; readonly significand: bigint; readonly exponent: number; readonly sticky: boolean; readonly smallest: number; readonly precision: number }

function underflow(c: Context, t: Tiny, f: Format): bigint {
  if (c.mode.ftz && (c.mode.masked & Exception.underflow) !== 0) {
    c.flags |= Exception.underflow | Exception.precision;
    return zero(t.sign, f);
  }
  // the last place of a denormal is fixed
  const last = t.smallest - (t.precision - 1);
  const denormal = roundTo(c, t.sign, t.significand, t.exponent, t.sticky, last - t.exponent);
  if (denormal.inexact) c.flags |= Exception.precision | Exception.underflow;
  else if ((c.mode.masked & Exception.underflow) === 0) c.flags |= Exception.underflow;
  c.roundedUp = denormal.up;
  return denormal.significand === 0n ? zero(t.sign, f) : pack(t.sign, denormal.significand, denormal.exponent, f);
}

/** Bits of a value that fits the format exactly. */
export function pack(sign: 0 | 1, significand: bigint, exponent: number, f: Format): bigint {
  const { lowest } = f;
  let s = significand;
  let e = exponent;
  const length = bitLength(s);
  // bring the leading one to the top, but not below the lowest exponent
  let shift = f.precision - length;
  if (e - shift < lowest) shift = e - lowest;
  s = shift >= 0 ? s << BigInt(shift) : s >> BigInt(-shift);
  e -= shift;
  const isNormal = (s & f.hidden) !== 0n;
  const biased = isNormal ? e - lowest + 1 : 0;
  const stored = f.stored;
  const fraction = f.explicit ? s : s & (f.hidden - 1n);
  return (((BigInt(sign) << BigInt(f.exponentBits)) | BigInt(biased)) << stored) | fraction;
}

// --- operations

/** Operands as arithmetic sees them: denormals flagged or flushed. Unsupported ones and signaling NaNs are invalid. */
export function operand(c: Context, bits: bigint, f: Format): Parts {
  const p = unpack(bits, f);
  return p.denormal && c.mode.daz ? { ...p, kind: 'zero', significand: 0n, denormal: false } : p;
}
export function noteDenormal(c: Context, ...parts: Parts[]): void {
  if (parts.some((p) => p.denormal)) c.flags |= Exception.denormal;
}
export function invalid(c: Context, f: Format): bigint {
  c.flags |= Exception.invalid;
  return defaultNan(f);
}

/** The result when an operand is a NaN or unsupported; undefined otherwise. */
export function nanResult(c: Context, a: Parts, b: Parts | undefined, from: Format, f: Format): bigint | undefined {
  if (a.kind === 'unsupported' || b?.kind === 'unsupported') return invalid(c, f);
  const [na, nb] = [a.kind === 'nan', b?.kind === 'nan'];
  if (!na && !nb) return undefined;
  if ((na && a.signaling) || (nb && b?.signaling)) c.flags |= Exception.invalid;
  let chosen = na ? a : (b as Parts);
  if (na && nb && b && c.mode.largerNan) {
    if (a.signaling !== b.signaling) chosen = a.signaling ? b : a;
    else if (b.significand > a.significand || (b.significand === a.significand && a.sign === 1)) chosen = b;
  }
  return quiet(chosen, from, f);
}

const alignmentMax = 256;

export function add(c: Context, x: bigint, y: bigint, f: Format, negate = false): bigint {
  const a = operand(c, x, f);
  const raw = operand(c, y, f);
  const nan = nanResult(c, a, raw, f, f);
  if (nan !== undefined) return nan;
  const b: Parts = negate ? { ...raw, sign: raw.sign === 0 ? 1 : 0 } : raw;
  if (a.kind === 'infinity' || b.kind === 'infinity') {
    if (a.kind === b.kind && a.sign !== b.sign) return invalid(c, f);
    noteDenormal(c, a, b);
    return infinity(a.kind === 'infinity' ? a.sign : b.sign, f);
  }
  noteDenormal(c, a, b);
  const cancelled = c.mode.rounding === Rounding.down ? 1 : 0;
  if (a.kind === 'zero' && b.kind === 'zero') return zero(a.sign === b.sign ? a.sign : cancelled, f);
  if (a.kind === 'zero') return round(c, b.sign, b.significand, b.exponent, false, f);
  if (b.kind === 'zero') return round(c, a.sign, a.significand, a.exponent, false, f);
  const [high, low] = a.exponent + bitLength(a.significand) >= b.exponent + bitLength(b.significand) ? [a, b] : [b, a];
  let gap = high.exponent - low.exponent;
  let [s, t] = [high.significand, low.significand];
  let exponent = low.exponent;
  if (gap > alignmentMax) {
    // the smaller one only matters as "a little more or less"
    s <<= BigInt(alignmentMax);
    t = 1n;
    exponent = high.exponent - alignmentMax;
    gap = 0;
  } else if (gap < 0) {
    t <<= BigInt(-gap);
    exponent = high.exponent;
    gap = 0;
  }
  s <<= BigInt(gap);
  const sum = (high.sign === 1 ? -s : s) + (low.sign === 1 ? -t : t);
  if (sum === 0n) return zero(cancelled, f);
  return round(c, sum < 0n ? 1 : 0, sum < 0n ? -sum : sum, exponent, false, f);
}

export function multiply(c: Context, x: bigint, y: bigint, f: Format): bigint {
  const a = operand(c, x, f);
  const b = operand(c, y, f);
  const nan = nanResult(c, a, b, f, f);
  if (nan !== undefined) return nan;
  const sign = (a.sign ^ b.sign) as 0 | 1;
  if (a.kind === 'infinity' || b.kind === 'infinity') {
    if (a.kind === 'zero' || b.kind === 'zero') return invalid(c, f);
    noteDenormal(c, a, b);
    return infinity(sign, f);
  }
  noteDenormal(c, a, b);
  if (a.kind === 'zero' || b.kind === 'zero') return zero(sign, f);
  return round(c, sign, a.significand * b.significand, a.exponent + b.exponent, false, f);
}

export function divide(c: Context, x: bigint, y: bigint, f: Format): bigint {
  const a = operand(c, x, f);
  const b = operand(c, y, f);
  const nan = nanResult(c, a, b, f, f);
  if (nan !== undefined) return nan;
  const sign = (a.sign ^ b.sign) as 0 | 1;
  if (a.kind === 'infinity') {
    if (b.kind === 'infinity') return invalid(c, f);
    noteDenormal(c, b);
    return infinity(sign, f);
  }
  if (b.kind === 'infinity') {
    noteDenormal(c, a);
    return zero(sign, f);
  }
  if (b.kind === 'zero') {
    if (a.kind === 'zero') return invalid(c, f);
    c.flags |= Exception.divide;
    return infinity(sign, f);
  }
  noteDenormal(c, a, b);
  if (a.kind === 'zero') return zero(sign, f);
  const shift = BigInt(2 * f.precision + 4);
  const dividend = a.significand << shift;
  const quotient = dividend / b.significand;
  return round(c, sign, quotient, a.exponent - b.exponent - Number(shift), quotient * b.significand !== dividend, f);
}

function integerRoot(n: bigint): bigint {
  if (n < 2n) return n;
  let x = 1n << BigInt((bitLength(n) + 1) >> 1);
  for (;;) {
    const next = (x + n / x) >> 1n;
    if (next >= x) return x;
    x = next;
  }
}

export function squareRoot(c: Context, x: bigint, f: Format): bigint {
  const a = operand(c, x, f);
  const nan = nanResult(c, a, undefined, f, f);
  if (nan !== undefined) return nan;
  if (a.kind === 'zero') return zero(a.sign, f);
  if (a.sign === 1) return invalid(c, f);
  if (a.kind === 'infinity') return infinity(0, f);
  noteDenormal(c, a);
  let shift = 2 * f.precision + 4;
  if (((a.exponent - shift) & 1) !== 0) shift++;
  const scaled = a.significand << BigInt(shift);
  const root = integerRoot(scaled);
  return round(c, 0, root, (a.exponent - shift) / 2, root * root !== scaled, f);
}

/** -1, 0, 1, or undefined when unordered. A quiet comparison (UCOMIS) faults on signaling NaNs only. */
export function compare(c: Context, x: bigint, y: bigint, f: Format, quietly: boolean): -1 | 0 | 1 | undefined {
  const a = operand(c, x, f);
  const b = operand(c, y, f);
  const odd = (p: Parts): boolean => p.kind === 'nan' || p.kind === 'unsupported';
  if (odd(a) || odd(b)) {
    if (!quietly || a.signaling || b.signaling || a.kind === 'unsupported' || b.kind === 'unsupported') c.flags |= Exception.invalid;
    return undefined;
  }
  noteDenormal(c, a, b);
  return order(a, b);
}
function order(a: Parts, b: Parts): -1 | 0 | 1 {
  if (a.kind === 'zero' && b.kind === 'zero') return 0;
  const signed = (p: Parts): number => (p.kind === 'zero' ? 0 : p.sign === 1 ? -1 : 1);
  if (signed(a) !== signed(b)) return signed(a) < signed(b) ? -1 : 1;
  const direction = a.sign === 1 ? -1 : 1;
  if (a.kind === 'infinity' || b.kind === 'infinity') return a.kind === b.kind ? 0 : ((a.kind === 'infinity' ? direction : -direction) as -1 | 1);
  const [ta, tb] = [a.exponent + bitLength(a.significand), b.exponent + bitLength(b.significand)];
  if (ta !== tb) return (ta > tb ? direction : -direction) as -1 | 1;
  const low = Math.min(a.exponent, b.exponent);
  const [sa, sb] = [a.significand << BigInt(a.exponent - low), b.significand << BigInt(b.exponent - low)];
  return sa === sb ? 0 : ((sa > sb ? direction : -direction) as -1 | 1);
}
