/** Runs recorded cases on the executors and says where they differ from the processor. */
import { gunzipSync } from 'node:zlib';
import { Bench, type Result } from './bench.ts';
import { type Case, makeCase } from './cases.ts';
import { approximate, definedStatus, undefinedFlags } from './undefined.ts';
import { decodeOutcomes, type RecordedOutcome, recordedWindow } from './vectors.ts';

export interface Report {
  readonly vendor: string;
  readonly model: string;
  compared: number;
  failed: number;
  readonly failures: string[];
  readonly byRow: Map<string, number>;
}

const hex = (n: bigint | number): string => n.toString(16);
const signals: Readonly<Record<number, readonly number[]>> = { 4: [6], 5: [-1], 8: [0, 16, 19], 11: [5, 12, 13, 14], 7: [12, 17] };
const statusFlags = 0xcd5; // with DF

export function differences(c: Case, o: RecordedOutcome, r: Result): string[] {
  const out: string[] = [];
  const expected = signals[o.signal] ?? [];
  if (!expected.includes(r.fault)) return [`signal ${o.signal}, here vector ${r.fault}`];
  const check = (what: string, wanted: bigint | number, got: bigint | number): void => {
    if (BigInt(wanted) !== BigInt(got)) out.push(`${what}: ${hex(wanted)}, here ${hex(got)}`);
  };
  if (o.signal === 5) check('ip', (o.ip - 1) & 0xffff, r.ip & 0xffff);
  const registers = c.mode === 64 ? 16 : 8;
  c.before.gpr.slice(0, registers).forEach((before, n) => check(`r${n}`, o.gpr.get(n) ?? before, r.gpr[n] ?? 0n));
  if (r.fault < 0) {
    const mask = statusFlags & ~undefinedFlags(c.decoded, c.before);
    check('flags', o.flags & mask, r.flags & mask);
  }
  if (approximate(c.decoded)) return out;
  c.before.xmm.forEach((before, n) => check(`xmm${n}`, o.xmm.get(n) ?? before, r.xmm[n] ?? 0n));
  check('mxcsr', o.mxcsr, r.mxcsr);
  check('control', o.control, r.control);
  check('status', o.status & definedStatus(c.decoded), r.status & definedStatus(c.decoded));
  check('tags', o.tags, r.tags);
  c.before.st.forEach((before, n) => check(`st${n}`, o.st.get(n) ?? before, r.st[n] ?? 0n));
  const old = recordedWindow(c.before.memory);
  const window = recordedWindow(r.memory);
  for (let n = 0; n < window.length; n++)
    if ((o.memory.get(n) ?? old[n]) !== window[n]) {
      out.push(`memory at ${n}: ${hex(o.memory.get(n) ?? old[n] ?? 0)}, here ${hex(window[n] ?? 0)}`);
      break;
    }
  return out;
}

export function compareRecording(packed: Uint8Array, failuresMax: number): Report {
  const data = gunzipSync(packed);
  const end = data.indexOf(10);
  const head = JSON.parse(data.subarray(0, end).toString()) as { vendor: string; model: string; mode?: 64 | 32 };
  const report: Report = { vendor: head.vendor, model: head.model, compared: 0, failed: 0, failures: [], byRow: new Map() };
  const bench = new Bench();
  for (const outcome of decodeOutcomes(data.subarray(end + 1))) {
    const c = makeCase(outcome.seed, head.mode ?? 64);
    if (!c) throw new Error(`seed ${outcome.seed} gives no case: the recording is older than the tables; npm run vectors:record`);
    report.compared++;
    for (const executor of ['evaluator', 'interpreter'] as const) {
      bench.load(c);
      const found = differences(c, outcome, bench.run(executor));
      if (found.length === 0) continue;
      report.failed++;
      const key = `${executor} ${c.row.name} ${c.row.operands.join()}`;
      report.byRow.set(key, (report.byRow.get(key) ?? 0) + 1);
      if (report.failures.length < failuresMax) {
        const code = [...c.code].map((b) => b.toString(16).padStart(2, '0')).join(' ');
        report.failures.push(`${executor}, seed ${c.seed}, ${c.row.name} [${code}]: ${found.slice(0, 4).join('; ')}`);
      }
    }
  }
  return report;
}
