/** What conditional jumps remember of how they went. */
import { expect, test } from 'vitest';
import { everBits, everOn, everTaken, noOutcomes, partsOf } from '../src/engine/interpreter/outcomes.ts';

/** As the handlers note it. */
const note = (before: number, taken: boolean): number =>
  (before & everBits) | ((before * 2) & ~everBits) | (taken ? everTaken | 1 : everOn);
const after = (outcomes: readonly boolean[]): number => outcomes.reduce(note, noOutcomes);
const times = (count: number, taken: boolean): boolean[] => new Array(count).fill(taken);

test('nothing is known of a jump that was never executed', () => {
  expect(partsOf(noOutcomes)).toBeUndefined();
});
test.each([
  ['once taken', [true], 1, 0],
  ['taken ten times', times(10, true), 1, 0],
  ['a hundred times not', times(100, false), 0, 1],
  ['three of four', [true, true, false, true], 0.75, 0.25],
  ['once long ago', [true, ...times(100, false)], 1 / 64, 1],
  ['not once long ago', [false, ...times(100, true)], 1, 1 / 64],
])('%s', (_name, outcomes, taken, on) => {
  const parts = partsOf(after(outcomes));
  expect(parts?.taken).toBeCloseTo(taken, 1);
  expect(parts?.on).toBeCloseTo(on, 1);
});
test('what was never gone is 0, not little', () => {
  expect(partsOf(after(times(5, true)))?.on).toBe(0);
  expect(partsOf(after(times(64, false)))?.taken).toBe(0);
});
