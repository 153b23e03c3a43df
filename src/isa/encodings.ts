/** The rows of the instruction table as the decoder asks for them: by opcode, with all that selecting one and reading its operands needs found once. */

import { instructionTable } from './families/index.ts';
import type { Feature, Instruction, Notation } from './instruction.ts';
import type { Size } from './ops.ts';

/** Where an operand comes from. */
export const Source = { rm: 0, rmRegister: 1, reg: 2, vex: 3, opcode: 4, immediate: 5, one: 6, relative: 7, absolute: 8, far: 9, segment: 10, control: 11, debug: 12, fixed: 13 } as const;
/** What a register operand is a register of. */
export const Bank = { general: 0, xmm: 1, mmx: 2 } as const;

export interface OperandEncoding {
  readonly source: number;
  readonly bank: number;
  readonly notation: Notation;
  /** Bits by the operand size: of 8, 16, 32, 64; outside 64-bit mode, and in it. */
  readonly widths: readonly (readonly number[])[];
}

/** Index of a size in `widths`. */
export const sizeIndex = (size: Size): number => (size === 8 ? 0 : size === 16 ? 1 : size === 32 ? 2 : 3);

/** A row; -1 where it takes any value. */
export class Encoding {
  readonly row: Instruction;
  readonly digit: number;
  readonly rm: number;
  readonly w: number;
  readonly prefix: number;
  readonly vex: boolean;
  readonly takesRegister: boolean;
  readonly takesMemory: boolean;
  readonly in64: boolean;
  readonly outside64: boolean;
  readonly offered: boolean;
  /** Not offered, and nothing else is meant by its prefix. */
  readonly reserved: boolean;
  readonly usesVexRegister: boolean;
  /** ModRM names registers whatever its mod. */
  readonly ignoresMod: boolean;
  readonly hasModrm: boolean;
  readonly operands: readonly OperandEncoding[];
  readonly size: Size | 0;
  readonly long: Instruction['long'];
  readonly io: boolean;
  readonly lock: boolean;
  readonly string: boolean;
  readonly immediateInShape: boolean;
  readonly modrmInShape: boolean;

  constructor(row: Instruction, features: ReadonlySet<Feature>) {
    const letters = row.operands.filter((o) => o !== 'CL' && o !== 'DX').map((o) => o[0] ?? '');
    const memoryOnly = letters.includes('M');
    const registerOnly = row.operands.some((o) => (o[0] === 'R' && o !== 'Rr') || o[0] === 'U' || o[0] === 'N');
    this.row = row;
    this.digit = row.digit ?? -1;
    this.rm = row.rm ?? -1;
    this.w = row.w ?? -1;
    this.prefix = row.prefix ?? -1;
    this.vex = row.vex;
    this.takesRegister = row.mod !== 'memory' && !memoryOnly;
    this.takesMemory = row.mod !== 'register' && !registerOnly;
    this.in64 = row.long !== 'never';
    this.outside64 = row.long !== 'only';
    this.offered = !row.feature || features.has(row.feature);
    this.reserved = !this.offered && row.prefix !== undefined && !row.fallback;
    this.usesVexRegister = row.operands.includes('By');
    this.ignoresMod = row.operands.includes('Rr');
    this.hasModrm = letters.some((l) => 'EGMRVWUPQNSCDB'.includes(l)) || row.digit !== undefined || row.mod !== undefined;
    this.operands = row.operands.map(operandEncoding);
    this.size = row.size ?? 0;
    this.long = row.long;
    this.io = row.io;
    this.lock = row.lock;
    this.string = row.string;
    this.immediateInShape = row.immediateInShape;
    this.modrmInShape = row.modrmInShape;
  }
}

/** The rows of an opcode. */
export interface OpcodeRows {
  readonly hasModrm: boolean;
  readonly encodings: readonly Encoding[];
}

/** Number of an opcode map: one byte, 0F, 0F 38, 0F 3A; as VEX counts them. */
export const mapSize = 256;

/** By map * `mapSize` + byte; undefined where there is no row. */
export function encodingsFor(features: ReadonlySet<Feature>): readonly (OpcodeRows | undefined)[] {
  const lists: (Encoding[] | undefined)[] = new Array(4 * mapSize).fill(undefined);
  for (const row of instructionTable) {
    const map = row.opcode < 0x100 ? 0 : row.opcode < 0x1000 ? 1 : row.opcode >> 8 === 0x0f38 ? 2 : 3;
    const index = map * mapSize + (row.opcode & 0xff);
    lists[index] ??= [];
    lists[index].push(new Encoding(row, features));
  }
  return lists.map((encodings) => encodings && { hasModrm: encodings[0]?.hasModrm === true, encodings });
}

function operandEncoding(notation: Notation): OperandEncoding {
  const letter = notation[0] as string;
  const sizes: readonly Size[] = [8, 16, 32, 64];
  return {
    source: sourceOf(notation),
    bank: 'VWU'.includes(letter) ? Bank.xmm : 'PQN'.includes(letter) ? Bank.mmx : Bank.general,
    notation,
    widths: [false, true].map((long) => sizes.map((size) => operandBits(notation, size, long))),
  };
}
function sourceOf(notation: Notation): number {
  if (notation === 'AL' || notation === 'CL' || notation === 'DX') return Source.fixed;
  switch (notation[0]) {
    case 'E': case 'M': case 'W': case 'U': case 'Q': case 'N': return Source.rm;
    case 'R': return Source.rmRegister;
    case 'G': case 'V': case 'P': return Source.reg;
    case 'B': return Source.vex;
    case 'Z': return Source.opcode;
    case 'I': return Source.immediate;
    case '1': return Source.one;
    case 'J': return Source.relative;
    case 'O': return Source.absolute;
    case 'A': return Source.far;
    case 'S': return Source.segment;
    case 'C': return Source.control;
    case 'D': return Source.debug;
    default: return Source.fixed;
  }
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
