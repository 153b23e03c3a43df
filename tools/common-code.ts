/**
 * Finds the code that `common-code.ts` lists: `npm run common-code -- [ROW,...]`. Boots the benchmarks' guest with some rows and looks at what the interpreter
 * ran: the shapes of a boot, and the groups of instructions that would spare most ways through the dispatch loop; those that run most come first.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseCpu } from '../src/cpu/cpuid.ts';
import type { Machine } from '../src/domain/machine.ts';
import { longestGroup } from '../src/engine/interpreter/groups.ts';
import { isConditional, shapeKey } from '../src/engine/interpreter/handler.ts';
import { partsOf } from '../src/engine/interpreter/outcomes.ts';
import { countHandler, Record, recordBytes } from '../src/engine/interpreter/record.ts';
import { type Decoded, Decoder } from '../src/isa/decode.ts';
import { deterministicMachine } from '../test/guest/deterministic.ts';
import { makeInitrd } from './bench-guest.ts';
import { programFiles } from './bench-programs.ts';

const target = 'src/engine/interpreter/common-code.ts';
const groupsMax = 400;
const lineLength = 150;
/** What a place was interpreted before a region was made of it. */
const entriesOfRegions = 16_000;
/** What may have others of its group behind it: it does nothing that the dispatch loop must look at. */
const plain = new Set(
  'mov lea add sub cmp test and or xor shl shr sar movzx movsx movsxd push pop jcc inc dec neg not imul setcc cmovcc nop bt cdqe cdq adc sbb rol ror bswap'.split(
    ' ',
  ),
);

const isPlain = ({ row, operands }: Decoded): boolean =>
  plain.has(row.name) && !operands.some((o) => ['segment', 'control', 'debug'].includes(o.kind));

interface Seen {
  readonly key: string;
  readonly decoded: Decoded;
}
/** Instructions that ran in a row, so many times. */
interface Run {
  readonly steps: readonly Seen[];
  readonly weight: number;
}
/** The bytes of each shape that was met first. */
const bytesOf = new Map<string, string>();

