/** CR2 is read in translated code, but by the kernel of a guest under SVM, which may intercept it. */
import { expect, test, vi } from 'vitest';
import { helpers } from '../src/cpu/helpers/index.ts';
import { At, Segment } from '../src/cpu/state.ts';
import { hotEntries } from '../src/engine/translator/translator.ts';
import { GuestOperation } from '../src/isa/state-names.ts';
import { Bench } from './conformance/bench.ts';
import { codeAddress, makeCase } from './conformance/cases.ts';

/** mov rax, crN; add rsi, rax; dec rdx; jnz to the start; jmp . */
const program = (number: number): number[] => [0x0f, 0x20, 0xc0 | (number << 3), 0x48, 1, 0xc6, 0x48, 0xff, 0xca, 0x75, 0xf5, 0xeb, 0xfe];
const rounds = 3 * hotEntries;

function run(number: number, vmxOperation: number) {
  const read = vi.spyOn(helpers, 'readControl');
  const bench = new Bench({ translate: true });
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  before.gpr.fill(0n);
  before.gpr[2] = BigInt(rounds);
  bench.load({ code: Uint8Array.from(program(number)), before });
  const { v } = bench.processor;
  v.set(At.cpl, 0);
  v.set(At.segmentSelector, 0x10, Segment.cs);
  v.set64(At.cr2, 3n);
  v.set(At.vmxOperation, vmxOperation);
  v.refreshMode();
  for (let n = 0; n < 100; n++) bench.runFor((4 * rounds) / 100);
  const calls = read.mock.calls.length;
  read.mockRestore();
  expect(bench.translator?.counts.regions).toBeGreaterThan(0);
  expect(v.ip).toBe(BigInt(codeAddress + 11));
  return { calls, sum: v.register(6) };
}

test.each([
  ['the kernel', 0],
  ['the kernel of a guest under VMX', GuestOperation.vmx],
])('%s reads it in its region once that is there', (_name, vmxOperation) => {
  const { calls, sum } = run(2, vmxOperation);
  expect(calls).toBeLessThan(rounds / 2);
  expect(sum).toBe(3n * BigInt(rounds));
});
test.each([
  ['a guest under SVM', 2, GuestOperation.svm],
  ['CR3', 3, 0],
])('%s has it read by the helper', (_name, number, vmxOperation) => {
  expect(run(number, vmxOperation).calls).toBe(rounds);
});
