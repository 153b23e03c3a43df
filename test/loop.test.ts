/** The dispatch loop has the most common handlers in itself, and does with them what it does with others. */
import { expect, test } from 'vitest';
import { parseCpu } from '../src/cpu/cpuid.ts';
import { commonCode } from '../src/engine/interpreter/common-code.ts';
import { LoopHandlers } from '../src/engine/interpreter/loop.ts';
import { type Decoded, Decoder } from '../src/isa/decode.ts';
import { Bench } from './conformance/bench.ts';
import { codeAddress, makeCase, windowAddress } from './conformance/cases.ts';

const decoder = new Decoder(parseCpu('max').instructions);
const decode = (hex: string): Decoded => {
  const bytes = Uint8Array.from(Buffer.from(hex, 'hex'));
  const decoded = decoder.decode(bytes, 0, bytes.length, 64);
  if (typeof decoded === 'string') throw new Error(`${hex}: ${decoded}`);
  return decoded;
};

test('what is not in it are computed jumps and repeated instructions', () => {
  const handlers = new LoopHandlers(0x1_0000);
  const refused = new Set<string>();
  for (const [n, code] of commonCode.slice(0, 500).entries()) {
    const group = code.split(' ').map(decode);
    if (!handlers.add(n, group)) refused.add(group.at(-1)?.row.name ?? '');
  }
  expect(handlers.codes.size).toBeGreaterThan(450);
  expect([...refused].sort()).toEqual(['call', 'jmp', 'stos']);
});

/** call behind; jmp .; behind: push rax; push rbx; pop rdx; pop rsi; add rsp, 8; test rdx, rdx; dec rcx; jnz to the start; jmp . */
const program = [
  0xe8, 2, 0, 0, 0, 0xeb, 0xfe, 0x50, 0x53, 0x5a, 0x5e, 0x48, 0x83, 0xc4, 8, 0x48, 0x85, 0xd2, 0x48, 0xff, 0xc9, 0x75, 0xe9, 0xeb, 0xfe,
];
const steps = 9;

test('it stops after each instruction, and goes on there', () => {
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  before.gpr[1] = 40n;
  before.gpr[4] = BigInt(windowAddress + 4096);
  const [together, alone] = [new Bench(), new Bench()];
  for (const bench of [together, alone]) bench.load({ code: Uint8Array.from(program), before });
  const total = 40 * steps;
  for (let done = 0, n = 1; done < total; done += n, n = 1 + (n % (steps + 4))) {
    n = Math.min(n, total - done);
    together.runFor(n);
    for (let k = 0; k < n; k++) alone.runFor(1);
    expect(together.state()).toEqual(alone.state());
  }
  expect(together.processor.v.ip).toBe(BigInt(codeAddress + program.length - 2));
  expect(together.state().gpr[1]).toBe(0n);
});
