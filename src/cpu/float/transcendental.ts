/** x87's transcendental functions in fixed point with bigints: 192 fraction bits, so that rounding to 64 is right all but always. */
import { type Context, Exception, extended, type Parts, round } from './soft.ts';

const places = 192n;
const one = 1n << places;
const multiply = (a: bigint, b: bigint): bigint => (a * b) >> places;

/** Fixed point from parts; exact while the exponent is not below the places. */
export const fixed = (p: Parts): bigint => {
  if (p.kind === 'zero') return 0n;
  const shift = BigInt(p.exponent) + places;
  const magnitude = shift >= 0n ? p.significand << shift : p.significand >> -shift;
  return p.sign === 1 ? -magnitude : magnitude;
};
/** Rounds a fixed-point value; it stands for an irrational number, so it is never exact. */
export function unfix(c: Context, value: bigint): bigint {
  c.flags |= Exception.precision;
  return round(c, value < 0n ? 1 : 0, value < 0n ? -value : value, -Number(places), true, extended);
}

function series(first: bigint, next: (term: bigint, n: bigint) => bigint): bigint {
  let sum = 0n;
  let term = first;
  for (let n = 1n; term !== 0n && term !== -1n; n++) {
    sum += term;
    term = next(term, n);
  }
  return sum;
}
/** atanh(1/n) * 2^places */
const inverseTangent = (n: bigint, sign: 1n | -1n): bigint => {
  const square = n * n;
  let power = one / n;
  let sum = 0n;
  for (let k = 1n, s = 1n; power !== 0n; k += 2n, s *= sign) {
    sum += (s * power) / k;
    power /= square;
  }
  return sum;
};
const ln2 = 2n * inverseTangent(3n, 1n);
const pi = 16n * inverseTangent(5n, -1n) - 4n * inverseTangent(239n, -1n);
/** The processors' own value for argument reduction has 66 bits. */
const pi66 = (pi >> (places - 64n)) << (places - 64n);

/** 2^x - 1 for |x| <= 1. */
export const exponentialMinusOne = (x: bigint): bigint => {
  const t = multiply(x, ln2);
  return series(t, (term, n) => multiply(term, t) / (n + 1n));
};
/** log2 of a positive fixed-point number. Near 1 nothing is lost; further away the exponent is taken out, so that the series converges fast. */
export function logarithm(x: bigint): bigint {
  if (2n * x > one && x < 2n * one) return logarithmNearOne(x);
  const exponent = BigInt(x.toString(2).length - 1) - places;
  const scaled = exponent >= 0n ? x >> exponent : x << -exponent;
  return (exponent << places) + logarithmNearOne(scaled);
}
const logarithmNearOne = (x: bigint): bigint => {
  // ln x = 2 atanh((x-1)/(x+1))
  const z = ((x - one) << places) / (x + one);
  const square = multiply(z, z);
  let power = z;
  let sum = 0n;
  for (let k = 1n; power !== 0n && power !== -1n; k += 2n) {
    sum += power / k;
    power = multiply(power, square);
  }
  return ((2n * sum) << places) / ln2;
};

export { ln2, one, pi, places };

/** Sine and cosine after reduction by the 66-bit pi. */
export function sineCosine(x: bigint): { readonly sine: bigint; readonly cosine: bigint } {
  const quarter = pi66 / 2n;
  let quotient = x / quarter;
  let r = x - quotient * quarter;
  if (r > quarter / 2n) {
    r -= quarter;
    quotient += 1n;
  } else if (r < -quarter / 2n) {
    r += quarter;
    quotient -= 1n;
  }
  const square = multiply(r, r);
  const s = series(r, (term, n) => -multiply(term, square) / (2n * n * (2n * n + 1n)));
  const c = series(one, (term, n) => -multiply(term, square) / ((2n * n - 1n) * (2n * n)));
  switch (Number(BigInt.asUintN(2, quotient))) {
    case 0: return { sine: s, cosine: c };
    case 1: return { sine: c, cosine: -s };
    case 2: return { sine: -s, cosine: -c };
    default: return { sine: -c, cosine: s };
  }
}

/** atan(y/x) for x > 0, y >= 0, both scaled alike. */
export function arcTangent(y: bigint, x: bigint): bigint {
  if (y > x) return pi / 2n - arcTangent(x, y);
  let t = (y << places) / x;
  // halve the angle three times: atan t = 2 atan(t / (1 + sqrt(1 + t^2)))
  let halvings = 0n;
  while (t > one / 16n) {
    const root = squareRoot(one + multiply(t, t));
    t = (t << places) / (one + root);
    halvings++;
  }
  const square = multiply(t, t);
  let power = t;
  let sum = 0n;
  for (let k = 1n, s = 1n; power !== 0n; k += 2n, s = -s) {
    sum += (s * power) / k;
    power = multiply(power, square);
  }
  return sum << halvings;
}
function squareRoot(x: bigint): bigint {
  const n = x << places;
  let r = 1n << BigInt((n.toString(2).length + 1) >> 1);
  for (;;) {
    const next = (r + n / r) >> 1n;
    if (next >= r) return r;
    r = next;
  }
}
