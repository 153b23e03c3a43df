/** Evaluator against interpreter on random instructions and state, without a processor: the same seeds give the same run. */
import { Bench, type Result } from './bench.ts';
import { type Case, makeCase } from './cases.ts';

/** The first thing in which two results differ. */
export function differs(a: Result, b: Result, names: readonly [string, string] = ['evaluator', 'interpreter']): string | undefined {
  const flat = (r: Result): [string, string][] => [
    ...r.gpr.map((v, n): [string, string] => [`r${n}`, v.toString(16)]),
    ...r.xmm.map((v, n): [string, string] => [`xmm${n}`, v.toString(16)]),
    ...r.st.map((v, n): [string, string] => [`st${n}`, v.toString(16)]),
    ...(['flags', 'mxcsr', 'control', 'status', 'tags', 'ip', 'fault'] as const).map((key): [string, string] => [key, r[key].toString(16)]),
    ['error', String(r.error)],
    ['memory', Buffer.from(r.memory).toString('base64')],
  ];
  const other = new Map(flat(b));
  const found = flat(a).find(([key, value]) => other.get(key) !== value);
  return found && `${found[0]}: ${names[0]} ${found[1].slice(0, 80)}, ${names[1]} ${other.get(found[0])?.slice(0, 80)}`;
}

export interface LockstepReport {
  readonly cases: number;
  readonly failures: readonly string[];
}

/** `count` cases from a seed; each failure names its seed and how to repeat it. */
export function lockstep(first: number, count: number): LockstepReport {
  const bench = new Bench();
  const failures: string[] = [];
  let cases = 0;
  for (let seed = first; cases < count; seed++) {
    const c: Case | undefined = makeCase(seed);
    if (!c) continue;
    cases++;
    bench.load(c);
    const expected = bench.run('evaluator');
    bench.load(c);
    const found = differs(expected, bench.run('interpreter'));
    if (found && failures.length < 20)
      failures.push(`${c.row.name} [${Buffer.from(c.code).toString('hex')}]: ${found} (repeat: npm run fuzz -- ${seed} 1)`);
  }
  return { cases, failures };
}
