/** A short sample of the lockstep fuzzing; `npm run fuzz -- SEED COUNT` runs more. */
import { expect, test } from 'vitest';
import { lockstep } from './lockstep.ts';

test('evaluator and interpreter do the same with 20,000 random instructions', { timeout: 120_000 }, () => {
  expect(lockstep(40_000_000, 20_000).failures).toEqual([]);
});
