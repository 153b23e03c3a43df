/** What a VM exit tells of the instruction that caused it: its operands, read from its bytes again. SDM 3C, 28.2.5. */
import { undefinedOpcode } from '../cpu/fault.ts';
import { accessOf } from '../cpu/page-walk.ts';
import type { Processor } from '../cpu/processor.ts';
import { At, Segment } from '../cpu/state.ts';
import { type Decoded, Decoder, type MemoryOperand } from '../isa/decode.ts';
import type { Vmx } from './vmx.ts';

const instructionPointer = 16;
const signed64 = (value: bigint): bigint => BigInt.asUintN(64, value);

const decoders = new WeakMap<Processor, Decoder>();
/** The instruction at hand. */
export function currentInstruction({ p, v }: Pick<Vmx, 'p' | 'v'>): Decoded {
  let decoder = decoders.get(p);
  if (!decoder) {
    decoder = new Decoder(v.model.instructions);
    decoders.set(p, decoder);
  }
  const length = Number(BigInt.asUintN(8, v.nextIp - v.ip));
  const start = BigInt.asUintN(v.long ? 64 : 32, v.ip + v.get64(At.segmentBase, Segment.cs));
  const bytes = new Uint8Array(16).fill(0xff);
  const fetch = accessOf(v, 'fetch');
  for (let n = 0; n < length; n++) bytes[n] = Number(p.paging.read(BigInt.asUintN(64, start + BigInt(n)), 1, fetch));
  const decoded = decoder.decode(bytes, 0, 16, v.codeSize);
  // a guest may have changed its mapping without telling: then what is there now is what it runs
  if (typeof decoded === 'string') throw undefinedOpcode();
  return decoded;
}

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
