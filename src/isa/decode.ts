/** The decoder: bytes to a row, a form and operands. SDM 2, chapter 2 (formats) and appendix A (opcode maps). */

import { instructionTable } from './families/index.ts';
import { pauseRow } from './families/vmx.ts';
import type { Feature, Instruction, Notation } from './instruction.ts';
import type { Form, Size } from './ops.ts';
import { nothing, row } from './table.ts';

/** A memory operand: base + index * scale + displacement in a segment. Register 16 is the instruction pointer, -1 is none. */
export interface MemoryOperand {
  readonly base: number;
  readonly index: number;
  readonly scale: 0 | 1 | 2 | 3;
  readonly displacement: bigint;
  readonly segment: number;
}

export type OperandKind = 'register' | 'high' | 'memory' | 'immediate' | 'segment' | 'control' | 'debug' | 'xmm' | 'mmx';

export interface DecodedOperand {
  readonly kind: OperandKind;
  /** Bits. */
  readonly size: number;
  readonly number: number;
}

export interface Decoded {
  readonly row: Instruction;
  readonly length: number;
  readonly form: Form;
  readonly operands: readonly DecodedOperand[];
  readonly memory: MemoryOperand | undefined;
  /** The immediates, in order, and the displacement of a relative jump as the last of them. */
  readonly immediates: readonly bigint[];
  readonly lock: boolean;
}

/** `undefined` opcode: #UD. `long`: more than 15 bytes, #GP. `short`: the bytes given end inside the instruction. */
export type DecodeFailure = 'undefined' | 'long' | 'short';

export type CodeSize = 16 | 32 | 64;

const candidatesOf = (): ReadonlyMap<number, readonly Instruction[]> => {
  const map = new Map<number, Instruction[]>();
  for (const instruction of instructionTable) {
    const list = map.get(instruction.opcode);
    if (list) list.push(instruction);
    else map.set(instruction.opcode, [instruction]);
  }
  return map;
};

const plainNop = row('nop', 0x90, '', nothing);
/** First number of each opcode map, by VEX's numbering. */
const mapNumbers = [0, 0x0f00, 0x0f3800, 0x0f3a00] as const;

interface Prefixes {
  operand: boolean;
  address: boolean;
  lock: boolean;
  rep: 0 | 0xf2 | 0xf3;
  /** -1: no override. */
  segment: number;
  rex: number;
  /** The byte behind the prefixes. */
  byte: number;
}
interface Opcode {
  /** As in the rows. */
  readonly number: number;
  readonly rex: number;
  readonly mandatory: number;
  readonly vex: boolean;
  /** VEX.vvvv. */
  readonly register: number;
}
/** What the operands of an instruction depend on. */
interface Place {
  readonly opcode: Opcode;
  readonly modrm: number;
  readonly size: Size;
  readonly addressSize: 16 | 32 | 64;
  readonly long: boolean;
  readonly segment: number;
}
interface Found {
  readonly operands: DecodedOperand[];
  readonly immediates: bigint[];
  absolute: MemoryOperand | undefined;
}

export class Decoder {
  readonly #features: ReadonlySet<Feature>;
  readonly #rows = candidatesOf();
  readonly #needsModrm = new Map<Instruction, boolean>();
  // the instruction at hand
  #bytes: Uint8Array = new Uint8Array(16);
  #start = 0;
  #end = 0;
  #at = 0;
  #failed: DecodeFailure | undefined;

  constructor(features: ReadonlySet<Feature>) {
    this.#features = features;
  }

  /** Decodes at `start`; bytes at or beyond `end` are not there. */
  decode(bytes: Uint8Array, start: number, end: number, code: CodeSize): Decoded | DecodeFailure {
    this.#bytes = bytes;
    this.#start = start;
    this.#at = start;
    this.#end = end;
    this.#failed = undefined;
    const decoded = this.#instruction(code);
    return this.#failed ?? decoded ?? 'undefined';
  }

