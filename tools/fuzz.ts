/** Lockstep fuzzing of the executors: npm run fuzz [-- SEED [COUNT [instructions | floats | sequences | sse | memory | patching | groups | interrupts]]]. Without a seed, one from the clock. */
import { interruptedSequences } from '../test/conformance/interrupted.ts';
import { lockstep, plainFloats } from '../test/conformance/lockstep.ts';
import { floatSequences, groupSequences, memorySequences, patchingSequences, sequences } from '../test/conformance/sequences.ts';

const seed = Number(process.argv[2] ?? Date.now() % 2 ** 31);
const count = Number(process.argv[3] ?? 100_000);
const kinds = {
  instructions: (first: number, count: number) => lockstep(first, count),
  floats: plainFloats,
  sequences,
  sse: floatSequences,
  memory: memorySequences,
  patching: patchingSequences,
  groups: groupSequences,
  interrupts: interruptedSequences,
} as const;
const wanted = process.argv[4];
const step = 2_000;
let failed = 0;
for (const [name, run] of Object.entries(kinds)) {
  if (wanted !== undefined && wanted !== name) continue;
  for (let done = 0; done < count; done += step) {
    const report = run(seed + done * 2, Math.min(step, count - done));
    for (const failure of report.failures) process.stdout.write(`${failure}\n`);
    failed += report.failures.length;
    process.stderr.write(`\r${Math.min(count, done + step)} of ${count} ${name}, ${failed} differences`);
  }
  process.stderr.write('\n');
  process.stdout.write(`seed ${seed}: ${count} ${name}, ${failed} differences\n`);
}
process.exitCode = failed === 0 ? 0 : 1;
