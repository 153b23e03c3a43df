/** Interpreter against translator on short random programs: the same seeds give the same run. */
import { SeededRandom } from '../../src/base/random.ts';
import { Bench } from './bench.ts';
import { type Case, makeCase } from './cases.ts';
import { differs, type LockstepReport } from './lockstep.ts';
import { memoryProgram } from './memory-programs.ts';

const longest = 8;
/** A jump to itself, at even addresses. */
const wait = [0xeb, 0xfe];
/** Instructions run: enough to leave the program and loop in it a little. */
const steps = 60;

interface Program {
  readonly code: Uint8Array;
  readonly before: Case['before'];
}
/** Instructions of several cases one after another, with the state of the first, and sometimes a loop around them. */
function program(seed: number): Program | undefined {
  const random = new SeededRandom(BigInt(seed));
  const count = 1 + random.below(longest);
  const cases = Array.from({ length: count }, (_, n) => makeCase(seed * longest + n)).filter((c) => c !== undefined);
  const [first] = cases;
  if (!first) return undefined;
  const code = cases.flatMap((c) => [...c.code]);
  // jcc rel8, back to the start
  if (random.below(2) === 0 && code.length < 100) code.push(0x70 + random.below(16), -(code.length + 2) & 0xff);
  if (code.length % 2 === 1) code.push(0x90);
  return { code: Uint8Array.from(code), before: first.before };
}

export const sequences = (first: number, count: number): SequencesReport => compare('sequences', program, first, count);
export const memorySequences = (first: number, count: number): SequencesReport => compare('memory', memoryProgram, first, count);

type SequencesReport = LockstepReport & { readonly regions: number };
/** `count` programs from a seed; each failure names its seed and how to repeat it. */
function compare(name: string, make: (seed: number) => Program | undefined, first: number, count: number): SequencesReport {
  const interpreter = new Bench();
  const translator = new Bench({ translate: true });
  const failures: string[] = [];
  let cases = 0;
  for (let seed = first; cases < count; seed++) {
    const p = make(seed);
    if (!p) continue;
    cases++;
    interpreter.load(p, wait);
    const expected = interpreter.runSteps(steps);
    translator.load(p, wait);
    translator.runSteps(steps); // what has not run is not translated
    translator.reset(p);
    translator.translate();
    const result = translator.runSteps(steps);
    const found = expected.left !== result.left ? `${result.left} instructions left, not ${expected.left}` : undefined;
    const difference = differs(expected, result, ['interpreter', 'translator']) ?? found;
    if (difference && failures.length < 20)
      failures.push(`[${Buffer.from(p.code).toString('hex')}]: ${difference} (repeat: npm run fuzz -- ${seed} 1 ${name})`);
  }
  return { cases, failures, regions: translator.translator?.counts.regions ?? 0 };
}
