/** The decoder: bytes to a row, a form and operands. SDM 2, chapter 2 (formats) and appendix A (opcode maps). */

import { Bank, type Encoding, encodingsFor, mapSize, type OpcodeRows, type OperandEncoding, Source, sizeIndex } from './encodings.ts';
import { pauseRow } from './families/vmx.ts';
import type { Feature, Instruction } from './instruction.ts';
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

const plainNop = row('nop', 0x90, '', nothing);
/** Bytes. */
export const longestInstruction = 15;

/** What prefix bytes say, by byte; 0 for those that are none. */
const Prefix = { operand: 1, address: 2, lock: 3, rep: 4, legacySegment: 5, segment: 6, rex: 7 } as const;
const prefixes = new Uint8Array(256);
prefixes[0x66] = Prefix.operand;
prefixes[0x67] = Prefix.address;
prefixes[0xf0] = Prefix.lock;
prefixes[0xf2] = prefixes[0xf3] = Prefix.rep;
for (const byte of [0x26, 0x2e, 0x36, 0x3e]) prefixes[byte] = Prefix.legacySegment;
prefixes[0x64] = prefixes[0x65] = Prefix.segment;
prefixes.fill(Prefix.rex, 0x40, 0x50);

const noImmediates: readonly bigint[] = [];

/** One instruction at a time; what its parts have in common lies in fields, since this runs for every instruction that a guest ever executes. */
export class Decoder {
  /** The rows by map and byte; see `encodingsFor`. */
  readonly opcodes: readonly (OpcodeRows | undefined)[];
  readonly #pauses: boolean;
  // the instruction at hand
  #bytes: Uint8Array = new Uint8Array(16);
  #start = 0;
  #end = 0;
  #at = 0;
  #failed: DecodeFailure | undefined;
  #long = false;
  // its prefixes, and what VEX says in their place
  #operandPrefix = false;
  #addressPrefix = false;
  #lock = false;
  #rep: 0 | 0xf2 | 0xf3 = 0;
  /** -1: no override. */
  #segment = -1;
  #rex = 0;
  #mandatory = 0;
  #vex = false;
  /** VEX.vvvv. */
  #vexRegister = 0;
  // its opcode and operands
  #opcode = 0;
  #modrm = -1;
  #size: Size = 32;
  #addressSize: 16 | 32 | 64 = 32;
  #immediates: bigint[] | undefined;
  #absolute: MemoryOperand | undefined;

  constructor(features: ReadonlySet<Feature>) {
    this.opcodes = encodingsFor(features);
    // PAUSE matters where a hypervisor may want to see it
    this.#pauses = features.has('vmx') || features.has('svm');
  }

  /** Decodes at `start`; bytes at or beyond `end` are not there. */
  decode(bytes: Uint8Array, start: number, end: number, code: CodeSize): Decoded | DecodeFailure {
    this.#bytes = bytes;
    this.#start = start;
    this.#at = start;
    this.#end = Math.min(end, start + longestInstruction);
    this.#failed = undefined;
    this.#long = code === 64;
    this.#immediates = undefined;
    this.#absolute = undefined;
    const decoded = this.#instruction(code);
    return this.#failed ?? decoded ?? 'undefined';
  }

