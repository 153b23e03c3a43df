/** A switch of eight cases in a loop: a region goes from one to the other by itself, counts what it runs, and never runs what is not there any more. */
import { expect, test } from 'vitest';
import { Bench } from './conformance/bench.ts';
import { makeCase, windowAddress } from './conformance/cases.ts';

const cases = 8;
const offsetInPage = 0x100;
// xor, shift and xor RAX (a generator); mov ecx, eax; and ecx, 7; lea rdx, [rip + cases]; lea rdx, [rdx + rcx * 8]
const choose = [
  ...[0x48, 0x89, 0xc1, 0x48, 0xc1, 0xe1, 0x0d, 0x48, 0x31, 0xc8, 0x48, 0x89, 0xc1, 0x48, 0xc1, 0xe9, 0x07, 0x48, 0x31, 0xc8],
  ...[0x89, 0xc1, 0x83, 0xe1, 0x07, 0x48, 0x8d, 0x15],
];
const scale = [0x48, 0x8d, 0x14, 0xca];
const jump = [0xff, 0xe2];
/** Where the jump is: behind the choice, or at the start of the next page. */
function head(isNear: boolean): number[] {
  const begin = choose.length + 4 + scale.length;
  const away = isNear ? jump : [0xe9, ...[0, 8, 16, 24].map((n) => ((4096 - offsetInPage - begin - 5) >> n) & 0xff)];
  return [...choose, scale.length + away.length, 0, 0, 0, ...scale, ...away];
}
/** add rbx, n + more (or sub, so that flags differ); jmp to the start */
const program = (isNear: boolean, more: number): number[] => {
  const start = head(isNear);
  const bodies = Array.from({ length: cases }, (_, n) => {
    const back = -(start.length + 8 * n + 6) & 0xff;
    return [0x48, 0x83, n % 2 === 0 ? 0xc3 : 0xeb, n + more, 0xeb, back, 0x90, 0x90];
  });
  return [...start, ...bodies.flat()];
};
const [pieces, instructions] = [250, 10_001] as const;
/** Each time the code is written again its regions are made again, and know some more of the jump's targets. */
const rounds = 8;

function run(translate: boolean, isNear: boolean) {
  const bench = new Bench({ translate });
  const runOn = (): void => {
    for (let n = 0; n < pieces; n++) bench.runFor(instructions);
  };
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  before.gpr.fill(BigInt(windowAddress));
  bench.loadNext(jump);
  for (let round = 0; round < rounds; round++) {
    bench.load({ code: Uint8Array.from(program(isNear, 1)), before });
    runOn();
  }
  const inFirst = bench.state();
  bench.replaceCode(program(isNear, 50));
  runOn();
  const inSecond = bench.state();
  const states = [inFirst, inSecond].map(({ gpr, flags, ip }) => ({ gpr, flags, ip }));
  return { states, regions: bench.translator?.counts.regions ?? 0 };
}

for (const isNear of [true, false])
  test(`a switch that jumps ${isNear ? 'in its own page' : 'from another page'} goes where the interpreter goes`, () => {
    const found = run(true, isNear);
    const expected = run(false, isNear);
    expect(found.states).toEqual(expected.states);
    expect([expected.regions, found.regions > 0]).toEqual([0, true]);
  });
