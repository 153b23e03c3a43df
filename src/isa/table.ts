/** Small makers for rows, shared by the families. */
import type { Instruction, Notation } from './instruction.ts';
import type { Meaning } from './ops.ts';

export type RowOptions = Partial<Omit<Instruction, 'name' | 'opcode' | 'operands' | 'meaning'>>;

/** All rows have all fields, in one order: code that reads them knows them as one kind of object, wherever it is. */
export function row(name: string, opcode: number, operands: string, meaning: Meaning, options: RowOptions = {}): Instruction {
  const { prefix, digit, mod, rm, long, size, lock, io, string, w, immediateInShape, modrmInShape, vex, fallback, feature, ends } = options;
  const notations = (operands === '' ? [] : operands.split(' ')) as Notation[];
  return {
    name, opcode, prefix, digit, mod, rm, operands: notations, meaning, long, size,
    lock: lock === true,
    io: io === true,
    string: string === true,
    w,
    immediateInShape: immediateInShape === true,
    modrmInShape: modrmInShape === true,
    vex: vex === true,
    fallback: fallback === true,
    feature,
    ends: ends === true,
  };
}

/** Does nothing: NOP, hints, cache control. */
export const nothing: Meaning = () => {};
