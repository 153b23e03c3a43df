/** A sample of what a real processor made of random instructions, against evaluator and interpreter. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type Mode, rowCount } from './cases.ts';
import { compareRecording } from './compare.ts';

for (const [mode, file] of [
  [64, 'vectors.bin.gz'],
  [32, 'vectors32.bin.gz'],
] as const satisfies readonly (readonly [Mode, string])[]) {
  test(`evaluator and interpreter agree with the recorded processor on every case of ${mode}-bit code`, { timeout: 120_000 }, () => {
    const report = compareRecording(readFileSync(new URL(`./${file}`, import.meta.url)), 20);
    expect(report.failures).toEqual([]);
    expect(report.compared).toBeGreaterThanOrEqual(25 * rowCount(mode));
  });
}
