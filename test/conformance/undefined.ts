/** Which flags and results the manuals leave open, by instruction. SDM 2 and AMD APM 3, the "Flags Affected" of each entry. */
import type { Decoded } from '../../src/isa/decode.ts';
import type { CpuState } from './cases.ts';

const [carry, parity, adjust, zero, sign, overflow] = [1, 4, 0x10, 0x40, 0x80, 0x800];
const all = carry | parity | adjust | zero | sign | overflow;

function shiftCount(d: Decoded, s: CpuState): number {
  const operand = d.operands.at(-1);
  const raw = operand?.kind === 'immediate' ? Number(d.immediates[0] ?? 0n) : Number((s.gpr[1] ?? 0n) & 0xffn);
  return raw & (d.form.size === 64 ? 63 : 31);
}

/** Mask of undefined status flags. */
export function undefinedFlags(d: Decoded, before: CpuState): number {
  const { name } = d.row;
  switch (name) {
    case 'and':
    case 'or':
    case 'xor':
    case 'test':
      return adjust;
    case 'shl':
    case 'shr':
    case 'sar':
    case 'shld':
    case 'shrd': {
      const count = shiftCount(d, before);
      if (count === 0) return 0;
      return adjust | (count > 1 ? overflow : 0) | (count >= d.form.size && name !== 'sar' ? carry : 0);
    }
    case 'rol':
    case 'ror':
    case 'rcl':
    case 'rcr':
      return shiftCount(d, before) === 1 ? 0 : overflow;
    case 'mul':
    case 'imul':
      return sign | zero | adjust | parity;
    case 'div':
    case 'idiv':
      return all;
    case 'bsf':
    case 'bsr':
      return all & ~zero;
    case 'bt':
    case 'bts':
    case 'btr':
    case 'btc':
      return overflow | sign | adjust | parity;
    case 'tzcnt':
    case 'lzcnt':
      return overflow | sign | parity | adjust;
    case 'aaa':
    case 'aas':
      return overflow | sign | zero | parity;
    case 'aad':
    case 'aam':
      return overflow | adjust | carry;
    case 'daa':
    case 'das':
      return overflow;
    case 'bextr':
      return adjust | sign | parity;
    case 'andn':
    case 'bzhi':
    case 'blsr':
    case 'blsi':
    case 'blsmsk':
      return adjust | parity;
    default:
      return 0;
  }
}

/** Approximations and transcendental functions differ between processors in their last places. */
export const approximate = (d: Decoded): boolean =>
  /^(rcp|rsqrt)/.test(d.row.name) ||
  (d.row.name === 'x87 d9' && [0xf0, 0xf1, 0xf2, 0xf3, 0xf9, 0xfb, 0xfe, 0xff].includes(d.form.immediate));

/** Condition codes C0, C2, C3 of the x87 are defined after comparisons, examinations and remainders only. */
export function definedStatus(d: Decoded): number {
  const everything = 0xffff;
  const conditions = 0x4500;
  const { name } = d.row;
  if (!name.startsWith('x87')) return everything;
  const opcode = Number.parseInt(name.slice(4), 16);
  const modrm = d.form.immediate;
  const digit = (modrm >> 3) & 7;
  const compares = (opcode === 0xd8 || opcode === 0xdc || opcode === 0xda || opcode === 0xde) && (digit === 2 || digit === 3);
  const other =
    (opcode === 0xd9 && (modrm === 0xe4 || modrm === 0xe5 || modrm === 0xf8 || modrm === 0xf5)) ||
    (opcode === 0xdd && modrm >= 0xe0) ||
    (opcode === 0xda && modrm === 0xe9);
  return compares || other ? everything : everything & ~conditions;
}
