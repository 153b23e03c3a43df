/**
 * EFLAGS in two words. `flagResult` is a result, sign-extended from its size: zero, sign and parity follow from it. `flagBits` has
 * carry in bit 31, carry xor overflow in bit 30, adjust in bit 3 (so the vector of an addition's carries can be stored as it comes),
 * and in bits 7 and 2 what sign and parity differ from the result (only after POPF and the like). Bochs keeps flags in this way.
 */
import { At, Flag, statusFlags } from './state.ts';
import type { Vcpu } from './vcpu.ts';

const oddParity = (byte: number): number => {
  let b = byte ^ (byte >> 4);
  b ^= b >> 2;
  return (b ^ (b >> 1)) & 1;
};

export function readFlags(v: Vcpu): number {
  const bits = v.get(At.flagBits);
  const result = v.get64(At.flagResult);
  const sign = (Number(result >> 63n) ^ (bits >> 7)) & 1;
  const parity = (oddParity(Number(result & 0xffn)) ^ 1 ^ (bits >> 2)) & 1;
  const status =
    ((bits >>> 31) & 1) | (parity << 2) | (((bits >> 3) & 1) << 4) | (result === 0n ? Flag.zero : 0) | (sign << 7) | ((((bits ^ (bits << 1)) >>> 31) & 1) << 11);
  return status | Flag.fixed | v.systemFlags;
}

/** The six arithmetic flags from an EFLAGS image. */
export function writeStatusFlags(v: Vcpu, flags: number): void {
  const carry = flags & 1;
  const overflow = (flags >> 11) & 1;
  const zero = (flags >> 6) & 1;
  const sign = (flags >> 7) & 1;
  const parity = (flags >> 2) & 1;
  // the result is 0 (even parity) or 1 (odd parity), never negative
  v.set64(At.flagResult, zero ? 0n : 1n);
  v.set(At.flagBits, (carry << 31) | ((carry ^ overflow) << 30) | (((flags >> 4) & 1) << 3) | (sign << 7) | ((parity ^ zero) << 2));
}

/** All of EFLAGS, without any check of privilege. */
export function writeFlags(v: Vcpu, flags: number): void {
  writeStatusFlags(v, flags);
  v.set(At.systemFlags, flags & ~statusFlags & ~Flag.fixed);
}