  #beyond(): 0 {
    this.#failed ??= this.#at - this.#start >= longestInstruction ? 'long' : 'short';
    return 0;
  }
  #byte(): number {
    return this.#at < this.#end ? (this.#bytes[this.#at++] as number) : this.#beyond();
  }
  #peek(): number {
    return this.#at < this.#end ? (this.#bytes[this.#at] as number) : this.#beyond();
  }
  #two(): number {
    const low = this.#byte();
    return low | (this.#byte() << 8);
  }
  /** Signed. */
  #four(): number {
    const low = this.#two();
    return low | (this.#two() << 16);
  }
  #unsigned(count: number): bigint {
    if (count === 1) return BigInt(this.#byte());
    if (count === 2) return BigInt(this.#two());
    const low = BigInt(this.#four() >>> 0);
    return count === 4 ? low : low | (BigInt(this.#four() >>> 0) << 32n);
  }
  #signed(count: number): bigint {
    if (count === 1) return BigInt((this.#byte() << 24) >> 24);
    return BigInt(count === 2 ? (this.#two() << 16) >> 16 : this.#four());
  }

  /** Undefined when the opcode is; otherwise `#failed` says what was wrong. */
  #instruction(code: CodeSize): Decoded | undefined {
    const long = this.#long;
    const first = this.#prefixes();
    const rows = this.#failed ? undefined : this.#opcodeRows(first);
    if (!rows || this.#failed) return undefined;
    const modrm = rows.hasModrm ? this.#byte() : -1;
    if (this.#failed) return undefined;
    this.#modrm = modrm;
    const encoding = this.#select(rows.encodings);
    if (!encoding) return undefined;
    if (this.#vex && this.#vexRegister !== 0 && !encoding.usesVexRegister) return undefined; // an unused VEX.vvvv must be all ones
    // XCHG of the accumulator with itself would clear its upper half
    const isNop = this.#opcode === 0x90 && (this.#rex & 1) === 0;
    const row = !isNop ? encoding.row : this.#mandatory === 0xf3 && this.#pauses ? pauseRow : plainNop;

    const size = this.#operandSize(encoding, code);
    this.#size = size;
    const addressSize: 16 | 32 | 64 = long ? (this.#addressPrefix ? 32 : 64) : (code === 16) !== this.#addressPrefix ? 16 : 32;
    this.#addressSize = addressSize;
    const memory = modrm < 0 || modrm >= 0xc0 || encoding.ignoresMod ? undefined : this.#memory();
    const operands: DecodedOperand[] = [];
    if (!isNop) for (const operand of encoding.operands) if (!this.#operand(operand, encoding, operands)) return undefined;
    if (this.#failed || (this.#lock && !(encoding.lock && lockable(row, operands)))) return undefined;
    const immediates = this.#immediates ?? noImmediates;
    const immediate = encoding.immediateInShape ? Number((immediates.at(-1) ?? 0n) & 0xffn) : encoding.modrmInShape ? (modrm >= 0xc0 ? modrm : modrm & 0x38) : 0;
    const rep = encoding.string ? this.#rep : 0;
    const segment = this.#segment < 0 ? 3 : this.#segment;
    const form: Form = { size, addressSize, long, rep, condition: row.opcode & 15, segment, immediate };
    return { row, length: this.#at - this.#start, form, operands, memory: memory ?? this.#absolute, immediates, lock: this.#lock };
  }

  /** Legacy prefixes in any order, then REX. The opcode's first byte. */
  #prefixes(): number {
    this.#operandPrefix = this.#addressPrefix = this.#lock = false;
    this.#rep = 0;
    this.#segment = -1;
    this.#rex = 0;
    for (;;) {
      const byte = this.#byte();
      const kind = prefixes[byte] as number;
      if (kind === 0 || this.#failed) return byte;
      switch (kind) {
        case Prefix.rex: {
          if (!this.#long) return byte;
          const next = prefixes[this.#peek()] as number;
          if (next !== 0) continue; // a REX not right before the opcode is ignored
          this.#rex = byte;
          return this.#byte();
        }
        case Prefix.operand: this.#operandPrefix = true; break;
        case Prefix.address: this.#addressPrefix = true; break;
        case Prefix.lock: this.#lock = true; break;
        case Prefix.rep: this.#rep = byte as 0xf2 | 0xf3; break;
        case Prefix.segment: this.#segment = byte - 0x60; break;
        default: if (!this.#long) this.#segment = (byte >> 3) & 3;
      }
    }
  }

  /** The opcode with its map, by escape bytes or by VEX. */
  #opcodeRows(first: number): OpcodeRows | undefined {
    if ((first === 0xc4 || first === 0xc5) && (this.#long || (this.#peek() & 0xc0) === 0xc0)) return this.#vexRows(first);
    this.#mandatory = this.#rep !== 0 ? this.#rep : this.#operandPrefix ? 0x66 : 0;
    this.#vex = false;
    this.#vexRegister = 0;
    let map = 0;
    let byte = first;
    if (first === 0x0f) {
      byte = this.#byte();
      map = byte === 0x38 ? 2 : byte === 0x3a ? 3 : 1;
      if (map !== 1) byte = this.#byte();
    }
    this.#opcode = map * mapSize + byte;
    return this.opcodes[this.#opcode];
  }
  #vexRows(lead: number): OpcodeRows | undefined {
    if (this.#rex || this.#lock || this.#rep || this.#operandPrefix) return undefined;
    const first = this.#byte();
    let second = first;
    let rex = ((~first >> 5) & 4) | 0x40;
    let map = 1;
    if (lead === 0xc4) {
      rex |= (~first >> 5) & 3;
      map = first & 0x1f;
      second = this.#byte();
      if (map < 1 || map > 3) return undefined;
    }
    if (!this.#long) rex = 0x40;
    if (lead === 0xc4 && (second & 0x80) !== 0) rex |= 8;
    if ((second & 4) !== 0) return undefined; // 256-bit forms: none of the offered rows
    this.#mandatory = [0, 0x66, 0xf3, 0xf2][second & 3] ?? 0;
    this.#rex = rex;
    this.#vex = true;
    this.#vexRegister = (~second >> 3) & 15;
    this.#opcode = map * mapSize + this.#byte();
    return this.opcodes[this.#opcode];
  }

  #select(encodings: readonly Encoding[]): Encoding | undefined {
    const modrm = this.#modrm;
    const isRegister = modrm >= 0xc0;
    const wide = (this.#rex >> 3) & 1;
    let general: Encoding | undefined;
    for (const e of encodings) {
      if (e.vex !== this.#vex) continue;
      if (e.digit >= 0 && ((modrm >> 3) & 7) !== e.digit) continue;
      if (modrm >= 0 && !(isRegister ? e.takesRegister : e.takesMemory)) continue;
      if (e.rm >= 0 && (modrm & 7) !== e.rm) continue;
      if (e.w >= 0 && e.w !== wide) continue;
      if (!(this.#long ? e.in64 : e.outside64)) continue;
      if (!e.offered) {
        if (e.reserved && e.prefix === this.#mandatory) return undefined;
        continue;
      }
      if (e.prefix < 0) general ??= e;
      else if (e.prefix === this.#mandatory) return e;
    }
    return general;
  }
  #operandSize(e: Encoding, code: CodeSize): Size {
    if (e.size !== 0) return e.size;
    const operand = this.#operandPrefix && e.prefix !== 0x66;
    const wide = (this.#rex & 8) !== 0;
    if (code === 64) {
      if (e.long === 'forced') return 64;
      if (e.long === 'default') return operand && !wide ? 16 : 64;
      const size = wide ? 64 : operand ? 16 : 32;
      return e.io && size === 64 ? 32 : size;
    }
    return (code === 16) !== operand ? 16 : 32;
  }

  /** One operand; false when its encoding is not legal. */
  #operand(operand: OperandEncoding, e: Encoding, operands: DecodedOperand[]): boolean {
    const modrm = this.#modrm;
    const rex = this.#rex;
    const size = this.#size;
    const bits = operand.widths[this.#long ? 1 : 0]?.[sizeIndex(size)] as number;
    switch (operand.source) {
      case Source.rm:
        if (modrm < 0xc0) operands.push({ kind: 'memory', size: bits, number: 0 });
        else operands.push(registerOperand(operand.bank, (modrm & 7) | ((rex & 1) << 3), bits, rex));
        return true;
      case Source.rmRegister:
        operands.push(registerOperand(operand.bank, (modrm & 7) | ((rex & 1) << 3), bits, rex));
        return true;
      case Source.reg:
        operands.push(registerOperand(operand.bank, ((modrm >> 3) & 7) | ((rex & 4) << 1), bits, rex));
        return true;
      case Source.vex:
        operands.push(registerOperand(operand.bank, this.#vexRegister & (this.#long ? 15 : 7), bits, 0x40));
        return true;
      case Source.opcode:
        operands.push(registerOperand(operand.bank, (this.#opcode & 7) | ((rex & 1) << 3), bits, rex));
        return true;
      case Source.immediate: {
        const { notation } = operand;
        const sign = notation === 'Is' || (notation === 'Iz' && size !== 16);
        const bytes = notation === 'Ib' || notation === 'Is' ? 1 : notation === 'Iw' ? 2 : notation === 'Iv' ? size / 8 : size === 16 ? 2 : 4;
        this.#immediate(operands, sign ? BigInt.asUintN(size, this.#signed(bytes)) : this.#unsigned(bytes), notation === 'Ib' ? 8 : notation === 'Iw' ? 16 : size);
        return true;
      }
      case Source.one:
        this.#immediate(operands, 1n, 8);
        return true;
      case Source.relative:
        this.#addImmediate(this.#signed(operand.notation === 'Jb' ? 1 : size === 16 && !this.#long ? 2 : 4));
        return true;
      case Source.absolute:
        this.#absolute = { base: -1, index: -1, scale: 0, displacement: this.#unsigned(this.#addressSize / 8), segment: this.#segment < 0 ? 3 : this.#segment };
        operands.push({ kind: 'memory', size: bits, number: 0 });
        return true;
      case Source.far:
        this.#immediate(operands, this.#unsigned(size === 16 ? 2 : 4) | (this.#unsigned(2) << 32n), 64);
        return true;
      case Source.fixed:
        operands.push(fixedOperand(operand.notation, size));
        return true;
      default:
        return specialOperand(operand.source, e.row, { number: ((modrm >> 3) & 7) | ((rex & 4) << 1), bits }, operands);
    }
  }
  #addImmediate(value: bigint): number {
    this.#immediates ??= [];
    return this.#immediates.push(value) - 1;
  }
  #immediate(operands: DecodedOperand[], value: bigint, size: number): void {
    operands.push({ kind: 'immediate', size, number: this.#addImmediate(value) });
  }

  #memory(): MemoryOperand {
    const modrm = this.#modrm;
    const rex = this.#rex;
    const mod = modrm >> 6;
    const rm = modrm & 7;
    if (this.#addressSize === 16) return this.#memory16(mod, rm);
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
    } else if (rm === 5 && mod === 0) base = this.#long ? 16 : -1;
    const displacement = mod === 1 ? this.#signed(1) : mod === 2 || base < 0 || base === 16 ? this.#signed(4) : 0n;
    const segment = this.#segment >= 0 ? this.#segment : base === 4 || base === 5 ? 2 : 3;
    return { base, index, scale: scale as 0 | 1 | 2 | 3, displacement, segment };
  }
  #memory16(mod: number, rm: number): MemoryOperand {
    const [base, index] = ([[3, 6], [3, 7], [5, 6], [5, 7], [6, -1], [7, -1], [5, -1], [3, -1]] as const)[rm] ?? [3, -1];
    const direct = mod === 0 && rm === 6;
    const displacement = direct || mod === 2 ? this.#signed(2) : mod === 1 ? this.#signed(1) : 0n;
    const segment = this.#segment >= 0 ? this.#segment : !direct && base === 5 ? 2 : 3;
    return { base: direct ? -1 : base, index: direct ? -1 : index, scale: 0, displacement, segment };
  }
}

/** All others than XMM and MMX registers are general ones. */
function registerOperand(bank: number, number: number, size: number, rex: number): DecodedOperand {
  if (bank === Bank.xmm) return { kind: 'xmm', size, number };
  if (bank === Bank.mmx) return { kind: 'mmx', size, number: number & 7 };
  if (size === 8 && rex === 0 && number >= 4) return { kind: 'high', size, number: number - 4 };
  return { kind: 'register', size, number };
}

/** Segment, control and debug registers; false for those that do not exist. */
function specialOperand(source: number, row: Instruction, { number, bits }: { readonly number: number; readonly bits: number }, operands: DecodedOperand[]): boolean {
  if (source === Source.segment) {
    const segment = number & 7;
    if (segment > 5 || (segment === 1 && row.opcode === 0x8e)) return false;
    operands.push({ kind: 'segment', size: 16, number: segment });
    return true;
  }
  if (source === Source.control ? ![0, 2, 3, 4, 8].includes(number) : number > 7) return false;
  operands.push({ kind: source === Source.control ? 'control' : 'debug', size: bits, number });
  return true;
}

/** LOCK needs a row that allows it, and memory to lock. */
const lockable = (row: Instruction, operands: readonly DecodedOperand[]): boolean =>
  operands[0]?.kind === 'memory' || (row.name === 'xchg' && operands[1]?.kind === 'memory');

function fixedOperand(notation: OperandEncoding['notation'], size: Size): DecodedOperand {
  if (notation === 'AL') return { kind: 'register', size: 8, number: 0 };
  if (notation === 'CL') return { kind: 'register', size: 8, number: 1 };
  if (notation === 'DX') return { kind: 'register', size: 16, number: 2 };
  return { kind: 'register', size, number: 0 };
}
