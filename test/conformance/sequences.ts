/** Interpreter against translator, and against itself instruction by instruction, on short random programs: the same seeds give the same run. */
import { SeededRandom } from '../../src/base/random.ts';
import { Bench } from './bench.ts';
import { type Case, makeCase } from './cases.ts';
import { floatProgram } from './float-programs.ts';
import { groupProgram } from './group-programs.ts';
import { differs, type LockstepReport } from './lockstep.ts';
import { memoryProgram } from './memory-programs.ts';
import { patchingProgram } from './patching-programs.ts';

const longest = 8;
/** A jump to itself, at even addresses. */
export const wait = [0xeb, 0xfe];

export interface Program {
  readonly code: Uint8Array;
  readonly before: Case['before'];
}
/** Instructions of several cases one after another, with the state of the first, and sometimes a loop around them. */
export function program(seed: number): Program | undefined {
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

/** Which programs, and how they are run: translated after one run, or while they run, as the machine does it. */
interface Kind {
  readonly name: string;
  make(seed: number): Program | undefined;
  readonly steps: number;
  readonly live: boolean;
}
const plain: Kind = { name: 'sequences', make: program, steps: 60, live: false };
const memory: Kind = { name: 'memory', make: memoryProgram, steps: 60, live: false };
const sse: Kind = { name: 'sse', make: floatProgram, steps: 60, live: false };
const patching: Kind = { name: 'patching', make: patchingProgram, steps: 900, live: true };

export const sequences = (first: number, count: number): SequencesReport => compare(plain, first, count);
export const memorySequences = (first: number, count: number): SequencesReport => compare(memory, first, count);
export const floatSequences = (first: number, count: number): SequencesReport => compare(sse, first, count);
export const patchingSequences = (first: number, count: number): SequencesReport => compare(patching, first, count);

export type SequencesReport = LockstepReport & { readonly regions: number };

/** Lengths of pieces after each of which the state is compared: an interrupt may come there. */
export function* piecesOf(seed: number, steps: number): Generator<number> {
  const random = new SeededRandom(BigInt(seed));
  const isCut = random.below(2) === 0;
  for (let left = steps; left > 0; ) {
    const piece = isCut ? Math.min(left, 1 + random.below(40)) : left;
    left -= piece;
    yield piece;
  }
}
/** Regions with an instruction that can't be translated though by itself it could; what stood in programs before may matter, too. */
export const refusals = ({ translator }: Bench): number => translator?.counts.refused ?? 0;
/** What differs first between two benches with the same program loaded. */
function difference(interpreter: Bench, translator: Bench, seed: number, { steps, live }: Kind): string | undefined {
  for (const piece of piecesOf(seed, steps)) {
    const expected = interpreter.runSteps(piece);
    if (live) translator.expectHeat();
    const result = translator.runSteps(piece);
    const found =
      differs(expected, result, ['interpreter', 'translator']) ??
      (expected.left !== result.left ? `${result.left} instructions left, not ${expected.left}` : undefined);
    if (found !== undefined || expected.fault >= 0) return found;
  }
  return undefined;
}
/** `count` programs from a seed; each failure names its seed and how to repeat it. */
function compare(kind: Kind, first: number, count: number): SequencesReport {
  const interpreter = new Bench();
  const translator = new Bench({ translate: true });
  const failures: string[] = [];
  let cases = 0;
  for (let seed = first; cases < count; seed++) {
    const p = kind.make(seed);
    if (!p) continue;
    cases++;
    const refused = refusals(translator);
    interpreter.load(p, wait);
    translator.load(p, wait);
    if (!kind.live) {
      translator.runSteps(kind.steps); // what has not run is not translated
      translator.reset(p);
      translator.translate();
    }
    const found = difference(interpreter, translator, seed, kind) ?? (refusals(translator) > refused ? 'a region was refused' : undefined);
    if (found !== undefined && failures.length < 20)
      failures.push(`[${Buffer.from(p.code).toString('hex')}]: ${found} (repeat: npm run fuzz -- ${seed} 1 ${kind.name})`);
  }
  return { cases, failures, regions: translator.translator?.counts.regions ?? 0 };
}

/** Groups of instructions with handlers together against the same instructions one by one. */
export function groupSequences(first: number, count: number): LockstepReport {
  const alone = new Bench();
  const together = new Bench();
  const failures: string[] = [];
  let cases = 0;
  for (let seed = first; cases < count; seed++) {
    const p = groupProgram(seed);
    if (!p) continue;
    cases++;
    alone.load(p, wait);
    together.load(p, wait);
    for (const piece of piecesOf(seed, 60)) {
      let expected = alone.runSteps(1);
      for (let n = 1; n < piece && expected.fault < 0; n++) expected = { ...alone.runSteps(1), left: 0 };
      const result = together.runSteps(piece);
      const found =
        differs(expected, result, ['alone', 'together']) ??
        (result.fault < 0 && result.left !== 0 ? `${result.left} instructions left` : undefined);
      if (found !== undefined && failures.length < 20)
        failures.push(`[${Buffer.from(p.code).toString('hex')}]: ${found} (repeat: npm run fuzz -- ${seed} 1 groups)`);
      if (found !== undefined || expected.fault >= 0) break;
    }
  }
  return { cases, failures };
}
