/** A switch of eight cases in a loop: a region goes from one to the other by itself, counts what it runs, and never runs what is not there any more. */
import { expect, test } from 'vitest';
import { At } from '../src/cpu/state.ts';
import { Bench } from './conformance/bench.ts';
import { makeCase, windowAddress, windowBytes } from './conformance/cases.ts';

const cases = 8;
const offsetInPage = 0x100;
// xor, shift and xor RAX (a generator); mov ecx, eax; and ecx, 7; lea rdx, [rip + cases]; lea rdx, [rdx + rcx * 8]
const choose = [
  ...[0x48, 0x89, 0xc1, 0x48, 0xc1, 0xe1, 0x0d, 0x48, 0x31, 0xc8, 0x48, 0x89, 0xc1, 0x48, 0xc1, 0xe9, 0x07, 0x48, 0x31, 0xc8],
  ...[0x89, 0xc1, 0x83, 0xe1, 0x07, 0x48, 0x8d, 0x15],
];
const scale = [0x48, 0x8d, 0x14, 0xca];
const jump = [0xff, 0xe2];
/** mov [r8], rdx; jmp [r8]: the target is a value of the instruction's own. */
const jumpThroughMemory = [0x49, 0x89, 0x10, 0x41, 0xff, 0x20];
type Way = 'in its own page' | 'in a called function, through memory' | 'from another page';
/** call to what follows; jmp to the call */
const callingLoop = [0xe8, 2, 0, 0, 0, 0xeb, 0xf9];
/** Where the jump is: behind the choice, or at the start of the next page. */
function head(way: Way): number[] {
  const begin = choose.length + 4 + scale.length;
  if (way === 'in a called function, through memory')
    return [...callingLoop, ...choose, scale.length + jumpThroughMemory.length, 0, 0, 0, ...scale, ...jumpThroughMemory];
  const away = way === 'in its own page' ? jump : [0xe9, ...[0, 8, 16, 24].map((n) => ((4096 - offsetInPage - begin - 5) >> n) & 0xff)];
  return [...choose, scale.length + away.length, 0, 0, 0, ...scale, ...away];
}
/** add rbx, n + more (or sub, so that flags differ); jmp to the start. In a function: lea rbx, [rbx + n + more]; jmp to the ret */
const program = (way: Way, more: number): number[] => {
  const start = head(way);
  const bodies = Array.from({ length: cases }, (_, n) => {
    const back = -(start.length + 8 * n + 6) & 0xff;
    if (way === 'in a called function, through memory') return [0x48, 0x8d, 0x5b, n + more, 0xeb, 8 * (cases - n) - 6, 0x90, 0x90];
    return [0x48, 0x83, n % 2 === 0 ? 0xc3 : 0xeb, n + more, 0xeb, back, 0x90, 0x90];
  });
  return [...start, ...bodies.flat(), 0xc3];
};
const [pieces, instructions] = [250, 10_001] as const;
/** Each time other code is written its regions are made anew, and know some more of the jump's targets. */
const rounds = 8;

function run(translate: boolean, way: Way) {
  const bench = new Bench({ translate });
  const runOn = (): void => {
    for (let n = 0; n < pieces; n++) bench.runFor(instructions);
  };
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  before.gpr.fill(BigInt(windowAddress + windowBytes / 2));
  bench.loadNext(jump);
  for (let round = 0; round < rounds; round++) {
    bench.load({ code: Uint8Array.from(program(way, 1 + round)), before });
    runOn();
  }
  const inFirst = bench.state();
  bench.replaceCode(program(way, 50));
  runOn();
  const inSecond = bench.state();
  const states = [inFirst, inSecond].map(({ gpr, flags, ip }) => ({ gpr, flags, ip }));
  return { states, regions: bench.translator?.counts.regions ?? 0 };
}

for (const way of ['in its own page', 'in a called function, through memory', 'from another page'] as const)
  test(`a switch that jumps ${way} goes where the interpreter goes`, () => {
    const found = run(true, way);
    const expected = run(false, way);
    expect(found.states).toEqual(expected.states);
    expect([expected.regions, found.regions > 0]).toEqual([0, true]);
  });

test('one region has all cases of a switch, however few were known when the first of them was hot', () => {
  const bench = new Bench({ translate: true });
  const { before } = makeCase(1) ?? {};
  if (!before || !bench.translator) throw new Error('no case');
  before.gpr.fill(BigInt(windowAddress + windowBytes / 2));
  const way = 'in its own page';
  bench.load({ code: Uint8Array.from(program(way, 1)), before });
  for (let n = 0; n < pieces; n++) bench.runFor(instructions);
  const { v } = bench.processor;
  const page = bench.codeFrame * 8 + (Number(v.get64(At.codeMode)) & 7);
  const slots = Array.from({ length: cases }, (_, n) => bench.translator?.entry(page, offsetInPage + head(way).length + 8 * n)?.slot);
  expect(slots[0]).toBeGreaterThan(0);
  expect(new Set(slots).size).toBe(1);
});
