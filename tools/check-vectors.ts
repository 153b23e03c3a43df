/** Compares evaluator and interpreter with recorded vectors and prints what differs: npm run vectors:check [-- FILE] */
import { readFileSync } from 'node:fs';
import { compareRecording } from '../test/conformance/compare.ts';

const file = process.argv[2] ?? 'test/conformance/vectors.bin.gz';
const limit = Number(process.argv[3] ?? 40);
const report = compareRecording(readFileSync(file), limit);
for (const failure of report.failures) process.stdout.write(`${failure}\n`);
process.stdout.write(`${report.vendor} ${report.model}: ${report.compared} compared, ${report.failed} failed\n`);
for (const [row, count] of [...report.byRow].sort((a, b) => b[1] - a[1]).slice(0, 60))
  process.stdout.write(`${String(count).padStart(6)} ${row}\n`);
process.exitCode = report.failed === 0 ? 0 : 1;
