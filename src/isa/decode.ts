/** The decoder: bytes to a row, a form and operands. SDM 2, chapter 2 (formats) and appendix A (opcode maps). */

import { instructionTable } from './families/index.ts';
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

const noOperation = row('nop', 0x90, '', nothing);
const mapNumbers = [0, 0x0f00, 0x0f3800, 0x0f3a00] as const;

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

  #instruction(code: CodeSize): Decoded | undefined {
    const long = code === 64;
    let operand = false;
    let address = false;
    let lock = false;
    let rep: 0 | 0xf2 | 0xf3 = 0;
    let segment = -1;
    let rex = 0;
    let byte = 0;
    for (;;) {
      byte = this.#byte();
      if (this.#failed) return undefined;
      if (byte === 0x66) operand = true;
      else if (byte === 0x67) address = true;
      else if (byte === 0xf0) lock = true;
      else if (byte === 0xf2 || byte === 0xf3) rep = byte;
      else if (byte === 0x26 || byte === 0x2e || byte === 0x36 || byte === 0x3e) segment = long ? segment : (byte >> 3) & 3;
      else if (byte === 0x64 || byte === 0x65) segment = byte - 0x60;
      else if (long && (byte & 0xf0) === 0x40) {
        rex = byte;
        const next = this.#peek();
        if (isPrefix(next) || (next & 0xf0) === 0x40) rex = 0; // a REX not right before the opcode is ignored
        else {
          byte = this.#byte();
          break;
        }
      } else break;
    }
    if (this.#failed) return undefined;

    let map: 0 | 1 | 2 | 3 = 0;
    let vex = false;
    let vexRegister = 0;
    let vexWide = false;
    let mandatory: number = rep !== 0 ? rep : operand ? 0x66 : 0;
    if ((byte === 0xc4 || byte === 0xc5) && (long || (this.#peek() & 0xc0) === 0xc0)) {
      if (rex || lock || rep || operand) return undefined;
      const first = this.#byte();
      let second = first;
      rex = ((~first >> 5) & 4) | 0x40;
      map = 1;
      if (byte === 0xc4) {
        rex |= (~first >> 5) & 3;
        second = this.#byte();
        vexWide = (second & 0x80) !== 0;
        const selected = first & 0x1f;
        if (selected < 1 || selected > 3) return undefined;
        map = selected as 1 | 2 | 3;
      }
      if (!long) rex = 0x40;
      vexRegister = (~second >> 3) & 15;
      if (second & 4) return undefined; // 256-bit forms: none of the offered rows
      mandatory = [0, 0x66, 0xf3, 0xf2][second & 3] ?? 0;
      vex = true;
      if (vexWide) rex |= 8;
      byte = this.#byte();
    } else if (byte === 0x0f) {
      byte = this.#byte();
      map = 1;
      if (byte === 0x38) {
        map = 2;
        byte = this.#byte();
      } else if (byte === 0x3a) {
        map = 3;
        byte = this.#byte();
      }
    }
    if (this.#failed) return undefined;

    const opcode = mapNumbers[map] + byte;
    const candidates = this.#rows.get(opcode);
    if (!candidates) return undefined;
    const modrm = this.#hasModrm(candidates[0] as Instruction) ? this.#peek() : -1;
    if (modrm >= 0) this.#byte();
    if (this.#failed) return undefined;
    const wide = (rex & 8) !== 0;
    const selected = this.#select(candidates, { mandatory, modrm, wide, long, vex });
    if (!selected) return undefined;
    if (vex && vexRegister !== 0 && !selected.operands.includes('By')) return undefined; // an unused VEX.vvvv must be all ones
    const row = opcode === 0x90 && (rex & 1) === 0 ? noOperation : selected; // XCHG of the accumulator with itself would clear its upper half

    const size = operandSize(row, { code, operand: operand && row.prefix !== 0x66, wide });
    const addressSize: 16 | 32 | 64 = long ? (address ? 32 : 64) : (code === 16) !== address ? 16 : 32;
    const memory = modrm >= 0 && modrm >> 6 !== 3 && !row.operands.includes('Rr') ? this.#memory(modrm, rex, addressSize, segment, long) : undefined;
    const immediates: bigint[] = [];
    const operands: DecodedOperand[] = [];
    let absolute: MemoryOperand | undefined;
    for (const notation of row.operands) {
      const bits = operandBits(notation, size, long);
      const letter = notation === 'AL' || notation === 'CL' || notation === 'DX' ? '' : notation[0];
      switch (letter) {
        case 'E': case 'M': case 'R': case 'W': case 'U': case 'Q': case 'N': {
          if (modrm >> 6 !== 3 && !(letter === 'R')) operands.push({ kind: 'memory', size: bits, number: 0 });
          else operands.push(registerOperand(letter === 'W' || letter === 'U' ? 'V' : letter === 'Q' || letter === 'N' ? 'P' : 'G', (modrm & 7) | ((rex & 1) << 3), bits, rex));
          break;
        }
        case 'G': case 'V': case 'P':
          operands.push(registerOperand(letter, ((modrm >> 3) & 7) | ((rex & 4) << 1), bits, rex));
          break;
        case 'B':
          operands.push(registerOperand('G', long ? vexRegister : vexRegister & 7, bits, 0x40));
          break;
        case 'Z':
          operands.push(registerOperand('G', (byte & 7) | ((rex & 1) << 3), bits, rex));
          break;
        case 'I': {
          const sign = notation === 'Is' || (notation === 'Iz' && size !== 16);
          const bytes = notation === 'Ib' || notation === 'Is' ? 1 : notation === 'Iw' ? 2 : notation === 'Iv' ? size / 8 : size === 16 ? 2 : 4;
          const value = sign ? this.#signed(bytes) : this.#unsigned(bytes);
          immediates.push(sign ? BigInt.asUintN(size, value) : value);
          operands.push({ kind: 'immediate', size: notation === 'Ib' ? 8 : notation === 'Iw' ? 16 : size, number: immediates.length - 1 });
          break;
        }
        case 'J':
          immediates.push(this.#signed(notation === 'Jb' ? 1 : size === 16 && !long ? 2 : 4));
          break;
        case 'O':
          absolute = { base: -1, index: -1, scale: 0, displacement: this.#unsigned(addressSize / 8), segment: segment < 0 ? 3 : segment };
          operands.push({ kind: 'memory', size: bits, number: 0 });
          break;
        case 'A': {
          const offset = this.#unsigned(size === 16 ? 2 : 4);
          immediates.push(offset | (this.#unsigned(2) << 32n));
          operands.push({ kind: 'immediate', size: 64, number: immediates.length - 1 });
          break;
        }
        case 'S': {
          const number = (modrm >> 3) & 7;
          if (number > 5 || (number === 1 && row.opcode === 0x8e)) return undefined;
          operands.push({ kind: 'segment', size: 16, number });
          break;
        }
        case 'C': case 'D': {
          const number = ((modrm >> 3) & 7) | ((rex & 4) << 1);
          if (letter === 'C' ? ![0, 2, 3, 4, 8].includes(number) : number > 7) return undefined;
          operands.push({ kind: letter === 'C' ? 'control' : 'debug', size: bits, number });
          break;
        }
        case '1':
          immediates.push(1n);
          operands.push({ kind: 'immediate', size: 8, number: immediates.length - 1 });
          break;
        default:
          operands.push(fixedOperand(notation, size));
      }
    }
    if (this.#failed) return undefined;
    if (lock && !(row.lock && operands[0]?.kind === 'memory') && !(row.lock && operands[1]?.kind === 'memory' && row.name === 'xchg')) return undefined;
    const form: Form = {
      size,
      addressSize,
      long,
      rep: row.string ? rep : 0,
      condition: row.opcode & 15,
      segment: segment < 0 ? 3 : segment,
      immediate: row.immediateInShape ? Number((immediates.at(-1) ?? 0n) & 0xffn) : row.modrmInShape ? (modrm >> 6 === 3 ? modrm : modrm & 0x38) : 0,
    };
    return { row, length: this.#at - this.#start, form, operands, memory: memory ?? absolute, immediates, lock };
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

function registerOperand(letter: 'G' | 'V' | 'P', number: number, size: number, rex: number): DecodedOperand {
  if (letter === 'V') return { kind: 'xmm', size, number };
  if (letter === 'P') return { kind: 'mmx', size, number: number & 7 };
  if (size === 8 && rex === 0 && number >= 4) return { kind: 'high', size, number: number - 4 };
  return { kind: 'register', size, number };
}

function fixedOperand(notation: Notation, size: Size): DecodedOperand {
  if (notation === 'AL') return { kind: 'register', size: 8, number: 0 };
  if (notation === 'CL') return { kind: 'register', size: 8, number: 1 };
  if (notation === 'DX') return { kind: 'register', size: 16, number: 2 };
  return { kind: 'register', size, number: 0 };
}
