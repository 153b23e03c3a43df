/** Arithmetic that meanings leave to TypeScript: 128-bit division, decimal adjustment, CRC-32C, bit gather and scatter. */
import { Fault, Vector } from '../fault.ts';
import { readFlags, writeStatusFlags } from '../flags.ts';
import type { Processor } from '../processor.ts';
import { Flag, statusFlags } from '../state.ts';
import type { Helpers } from './helper.ts';

const divisionError = (): Fault => new Fault(Vector.divide);

const parity = (byte: number): number => {
  let ones = 0;
  for (let n = 0; n < 8; n++) ones ^= (byte >> n) & 1;
  return ones === 0 ? Flag.parity : 0;
};
const resultFlags = (byte: number): number => ((byte & 0xff) === 0 ? Flag.zero : 0) | (byte & 0x80 ? Flag.sign : 0) | parity(byte & 0xff);

function setAl(p: Processor, al: number): void {
  p.v.setRegister(0, (p.v.register(0) & ~0xffn) | BigInt(al & 0xff));
}
function setAx(p: Processor, ax: number): void {
  p.v.setRegister(0, (p.v.register(0) & ~0xffffn) | BigInt(ax & 0xffff));
}

function decimalAdjust(p: Processor, subtract: boolean): void {
  const flags = readFlags(p.v);
  const old = Number(p.v.register(0) & 0xffn);
  const sign = subtract ? -1 : 1;
  let al = old;
  let carry = 0;
  let adjust = 0;
  if ((old & 15) > 9 || (flags & Flag.adjust) !== 0) {
    al += sign * 6;
    carry = (flags & Flag.carry) !== 0 || al < 0 || al > 0xff ? 1 : 0;
    adjust = Flag.adjust;
  }
  if (old > 0x99 || (flags & Flag.carry) !== 0) {
    al += sign * 0x60;
    carry = 1;
  } else if (!subtract) carry = 0;
  setAl(p, al);
  writeStatusFlags(p.v, resultFlags(al) | carry | adjust);
}

function asciiAdjust(p: Processor, subtract: boolean): void {
  const flags = readFlags(p.v);
  const ax = Number(p.v.register(0) & 0xffffn);
  const adjusts = (ax & 15) > 9 || (flags & Flag.adjust) !== 0;
  const next = adjusts ? (subtract ? ((ax - 6) & 0xffff) - 0x100 : ax + 0x106) : ax;
  setAx(p, next & 0xff0f);
  writeStatusFlags(p.v, (flags & statusFlags & ~(Flag.carry | Flag.adjust)) | (adjusts ? Flag.carry | Flag.adjust : 0));
}

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let c = byte;
  for (let n = 0; n < 8; n++) c = c & 1 ? (c >>> 1) ^ 0x82f6_3b78 : c >>> 1;
  return c >>> 0;
});

export const arithmeticHelpers: Helpers<
  'divide128' | 'divideSigned128' | 'daa' | 'das' | 'aaa' | 'aas' | 'aam' | 'aad' | 'crc32c' | 'pext' | 'pdep'
> = {
  divide128(p, divisor) {
    const dividend = (p.v.register(2) << 64n) | p.v.register(0);
    const quotient = dividend / divisor;
    if (quotient >> 64n !== 0n) throw divisionError();
    p.v.setRegister(0, quotient);
    p.v.setRegister(2, dividend % divisor);
  },
  divideSigned128(p, divisor) {
    const dividend = (BigInt.asIntN(64, p.v.register(2)) << 64n) | p.v.register(0);
    const by = BigInt.asIntN(64, divisor);
    const quotient = dividend / by;
    if (quotient !== BigInt.asIntN(64, quotient)) throw divisionError();
    p.v.setRegister(0, quotient);
    p.v.setRegister(2, dividend % by);
  },
  daa: (p) => decimalAdjust(p, false),
  das: (p) => decimalAdjust(p, true),
  aaa: (p) => asciiAdjust(p, false),
  aas: (p) => asciiAdjust(p, true),
  aam(p, base) {
    if (base === 0n) throw divisionError();
    const al = Number(p.v.register(0) & 0xffn);
    const by = Number(base);
    setAx(p, (Math.floor(al / by) << 8) | (al % by));
    writeStatusFlags(p.v, resultFlags(al % by));
  },
  aad(p, base) {
    const ax = Number(p.v.register(0) & 0xffffn);
    const al = ((ax & 0xff) + (ax >> 8) * Number(base)) & 0xff;
    setAx(p, al);
    writeStatusFlags(p.v, resultFlags(al));
  },
  crc32c(_p, seed, data, bits) {
    let c = Number(seed & 0xffff_ffffn);
    for (let n = 0n; n < bits; n += 8n) c = (c >>> 8) ^ (crcTable[(c ^ Number((data >> n) & 0xffn)) & 0xff] ?? 0);
    return BigInt(c >>> 0);
  },
  pext(_p, value, mask) {
    let out = 0n;
    let at = 0n;
    for (let n = 0n; n < 64n; n++) {
      if (((mask >> n) & 1n) === 0n) continue;
      out |= ((value >> n) & 1n) << at++;
    }
    return out;
  },
  pdep(_p, value, mask) {
    let out = 0n;
    let at = 0n;
    for (let n = 0n; n < 64n; n++) {
      if (((mask >> n) & 1n) === 0n) continue;
      out |= ((value >> at++) & 1n) << n;
    }
    return out;
  },
};
