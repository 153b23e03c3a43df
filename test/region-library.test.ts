/** A region is entered wherever the code lies that it was made of: a copy of the code needs none of its own, and what differs in one byte does. */
import { expect, test } from 'vitest';
import { hotEntries } from '../src/engine/translator/translator.ts';
import { Bench } from './conformance/bench.ts';
import { codeAddress, makeCase } from './conformance/cases.ts';

/** add rsi, step; then on the next page, and back */
const jump = (from: number, to: number): number[] => [0xe9, ...[0, 8, 16, 24].map((n) => ((to - from - 5) >> n) & 0xff)];
const start = codeAddress & 0xfff;
const first = (step: number): number[] => [0x48, 0x83, 0xc6, step, ...jump(start + 4, 0x1000)];
/** add rdi, step; back */
const second = (step: number): number[] => [0x48, 0x83, 0xc7, step, ...jump(0x1004, start)];
const rounds = 2 * hotEntries;
const instructions = 4;

/** The loop runs in one frame, then in another with the code that `change` gives, and then in the first again. */
function run(change: (bench: Bench) => void, translate = true) {
  const bench = new Bench({ translate });
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  before.gpr.fill(0n);
  bench.loadNext(second(2));
  bench.load({ code: Uint8Array.from(first(1)), before });
  const pieces = 50;
  const runOn = (): void => {
    for (let n = 0; n < pieces; n++) bench.runFor((rounds / pieces) * instructions);
  };
  runOn();
  const { regions = 0 } = bench.translator?.counts ?? {};
  change(bench);
  runOn();
  const { gpr, flags, ip } = bench.state();
  return { state: { gpr: [...gpr], flags, ip }, regions, counts: bench.translator?.counts };
}

test('the same code in another frame enters the region that there is', () => {
  const { state, regions, counts } = run((bench) => bench.replaceCode(first(1)));
  expect([state.gpr[6], state.gpr[7]]).toEqual([2n * BigInt(rounds), 4n * BigInt(rounds)]);
  expect(regions).toBeGreaterThan(0);
  expect(counts).toMatchObject({ regions });
  expect(counts?.reused).toBeGreaterThan(0);
});

test('other code does not: an instruction with another constant', () => {
  const { state, counts } = run((bench) => bench.replaceCode(first(5)));
  expect([state.gpr[6], state.gpr[7]]).toEqual([6n * BigInt(rounds), 4n * BigInt(rounds)]);
  expect(counts?.reused).toBe(0);
});

test('nor does code whose other page differs', () => {
  const { state, counts } = run((bench) => {
    bench.loadNext(second(9));
    bench.replaceCode(first(1));
  });
  expect([state.gpr[6], state.gpr[7]]).toEqual([2n * BigInt(rounds), 11n * BigInt(rounds)]);
  expect(counts?.reused).toBe(0);
});

test('a write to the copy ends its use there, with the write seen at once', () => {
  const change = (bench: Bench): void => {
    bench.replaceCode(first(1));
    for (let n = 0; n < 10; n++) bench.runFor(1000 * instructions);
    bench.replaceCode(first(7));
  };
  const translated = run(change);
  expect(translated.counts?.reused).toBeGreaterThan(0);
  expect(translated.state).toEqual(run(change, false).state);
});