async function runsOf(rows: readonly string[]): Promise<{ runs: Run[]; shapes: Set<string> }> {
  const folder = mkdtempSync(join(tmpdir(), 'testudo-common-'));
  try {
    const data = new Uint8Array(readFileSync(makeInitrd(folder, programFiles(rows))));
    const { machine, run } = await deterministicMachine({
      memoryMiB: 256,
      initrd: { name: 'initrd', data },
      commandLine: `console=ttyS0 quiet suite=${rows.join()}`,
    });
    while (run(1000).kind !== 'stopped')
      process.stderr.write(`\r\x1b[K${rows.join()}: ${Math.round(machine.retired / 1e6)} M instructions`);
    process.stderr.write('\r\x1b[K');
    return lookAt(machine);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
/** What the decoded code of a machine says of how often it ran. */
function lookAt(machine: Machine): { runs: Run[]; shapes: Set<string> } {
  const { pool } = machine;
  const { view, bytes } = pool;
  const { pages } = machine.interpreter;
  const decoder = new Decoder(parseCpu('max').instructions);
  const runs: Run[] = [];
  const shapes = new Set<string>();
  for (let frame = pool.firstFrame; frame < pool.firstFrame + pool.used; frame++)
    for (const mode of [2, 6])
      for (let offset = 0; offset < 4096 && pages.mapOf(frame * 8 + mode) !== 0; offset++) {
        let record = pages.recordAt(frame * 8 + mode, offset);
        if (record === 0) continue;
        const handler = view.getUint16(record + Record.handler, true);
        const isRegion = handler !== countHandler && handler !== view.getUint16(record + Record.own, true);
        const weight = isRegion ? entriesOfRegions : handler === countHandler ? view.getUint16(record + Record.entry, true) : 0;
        const steps: Seen[] = [];
        for (let at = offset; ; record += recordBytes) {
          const start = frame * 4096;
          const decoded = decoder.decode(bytes, start + at, start + 4096, 64);
          if (typeof decoded === 'string') break;
          const key = shapeKey(decoded);
          shapes.add(key);
          if (!bytesOf.has(key)) bytesOf.set(key, Buffer.from(bytes.subarray(start + at, start + at + decoded.length)).toString('hex'));
          steps.push({ key, decoded });
          const wentThere = view.getUint32(record + Record.link, true) !== 0;
          if (
            decoded.row.ends ||
            (isConditional(decoded) && wentThere && partsOf(view.getUint32(record + Record.outcomes, true))?.on === 0)
          )
            break;
          at += decoded.length;
          if (at >= 4096 || pages.recordAt(frame * 8 + mode, at) !== record + recordBytes) break;
        }
        if (weight > 0 && steps.length > 1) runs.push({ steps, weight });
      }
  return { runs, shapes };
}

/**
 * How many ways through the dispatch loop each group spares, when the longest is taken everywhere; all groups count while there are none.
 * `dispatched`: how often each handler runs then.
 */
function spared(
  runs: readonly Run[],
  groups: ReadonlySet<string> | undefined,
  dispatched = new Map<string, number>(),
): Map<string, number> {
  const found = new Map<string, number>();
  for (const { steps, weight } of runs)
    for (let n = 0; n < steps.length; ) {
      const single = steps[n]?.key ?? '';
      let best = '';
      let length = 1;
      let key = single;
      for (let k = 1; k < longestGroup && n + k < steps.length && isPlain((steps[n + k - 1] as Seen).decoded); k++) {
        key += ` ${steps[n + k]?.key}`;
        if (!groups) found.set(key, (found.get(key) ?? 0) + weight * k);
        else if (groups.has(key)) {
          best = key;
          length = k + 1;
        }
      }
      if (best) found.set(best, (found.get(best) ?? 0) + weight * (length - 1));
      dispatched.set(best || single, (dispatched.get(best || single) ?? 0) + weight);
      n += length;
    }
  return found;
}
const most = (counts: ReadonlyMap<string, number>, n: number): Set<string> =>
  new Set(
    [...counts]
      .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
      .slice(0, n)
      .map(([key]) => key),
  );

/** Several in a line, with semicolons between them. */
function wrapped(items: readonly string[]): string {
  const lines = [''];
  for (const item of items) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && line.length + 1 + item.length > lineLength) lines.push(item);
    else lines[lines.length - 1] = line === '' ? item : `${line};${item}`;
  }
  return lines.join('\n');
}

async function main(): Promise<void> {
  const rows = (process.argv[2] ?? 'shforkexec,awkloop,compiling,sqlite,python').split(',');
  const { shapes } = await runsOf([]);
  const { runs } = await runsOf(rows);
  let groups = most(spared(runs, undefined), 8 * groupsMax);
  for (const n of [4, 2, 1]) groups = most(spared(runs, groups), n * groupsMax);
  const total = runs.reduce((sum, r) => sum + r.weight * r.steps.length, 0);
  const dispatched = new Map<string, number>();
  const less = [...spared(runs, groups, dispatched).values()].reduce((sum, n) => sum + n, 0);
  const often = most(dispatched, dispatched.size);
  const lines = [...new Set([...often, ...shapes, ...groups])]
    .filter((key) => often.has(key) || shapes.has(key))
    .map((key) =>
      key
        .split(' ')
        .map((k) => bytesOf.get(k) ?? '')
        .join(' '),
    );
  const text = readFileSync(target, 'utf8');
  writeFileSync(target, `${text.slice(0, text.indexOf('= `') + 3)}\n${wrapped(lines)}\n${text.slice(text.lastIndexOf('`'))}`);
  process.stdout.write(
    `${shapes.size} shapes and ${groups.size} groups, which spare ${Math.round((100 * less) / total)} % of the ways through the dispatch loop\n`,
  );
}
await main();
