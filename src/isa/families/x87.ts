/** x87: one helper does each instruction whole; it gets the opcode with its ModRM byte, and the address of a memory operand. SDM 1, chapter 8. */
import type { Instruction } from '../instruction.ts';
import type { Meaning } from '../ops.ts';
import { row } from '../table.ts';

const onMemory = (opcode: number): Meaning => (o, { immediate, size }, memory) => {
  o.helper('x87', o.constant((opcode << 8) | immediate), memory.address(), o.constant(size));
};
const onRegisters = (opcode: number): Meaning => (o, { immediate, size }) => {
  o.helper('x87', o.constant((opcode << 8) | immediate), o.constant(0), o.constant(size));
};
const opcodes = [0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf];

export const x87Family: readonly Instruction[] = [
  ...opcodes.flatMap((opcode) => [
    row(`x87 ${opcode.toString(16)}`, opcode, 'Mn', onMemory(opcode), { mod: 'memory', feature: 'x87', modrmInShape: true }),
    row(`x87 ${opcode.toString(16)}`, opcode, '', onRegisters(opcode), { mod: 'register', feature: 'x87', modrmInShape: true }),
  ]),
  row('fwait', 0x9b, '', (o) => void o.helper('x87', o.constant(0x9b00), o.constant(0), o.constant(0))),
];
