/**
 * Records what the processor of this computer makes of random instructions: npm run vectors:record [-- COUNT [FIRST-SEED [64|32 [FILE]]]]
 * Needs gcc on x86-64 Linux. Writes test/conformance/vectors.bin.gz: for each case the seed and what changed.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type Case, codeAddress, type Mode, makeCase, rowCount } from '../test/conformance/cases.ts';
import {
  encodeOutcome,
  harnessInputBytes,
  harnessOutputBytes,
  outcomeFromHarness,
  writeHarnessInput,
} from '../test/conformance/vectors.ts';

const count = Number(process.argv[2] ?? 60_000);
const first = Number(process.argv[3] ?? 0);
const mode: Mode = process.argv[4] === '32' ? 32 : 64;
const out = process.argv[5] ?? `test/conformance/vectors${mode === 32 ? '32' : ''}.bin.gz`;
const directory = mkdtempSync(join(tmpdir(), 'testudo-vectors-'));
const harness = join(directory, 'harness');
execFileSync('gcc', ['-O1', '-no-pie', '-o', harness, 'tools/vector-harness.c']);

const cases: Case[] = [];
for (let seed = first; cases.length < count; seed++) {
  const c = makeCase(seed, mode);
  if (c) cases.push(c);
}
const input = Buffer.alloc(cases.length * harnessInputBytes);
cases.forEach((c, n) => writeHarnessInput(input.subarray(n * harnessInputBytes, (n + 1) * harnessInputBytes), c, codeAddress));
writeFileSync(join(directory, 'in'), input);
execFileSync(harness, [join(directory, 'in'), join(directory, 'out')], { stdio: 'inherit' });
const output = readFileSync(join(directory, 'out'));
const outcomes = cases.map((c, n) =>
  encodeOutcome(c, outcomeFromHarness(output.subarray(n * harnessOutputBytes, (n + 1) * harnessOutputBytes))),
);
const model = /model name\s*: (.*)/.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown';
const vendor = /vendor_id\s*: (.*)/.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown';
const head = Buffer.from(`${JSON.stringify({ vendor, model, mode, rows: rowCount(mode), count: cases.length })}\n`);
writeFileSync(out, gzipSync(Buffer.concat([head, ...outcomes]), { level: 9 }));
process.stdout.write(`${cases.length} cases over ${rowCount(mode)} rows of ${mode}-bit code, recorded on ${vendor} ${model}: ${out}\n`);
