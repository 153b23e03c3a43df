/** FBLD and FBSTP: 18 packed decimal digits and a sign. SDM 1, 4.7. */
import { fromInteger, toInteger } from './conversions.ts';
import { Context, Exception, extended } from './soft.ts';


export function loadDecimal(bits: bigint): bigint {
  let value = 0n;
  for (let n = 17n; n >= 0n; n--) value = value * 10n + ((bits >> (4n * n)) & 15n);
  const negative = ((bits >> 79n) & 1n) === 1n;
  const magnitude = fromInteger(new Context({ rounding: 0, masked: 0x3f }), value, extended);
  return negative ? magnitude | (1n << 79n) : magnitude;
}

export function storeDecimal(c: Context, x: bigint): bigint {
  const before = c.flags;
  const value = BigInt.asIntN(64, toInteger(c, x, extended, 64));
  c.flags &= ~Exception.denormal;
  const magnitude = value < 0n ? -value : value;
  if ((c.flags & ~before & Exception.invalid) !== 0 || magnitude >= 10n ** 18n) {
    c.flags = (c.flags & ~Exception.precision) | Exception.invalid;
    return 0xffff_c000_0000_0000_0000n;
  }
  let bits = 0n;
  let rest = magnitude;
  for (let n = 0n; n < 18n; n++) {
    bits |= (rest % 10n) << (4n * n);
    rest /= 10n;
  }
  return ((x >> 79n) & 1n) === 1n ? bits | (1n << 79n) : bits;
}
