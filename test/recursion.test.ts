/** A function that calls itself twice, in a loop: a region has its code once, goes on in it at calls and returns, and ends where the interpreter does. */
import { expect, test } from 'vitest';
import { Bench } from './conformance/bench.ts';
import { makeCase, windowAddress, windowBytes } from './conformance/cases.ts';

// mov edi, 12; call fibonacci; add rbx, rax; jmp to the start
const loop = [0xbf, 12, 0, 0, 0, 0xe8, 5, 0, 0, 0, 0x48, 0x01, 0xc3, 0xeb, 0xf1];
// cmp edi, 2; jb to the last two instructions
const choose = [0x83, 0xff, 2, 0x72, 23];
// push rdi; dec edi; call fibonacci; pop rdi; push rax
const first = [0x57, 0xff, 0xcf, 0xe8, 0xf3, 0xff, 0xff, 0xff, 0x5f, 0x50];
// lea edi, [rdi - 2]; call fibonacci; pop rcx; add rax, rcx; ret
const second = [0x8d, 0x7f, 0xfe, 0xe8, 0xe9, 0xff, 0xff, 0xff, 0x59, 0x48, 0x01, 0xc8, 0xc3];
// mov eax, edi; ret
const least = [0x89, 0xf8, 0xc3];
const program = [...loop, ...choose, ...first, ...second, ...least];
const instructionsOfAll = 18;
const [pieces, instructions] = [250, 10_001] as const;

function run(translate: boolean) {
  const bench = new Bench({ translate });
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  before.gpr.fill(BigInt(windowAddress + windowBytes / 2));
  bench.load({ code: Uint8Array.from(program), before });
  for (let n = 0; n < pieces; n++) bench.runFor(instructions);
  const { gpr, flags, ip } = bench.state();
  return { state: { gpr, flags, ip }, counts: bench.translator?.counts };
}

test('a function that calls itself is in a region once', () => {
  const found = run(true);
  expect(found.state).toEqual(run(false).state);
  const { regions = 0, instructions: made = 0 } = found.counts ?? {};
  expect(regions).toBeGreaterThan(0);
  expect(made / regions).toBeLessThanOrEqual(instructionsOfAll);
});
