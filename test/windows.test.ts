/** Accesses at constant distances share one look into the software TLB; a region whose stretch of memory lies across two pages does without. */
import { expect, test } from 'vitest';
import { Bench } from './conformance/bench.ts';
import { makeCase, windowAddress } from './conformance/cases.ts';

// 1: add [rbp], ecx; mov eax, [rbp + 40]; add eax, [rbp]; mov [rbp + 40], eax; dec ecx; jnz 1b; jmp .
const loop = [0x01, 0x4d, 0, 0x8b, 0x45, 40, 0x03, 0x45, 0, 0x89, 0x45, 40, 0xff, 0xc9, 0x75, 0xf0, 0xeb, 0xfe];
const iterations = 400_000;
const instructions = 6 * iterations;

function run(address: number, translate: boolean): { readonly sum: bigint; readonly narrowed: number } {
  const bench = new Bench({ translate });
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  before.gpr[1] = BigInt(iterations);
  before.gpr[5] = BigInt(address);
  before.memory.fill(0);
  bench.load({ code: Uint8Array.from(loop), before });
  bench.runFor(instructions);
  return { sum: bench.processor.v.register(0), narrowed: bench.translator?.counts.narrowed ?? 0 };
}

test('a loop over a stretch within a page keeps its window', () => {
  const found = run(windowAddress + 64, true);
  expect(found.narrowed).toBe(0);
  expect(found.sum).toBe(run(windowAddress + 64, false).sum);
});

test('a loop over a stretch across two pages is made anew without it', () => {
  const found = run(windowAddress + 4096 - 16, true);
  expect(found.narrowed).toBe(1);
  expect(found.sum).toBe(run(windowAddress + 64, false).sum);
});

// 1: push rax; pop [rsp + 8]; push rax; pop [rdi]; dec ecx; jnz 1b; jmp .
const pops = [0x50, 0x8f, 0x44, 0x24, 8, 0x50, 0x8f, 0x07, 0xff, 0xc9, 0x75, 0xf4, 0xeb, 0xfe];

test('whether an instruction is translated does not depend on its registers', () => {
  const bench = new Bench({ translate: true });
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  before.gpr[0] = 0x1234n;
  before.gpr[1] = 20_000n;
  before.gpr[4] = BigInt(windowAddress + 256);
  before.gpr[7] = BigInt(windowAddress + 1024);
  bench.load({ code: Uint8Array.from(pops), before });
  bench.runFor(6 * 20_000);
  expect(bench.translator?.counts.regions).toBeGreaterThan(0);
  expect(bench.translator?.counts.refused).toBe(0);
  const { memory } = bench.state();
  expect([memory[256 + 8], memory[1024]]).toEqual([0x34, 0x34]);
});