  #byte(): number {
    if (this.#at - this.#start >= 15) {
      this.#failed ??= 'long';
      return 0;
    }
    if (this.#at >= this.#end) {
      this.#failed ??= 'short';
      return 0;
    }
    return this.#bytes[this.#at++] ?? 0;
  }
  #unsigned(count: number): bigint {
    let value = 0n;
    for (let n = 0; n < count; n++) value |= BigInt(this.#byte()) << BigInt(8 * n);
    return value;
  }
  #signed(count: number): bigint {
    return BigInt.asIntN(count * 8, this.#unsigned(count));
  }

  /** Undefined when the opcode is; otherwise `#failed` says what was wrong. */
  #instruction(code: CodeSize): Decoded | undefined {
    const long = code === 64;
    const p = this.#prefixes(long);
    const o = this.#failed ? undefined : this.#opcode(p, long);
    if (!o || this.#failed) return undefined;
    const candidates = this.#rows.get(o.number);
    if (!candidates) return undefined;
    const modrm = this.#hasModrm(candidates[0] as Instruction) ? this.#byte() : -1;
    if (this.#failed) return undefined;
    const wide = (o.rex & 8) !== 0;
    const selected = this.#select(candidates, { mandatory: o.mandatory, modrm, wide, long, vex: o.vex });
    if (!selected) return undefined;
    if (o.vex && o.register !== 0 && !selected.operands.includes('By')) return undefined; // an unused VEX.vvvv must be all ones
    // XCHG of the accumulator with itself would clear its upper half; PAUSE matters where a hypervisor may want to see it
    const row = o.number !== 0x90 || (o.rex & 1) !== 0 ? selected : o.mandatory === 0xf3 && (this.#features.has('vmx') || this.#features.has('svm')) ? pauseRow : plainNop;

    const size = operandSize(row, { code, operand: p.operand && row.prefix !== 0x66, wide });
    const addressSize: 16 | 32 | 64 = long ? (p.address ? 32 : 64) : (code === 16) !== p.address ? 16 : 32;
    const direct = modrm < 0 || modrm >> 6 === 3 || row.operands.includes('Rr');
    const memory = direct ? undefined : this.#memory(modrm, o.rex, addressSize, p.segment, long);
    const found: Found = { operands: [], immediates: [], absolute: undefined };
    const at: Place = { opcode: o, modrm, size, addressSize, long, segment: p.segment };
    for (const notation of row.operands) if (!this.#operand(notation, row, at, found)) return undefined;
    const { operands, immediates } = found;
    if (this.#failed || (p.lock && !lockable(row, operands))) return undefined;
    const immediate = row.immediateInShape ? Number((immediates.at(-1) ?? 0n) & 0xffn) : row.modrmInShape ? (modrm >> 6 === 3 ? modrm : modrm & 0x38) : 0;
    const form: Form = { size, addressSize, long, rep: row.string ? p.rep : 0, condition: row.opcode & 15, segment: p.segment < 0 ? 3 : p.segment, immediate };
    return { row, length: this.#at - this.#start, form, operands, memory: memory ?? found.absolute, immediates, lock: p.lock };
  }

  /** Legacy prefixes in any order, then REX; the last byte read is the opcode's first. */
  #prefixes(long: boolean): Prefixes {
    const p: Prefixes = { operand: false, address: false, lock: false, rep: 0, segment: -1, rex: 0, byte: 0 };
    for (;;) {
      const byte = this.#byte();
      p.byte = byte;
      if (this.#failed) return p;
      if (byte === 0x66) p.operand = true;
      else if (byte === 0x67) p.address = true;
      else if (byte === 0xf0) p.lock = true;
      else if (byte === 0xf2 || byte === 0xf3) p.rep = byte;
      else if (byte === 0x26 || byte === 0x2e || byte === 0x36 || byte === 0x3e) p.segment = long ? p.segment : (byte >> 3) & 3;
      else if (byte === 0x64 || byte === 0x65) p.segment = byte - 0x60;
      else if (long && (byte & 0xf0) === 0x40) {
        const next = this.#peek();
        if (isPrefix(next) || (next & 0xf0) === 0x40) continue; // a REX not right before the opcode is ignored
        p.rex = byte;
        p.byte = this.#byte();
        return p;
      } else return p;
    }
  }

  /** The opcode with its map, by escape bytes or by VEX. */
  #opcode(p: Prefixes, long: boolean): Opcode | undefined {
    if ((p.byte === 0xc4 || p.byte === 0xc5) && (long || (this.#peek() & 0xc0) === 0xc0)) return this.#vex(p, long);
    const mandatory = p.rep !== 0 ? p.rep : p.operand ? 0x66 : 0;
    const plain = { rex: p.rex, mandatory, vex: false, register: 0 };
    if (p.byte !== 0x0f) return { ...plain, number: p.byte };
    const second = this.#byte();
    if (second === 0x38) return { ...plain, number: 0x0f3800 + this.#byte() };
    if (second === 0x3a) return { ...plain, number: 0x0f3a00 + this.#byte() };
    return { ...plain, number: 0x0f00 + second };
  }
  #vex(p: Prefixes, long: boolean): Opcode | undefined {
    if (p.rex || p.lock || p.rep || p.operand) return undefined;
    const first = this.#byte();
    let second = first;
    let rex = ((~first >> 5) & 4) | 0x40;
    let map = 1;
    if (p.byte === 0xc4) {
      rex |= (~first >> 5) & 3;
      map = first & 0x1f;
      second = this.#byte();
      if (map < 1 || map > 3) return undefined;
    }
    if (!long) rex = 0x40;
    if (p.byte === 0xc4 && (second & 0x80) !== 0) rex |= 8;
    if ((second & 4) !== 0) return undefined; // 256-bit forms: none of the offered rows
    const mandatory = [0, 0x66, 0xf3, 0xf2][second & 3] ?? 0;
    return { number: (mapNumbers[map] ?? 0) + this.#byte(), rex, mandatory, vex: true, register: (~second >> 3) & 15 };
  }

  /** One operand; false when its encoding is not legal. */
  #operand(notation: Notation, row: Instruction, at: Place, found: Found): boolean {
    const { opcode, modrm, size, addressSize, long, segment } = at;
    const { rex } = opcode;
    const bits = operandBits(notation, size, long);
    const { operands, immediates } = found;
    const immediate = (value: bigint, width: number): void => {
      operands.push({ kind: 'immediate', size: width, number: immediates.push(value) - 1 });
    };
    switch (notation === 'AL' || notation === 'CL' || notation === 'DX' ? '' : notation[0]) {
      case 'E': case 'M': case 'W': case 'U': case 'Q': case 'N':
        if (modrm >> 6 !== 3) operands.push({ kind: 'memory', size: bits, number: 0 });
        else operands.push(registerOperand(notation, (modrm & 7) | ((rex & 1) << 3), bits, rex));
        return true;
      case 'R':
        operands.push(registerOperand(notation, (modrm & 7) | ((rex & 1) << 3), bits, rex));
        return true;
      case 'G': case 'V': case 'P':
        operands.push(registerOperand(notation, ((modrm >> 3) & 7) | ((rex & 4) << 1), bits, rex));
        return true;
      case 'B':
        operands.push(registerOperand(notation, opcode.register & (long ? 15 : 7), bits, 0x40));
        return true;
      case 'Z':
        operands.push(registerOperand(notation, (opcode.number & 7) | ((rex & 1) << 3), bits, rex));
        return true;
      case 'I': {
        const sign = notation === 'Is' || (notation === 'Iz' && size !== 16);
        const bytes = notation === 'Ib' || notation === 'Is' ? 1 : notation === 'Iw' ? 2 : notation === 'Iv' ? size / 8 : size === 16 ? 2 : 4;
        immediate(sign ? BigInt.asUintN(size, this.#signed(bytes)) : this.#unsigned(bytes), notation === 'Ib' ? 8 : notation === 'Iw' ? 16 : size);
        return true;
      }
      case '1':
        immediate(1n, 8);
        return true;
      case 'J':
        immediates.push(this.#signed(notation === 'Jb' ? 1 : size === 16 && !long ? 2 : 4));
        return true;
      case 'O':
        found.absolute = { base: -1, index: -1, scale: 0, displacement: this.#unsigned(addressSize / 8), segment: segment < 0 ? 3 : segment };
        operands.push({ kind: 'memory', size: bits, number: 0 });
        return true;
      case 'A':
        immediate(this.#unsigned(size === 16 ? 2 : 4) | (this.#unsigned(2) << 32n), 64);
        return true;
      case 'S': case 'C': case 'D':
        return specialOperand(notation, row, { number: ((modrm >> 3) & 7) | ((rex & 4) << 1), bits }, operands);
      default:
        operands.push(fixedOperand(notation, size));
        return true;
    }
  }

  #peek(): number {
    if (this.#at - this.#start >= 15) this.#failed ??= 'long';
    else if (this.#at >= this.#end) this.#failed ??= 'short';
    return this.#bytes[this.#at] ?? 0;
  }

  #hasModrm(row: Instruction): boolean {
    let known = this.#needsModrm.get(row);
    if (known === undefined) {
      known = row.operands.some((o) => /^[EGMRVWUPQNSCDB]/.test(o) && o !== 'CL' && o !== 'DX') || row.digit !== undefined || row.mod !== undefined;
      this.#needsModrm.set(row, known);
    }
    return known;
  }

  #select(rows: readonly Instruction[], at: { mandatory: number; modrm: number; wide: boolean; long: boolean; vex: boolean }): Instruction | undefined {
    let general: Instruction | undefined;
    for (const row of rows) {
      if ((row.vex ?? false) !== at.vex) continue;
      if (row.digit !== undefined && ((at.modrm >> 3) & 7) !== row.digit) continue;
      if (row.mod !== undefined && (row.mod === 'register') !== (at.modrm >> 6 === 3)) continue;
      if (row.rm !== undefined && (at.modrm & 7) !== row.rm) continue;
      if (row.w !== undefined && row.w !== (at.wide ? 1 : 0)) continue;
      if (row.long === 'only' && !at.long) continue;
      if (row.long === 'never' && at.long) continue;
      if (at.modrm >> 6 === 3 && row.operands.some((o) => o[0] === 'M')) continue;
      if (at.modrm >> 6 !== 3 && at.modrm >= 0 && row.operands.some((o) => (o[0] === 'R' && o !== 'Rr') || o[0] === 'U' || o[0] === 'N')) continue;
      if (row.feature && !this.#features.has(row.feature)) {
        if (row.prefix !== undefined && !row.fallback && row.prefix === at.mandatory) return undefined;
        continue;
      }
      if (row.prefix === undefined) general ??= row;
      else if (row.prefix === at.mandatory) return row;
    }
    return general;
  }

  #memory(modrm: number, rex: number, addressSize: 16 | 32 | 64, override: number, long: boolean): MemoryOperand {
    const mod = modrm >> 6;
    const rm = modrm & 7;
    if (addressSize === 16) return this.#memory16(mod, rm, override);
    let base = rm | ((rex & 1) << 3);
    let index = -1;
    let scale = 0;
    if (rm === 4) {
      const sib = this.#byte();
      scale = sib >> 6;
      index = ((sib >> 3) & 7) | ((rex & 2) << 2);
      if (index === 4) index = -1;
      base = (sib & 7) | ((rex & 1) << 3);
      if ((base & 7) === 5 && mod === 0) base = -1;
    } else if (rm === 5 && mod === 0) base = long ? 16 : -1;
    const displacement = mod === 1 ? this.#signed(1) : mod === 2 || base < 0 || base === 16 ? this.#signed(4) : 0n;
    const stack = base === 4 || base === 5;
    return { base, index, scale: scale as 0 | 1 | 2 | 3, displacement, segment: override >= 0 ? override : stack ? 2 : 3 };
  }
  #memory16(mod: number, rm: number, override: number): MemoryOperand {
    const [base, index] = ([[3, 6], [3, 7], [5, 6], [5, 7], [6, -1], [7, -1], [5, -1], [3, -1]] as const)[rm] ?? [3, -1];
    const direct = mod === 0 && rm === 6;
    const displacement = direct || mod === 2 ? this.#signed(2) : mod === 1 ? this.#signed(1) : 0n;
    const segment = override >= 0 ? override : !direct && base === 5 ? 2 : 3;
    return { base: direct ? -1 : base, index: direct ? -1 : index, scale: 0, displacement, segment };
  }
}

const isPrefix = (byte: number): boolean => [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65].includes(byte);

function operandSize(row: Instruction, { code, operand, wide }: { code: CodeSize; operand: boolean; wide: boolean }): Size {
  if (row.size) return row.size;
  if (code === 64) {
    if (row.long === 'forced') return 64;
    if (row.long === 'default') return operand && !wide ? 16 : 64;
    const size = wide ? 64 : operand ? 16 : 32;
    return row.io && size === 64 ? 32 : size;
  }
  return (code === 16) !== operand ? 16 : 32;
}

function operandBits(notation: Notation, size: Size, long: boolean): number {
  switch (notation[1]) {
    case 'b': return 8;
    case 'w': return 16;
    case 'd': return 32;
    case 'q': return 64;
    case 'x': return 128;
    case 't': return 80;
    case 'z': return size === 16 ? 16 : 32;
    case 'y': return size === 64 ? 64 : 32;
    case 'r': case 'o': return long ? 64 : 32;
    default: return size;
  }
}

/** V, W, U are XMM registers, P, Q, N MMX registers, all others general ones. */
function registerOperand(notation: Notation, number: number, size: number, rex: number): DecodedOperand {
  const letter = notation[0];
  if (letter === 'V' || letter === 'W' || letter === 'U') return { kind: 'xmm', size, number };
  if (letter === 'P' || letter === 'Q' || letter === 'N') return { kind: 'mmx', size, number: number & 7 };
  if (size === 8 && rex === 0 && number >= 4) return { kind: 'high', size, number: number - 4 };
  return { kind: 'register', size, number };
}

/** Segment, control and debug registers; false for those that do not exist. */
function specialOperand(notation: Notation, row: Instruction, { number, bits }: { readonly number: number; readonly bits: number }, operands: DecodedOperand[]): boolean {
  if (notation === 'Sw') {
    const segment = number & 7;
    if (segment > 5 || (segment === 1 && row.opcode === 0x8e)) return false;
    operands.push({ kind: 'segment', size: 16, number: segment });
    return true;
  }
  if (notation === 'Cr' ? ![0, 2, 3, 4, 8].includes(number) : number > 7) return false;
  operands.push({ kind: notation === 'Cr' ? 'control' : 'debug', size: bits, number });
  return true;
}

/** LOCK needs a row that allows it, and memory to lock. */
const lockable = (row: Instruction, operands: readonly DecodedOperand[]): boolean =>
  row.lock === true && (operands[0]?.kind === 'memory' || (row.name === 'xchg' && operands[1]?.kind === 'memory'));

function fixedOperand(notation: Notation, size: Size): DecodedOperand {
  if (notation === 'AL') return { kind: 'register', size: 8, number: 0 };
  if (notation === 'CL') return { kind: 'register', size: 8, number: 1 };
  if (notation === 'DX') return { kind: 'register', size: 16, number: 2 };
  return { kind: 'register', size, number: 0 };
}
