/** Regions are bounded in number: when there are as many as may be, the oldest go, and what they were made of is interpreted until it is hot again. */
import { expect, test } from 'vitest';
import { hotEntries } from '../src/engine/translator/translator.ts';
import { Bench } from './conformance/bench.ts';
import { codeAddress, makeCase } from './conformance/cases.ts';

const [loops, rounds] = [24, Math.floor(1.6 * hotEntries)];
/** A loop: mov ecx, rounds; add rsi, n; dec ecx; jnz to the add; then the next one. */
const loop = (n: number): number[] => [0xb9, rounds & 0xff, rounds >> 8, 0, 0, 0x48, 0x83, 0xc6, n, 0xff, 0xc9, 0x75, 0xf8];
const program = [
  ...Array.from({ length: loops }, (_, n) => loop(n)).flat(),
  0xe9,
  ...[0, 8, 16, 24].map((n) => ((-13 * loops - 5) >> n) & 0xff),
];
const passes = 3;
const instructions = passes * (loops * (1 + 3 * rounds) + 1);

function run(regions?: number) {
  const bench = new Bench({ translate: true, ...(regions === undefined ? {} : { regions }) });
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  before.gpr.fill(0n);
  bench.load({ code: Uint8Array.from(program), before });
  for (let left = instructions; left > 0; left -= 1_000) bench.runFor(Math.min(left, 1_000));
  expect(bench.processor.v.ip).toBe(BigInt(codeAddress));
  return { sum: bench.state().gpr[6], counts: bench.translator?.counts };
}

test('the oldest regions make room', () => {
  const sum = BigInt(passes * rounds * ((loops * (loops - 1)) / 2));
  const all = run();
  expect(all).toMatchObject({ sum, counts: { evicted: 0 } });
  expect(all.counts?.regions).toBeGreaterThanOrEqual(loops / 2);
  const few = run(4);
  expect(few.sum).toBe(sum);
  expect(few.counts?.evicted).toBeGreaterThan(loops);
  const { regions = 0, reused = 0, forgotten = 0 } = few.counts ?? {};
  expect(regions + reused - forgotten).toBeLessThanOrEqual(4);
  expect(regions + reused - forgotten).toBeGreaterThan(0);
});
