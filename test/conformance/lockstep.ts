/** Evaluator against interpreter on random instructions and state, without a processor: the same seeds give the same run. */
import { SeededRandom } from '../../src/base/random.ts';
import type { Instruction } from '../../src/isa/instruction.ts';
import { Bench, type Result } from './bench.ts';
import { type Case, makeCase, rowOf } from './cases.ts';

/** The first thing in which two results differ. */
export function differs(a: Result, b: Result, names: readonly [string, string] = ['evaluator', 'interpreter']): string | undefined {
  const flat = (r: Result): [string, string][] => [
    ...r.gpr.map((v, n): [string, string] => [`r${n}`, v.toString(16)]),
    ...r.xmm.map((v, n): [string, string] => [`xmm${n}`, v.toString(16)]),
    ...r.st.map((v, n): [string, string] => [`st${n}`, v.toString(16)]),
    ...(['flags', 'mxcsr', 'control', 'status', 'tags', 'ip', 'fault'] as const).map((key): [string, string] => [key, r[key].toString(16)]),
    ['error', String(r.error)],
  ];
  const other = new Map(flat(b));
  const found = flat(a).find(([key, value]) => other.get(key) !== value);
  if (found) return `${found[0]}: ${names[0]} ${found[1]}, ${names[1]} ${other.get(found[0])}`;
  const at = a.memory.findIndex((byte, n) => byte !== b.memory[n]);
  const from = (memory: Uint8Array): string => Buffer.from(memory.subarray(at, at + 16)).toString('hex');
  return at < 0 ? undefined : `memory from ${at.toString(16)}: ${names[0]} ${from(a.memory)}, ${names[1]} ${from(b.memory)}`;
}

export interface LockstepReport {
  readonly cases: number;
  readonly failures: readonly string[];
}

/** Which cases there are, and what is changed of them. */
interface Kind {
  readonly name: string;
  accepts(row: Instruction): boolean;
  prepare(c: Case): void;
}
const instructions: Kind = { name: 'instructions', accepts: () => true, prepare: () => {} };

/** `count` cases from a seed; each failure names its seed and how to repeat it. */
export function lockstep(first: number, count: number, kind = instructions): LockstepReport {
  const bench = new Bench();
  const failures: string[] = [];
  let cases = 0;
  for (let seed = first; cases < count; seed++) {
    const row = rowOf(seed);
    const c = row && kind.accepts(row) ? makeCase(seed) : undefined;
    if (!c) continue;
    kind.prepare(c);
    cases++;
    bench.load(c);
    const expected = bench.run('evaluator');
    bench.load(c);
    const found = differs(expected, bench.run('interpreter'));
    if (found && failures.length < 20)
      failures.push(`${c.row.name} [${Buffer.from(c.code).toString('hex')}]: ${found} (repeat: npm run fuzz -- ${seed} 1 ${kind.name})`);
  }
  return { cases, failures };
}

/** Half of the numbers have few bits, so that sums are exact, cancel, or lie half way. */
const floats: Kind = {
  name: 'floats',
  accepts: (row) => row.name.startsWith('x87'),
  prepare: ({ seed, before }) => {
    const r = new SeededRandom(BigInt(seed));
    before.control = 0x37f | (r.below(16) === 0 ? 0xc00 : 0);
    before.tags = r.below(8) === 0 ? r.below(256) : 0xff;
    const spread = [2, 20, 66, 0x3fff][r.below(4)] ?? 2;
    for (let n = 0; n < 8; n++) {
      const sign = BigInt(r.below(2)) << 79n;
      const exponent = BigInt(16383 + r.below(spread * 2) - spread) << 64n;
      const bits = [64, 33, 25, 8, 2][r.below(5)] ?? 64;
      const fraction = (r.next64() >> BigInt(64 - bits)) << BigInt(64 - bits);
      before.st[n] = r.below(12) === 0 ? sign : sign | exponent | (1n << 63n) | (fraction >> BigInt(r.below(2)));
    }
  },
};
/** x87 instructions on plain numbers, rounded to nearest. */
export const plainFloats = (first: number, count: number): LockstepReport => lockstep(first, count, floats);
