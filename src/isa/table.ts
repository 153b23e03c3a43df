/** Small makers for rows, shared by the families. */
import type { Instruction, Notation } from './instruction.ts';
import type { Meaning } from './ops.ts';

export type RowOptions = Omit<Instruction, 'name' | 'opcode' | 'operands' | 'meaning'>;

export function row(name: string, opcode: number, operands: string, meaning: Meaning, options: RowOptions = {}): Instruction {
  return { name, opcode, operands: (operands === '' ? [] : operands.split(' ')) as Notation[], meaning, ...options };
}

/** Does nothing: NOP, hints, cache control. */
export const nothing: Meaning = () => {};
