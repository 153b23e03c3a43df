/** A switch of eight cases in a loop: a region that has some of them goes from one to the other by itself, and counts what it runs. */
import { expect, test } from 'vitest';
import { Bench } from './conformance/bench.ts';
import { type CpuState, makeCase, windowAddress } from './conformance/cases.ts';

const cases = 8;
// 0: xor, shift and xor RAX (a generator); mov ecx, eax; and ecx, 7; lea rdx, [rip + cases]; lea rdx, [rdx + rcx * 8]; jmp rdx
const head = [
  0x48, 0x89, 0xc1, 0x48, 0xc1, 0xe1, 0x0d, 0x48, 0x31, 0xc8, 0x48, 0x89, 0xc1, 0x48, 0xc1, 0xe9, 0x07, 0x48, 0x31, 0xc8, 0x89, 0xc1, 0x83,
  0xe1, 0x07, 0x48, 0x8d, 0x15, 0x06, 0, 0, 0, 0x48, 0x8d, 0x14, 0xca, 0xff, 0xe2,
];
/** add rbx, n (or sub, so that flags differ); jmp 0 */
const code = Array.from({ length: cases }, (_, n) => {
  const body = [0x48, 0x83, n % 2 === 0 ? 0xc3 : 0xeb, n + 1];
  return [...body, 0xeb, -(head.length + 8 * n + 6) & 0xff, 0x90, 0x90];
});
const instructions = 6_000_003;

function run(translate: boolean): {
  readonly registers: readonly bigint[];
  readonly ip: bigint;
  readonly flags: number;
  readonly regions: number;
} {
  const bench = new Bench({ translate });
  const before: CpuState | undefined = makeCase(1)?.before;
  if (!before) throw new Error('no case');
  before.gpr.fill(BigInt(windowAddress));
  bench.load({ code: Uint8Array.from([...head, ...code.flat()]), before });
  bench.runFor(instructions);
  const result = bench.state();
  return { registers: result.gpr, ip: bench.processor.v.ip, flags: result.flags, regions: bench.translator?.counts.regions ?? 0 };
}

test('a switch in a loop goes where the interpreter goes, after as many instructions', () => {
  const { regions, ...found } = run(true);
  const { regions: none, ...expected } = run(false);
  expect(found).toEqual(expected);
  expect([none, regions > 0 && regions <= cases]).toEqual([0, true]);
});
