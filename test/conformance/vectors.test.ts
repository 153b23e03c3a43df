/** A sample of what a real processor made of random instructions, against evaluator and interpreter. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { rows } from './cases.ts';
import { compareRecording } from './compare.ts';

test('evaluator and interpreter agree with the recorded processor on every case', { timeout: 120_000 }, () => {
  const report = compareRecording(readFileSync(new URL('./vectors.bin.gz', import.meta.url)), 20);
  expect(report.failures).toEqual([]);
  expect(report.compared).toBeGreaterThanOrEqual(60 * rows.length);
});
