/** A sample of the fuzzing that `npm run fuzz` does at length: fixed seeds, so that a failure repeats. */
import { expect, test } from 'vitest';
import { groups } from './group-programs.ts';
import { interruptedSequences } from './interrupted.ts';
import { lockstep, plainFloats } from './lockstep.ts';
import { floatSequences, groupSequences, memorySequences, patchingSequences, sequences } from './sequences.ts';

test('evaluator and interpreter do the same with 20,000 random instructions', { timeout: 120_000 }, () => {
  expect(lockstep(4_000_000, 20_000).failures).toEqual([]);
});

test('evaluator and interpreter do the same with 10,000 x87 instructions on plain numbers', { timeout: 120_000 }, () => {
  expect(plainFloats(5_000_000, 10_000).failures).toEqual([]);
});

test('interpreter and translator do the same with 3,000 random programs', { timeout: 120_000 }, () => {
  const report = sequences(4_000_000, 3_000);
  expect(report.failures).toEqual([]);
  expect(report.regions).toBeGreaterThanOrEqual(report.cases); // all of them were translated
});

test('interpreter and translator do the same with 3,000 random programs of SSE arithmetic', { timeout: 120_000 }, () => {
  const report = floatSequences(8_000_000, 3_000);
  expect(report.failures).toEqual([]);
  expect(report.regions).toBeGreaterThanOrEqual(report.cases);
});

test('interpreter and translator do the same with 3,000 random programs on a few stretches of memory', { timeout: 120_000 }, () => {
  const report = memorySequences(6_000_000, 3_000);
  expect(report.failures).toEqual([]);
  expect(report.regions).toBeGreaterThanOrEqual(report.cases);
});

test('interpreter and translator do the same with 400 random programs that write into their own code', { timeout: 120_000 }, () => {
  const report = patchingSequences(7_000_000, 400);
  expect(report.failures).toEqual([]);
  expect(report.regions).toBeGreaterThanOrEqual(report.cases / 4);
});

test('groups of instructions with handlers together do in 3,000 random programs what they do one by one', { timeout: 120_000 }, () => {
  expect(groups.length).toBeGreaterThan(100);
  expect(groupSequences(9_000_000, 3_000).failures).toEqual([]);
});

test('evaluator, interpreter and translator do the same with 500 random programs that interrupts come into anywhere', {
  timeout: 120_000,
}, () => {
  const report = interruptedSequences(11_000_000, 500);
  expect(report.failures).toEqual([]);
  expect(report.interrupts).toBeGreaterThan(report.cases * 4);
  expect(report.regions).toBeGreaterThan(report.cases);
});
