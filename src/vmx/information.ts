/** What a VM exit tells of the instruction that caused it: in the form of the exit fields. SDM 3C, 28.2.5. */
import type { Decoded, MemoryOperand } from '../isa/decode.ts';
import type { Vmx } from './vmx.ts';

const instructionPointer = 16;
const signed64 = (value: bigint): bigint => BigInt.asUintN(64, value);

/** The displacement of a memory operand, sign-extended; relative to the next instruction's address, that is the address. */
export function displacementOf({ v }: Vmx, memory: MemoryOperand | undefined): bigint {
  if (!memory) return 0n;
  return signed64(memory.displacement + (memory.base === instructionPointer ? v.nextIp : 0n));
}

/** Instruction information of the general form: memory operand or register, and the register operand. SDM 3C, tables 28-9 to 28-14. */
export function instructionInformation(d: Decoded, registerOperand: number | undefined): number {
  const size = d.form.addressSize === 64 ? 2 : d.form.addressSize === 32 ? 1 : 0;
  const second = registerOperand === undefined ? 0 : (d.operands[registerOperand]?.number ?? 0);
  const m = d.memory;
  if (!m) {
    const first = d.operands.find((_, n) => n !== registerOperand)?.number ?? 0;
    return ((first << 3) | (size << 7) | (1 << 10) | (second << 28)) >>> 0;
  }
  const hasBase = m.base >= 0 && m.base !== instructionPointer;
  const hasIndex = m.index >= 0;
  return (
    ((hasIndex ? m.scale : 0) |
      (size << 7) |
      (m.segment << 15) |
      ((hasIndex ? m.index : 0) << 18) |
      (hasIndex ? 0 : 1 << 22) |
      ((hasBase ? m.base : 0) << 23) |
      (hasBase ? 0 : 1 << 27) |
      (second << 28)) >>>
    0
  );
}
