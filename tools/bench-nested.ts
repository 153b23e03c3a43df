/**
 * The same programs in a guest (level 1) and in a guest of that guest under its KVM (level 2), in one run: npm run bench:nested [-- --only NAME,...]; long rows, and those of this machine's programs, only when they are named.
 * `-- --kvm ept=0,...` sets parameters of the kvm-intel module, `-- --turtles trap|direct,...` runs all above the level-0 monitor. User and system CPU time of the whole process; the levels take turns row by row, so that both are of the same stretch of the host's time. The first round, in which code is made, does not count; of the others the means are compared, since who runs second has the regions that the first just made, and with every round the order changes. gcc is needed.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { appendCpio, cpioFile, cpioFolder } from '../src/firmware/cpio.ts';
import { chosen, positive, toolOptions } from './arguments.ts';
import { has, makeInitrd, run } from './bench-guest.ts';
import { missingRows, programFiles } from './bench-programs.ts';

const groups: Readonly<Record<string, readonly string[]>> = {
  computing: 'intmix sieve crc32 digest quicksort matrix mandelbrot nbody chase bytecode recursion pointers strings'.split(' '),
  'system calls and memory': 'syscalls readbyte mapping faults protection forking executing pipes signals'.split(' '),
  'Linux workloads': 'shloop shforkexec shpipe awkloop data compress decompress sha256 sorting searching archive'.split(' '),
};
const onlyNamed = 'copy allocation simd x87 jit compiling sqlite python luajit javascript'.split(' ');
/** A whole round takes four. */
const minutesPerRound = 10;
const usage = `npm run bench:nested [-- OPTIONS]: CPU time of the same programs in a guest and in a guest of that guest

  --only NAME,...       these rows alone: ${[...Object.values(groups).flat(), ...onlyNamed].join(' ')}
  --kvm NAME=VALUE,...  parameters of the kvm-intel module in the guest
  --rounds N            every row runs so often at each level (default: 2), behind a round that does not count
  --turtles SWITCHES    run all above the level-0 monitor: 'trap', or switches of run's --turtles`;

async function main(): Promise<void> {
  const options = toolOptions(usage, {
    only: { type: 'string' },
    rounds: { type: 'string', default: '2' },
    kvm: { type: 'string' },
    turtles: { type: 'string' },
  });
  if (!has('gcc')) {
    process.stdout.write('skipped: no gcc, which makes the programs of the guest\n');
    return;
  }
  const usual = Object.values(groups).flat();
  const names = options.only === undefined ? usual : chosen('only', options.only, [...usual, ...onlyNamed]);
  const missing = missingRows(names);
  if (missing.length > 0) {
    process.stdout.write(`skipped: this machine does not have the programs of ${missing.join(', ')}\n`);
    return;
  }
  const { kvm, turtles } = options;
  const rounds = positive('rounds', options.rounds);
  const folder = mkdtempSync(join(tmpdir(), 'testudo-bench-'));
  try {
    const inner = makeInitrd(folder, programFiles(names));
    const outer = join(folder, 'outer');
    const files = [
      cpioFolder('boot'),
      cpioFile('boot/bzImage', readFileSync('guest/bzImage')),
      cpioFile('boot/initrd', readFileSync(inner)),
    ];
    writeFileSync(outer, appendCpio(readFileSync(inner), files));
    const command = [
      ...[process.execPath, 'dist/bin/testudo.js', 'run', '--no-reboot', '--no-worker', '--memory', '768', '--cpu', 'x86-64-v2,+vmx'],
      ...[
        ...(turtles === undefined ? [] : [turtles === 'trap' ? '--turtles' : `--turtles=${turtles}`]),
        '--kernel',
        'guest/bzImage',
        '--initrd',
        outer,
        '--append',
        `console=ttyS0 quiet panic=-1 nested ${kvm === undefined ? '' : `kvm=${kvm} `}rounds=${rounds + 1} suite=${names.join(',')}`,
      ],
    ];
    report(names, await run('testudo', command, (rounds + 1) * minutesPerRound));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Of all rounds but the first. */
function meanTime([, ...seconds]: readonly number[]): number {
  return seconds.reduce((sum, s) => sum + s, 0) / seconds.length;
}
function report(names: readonly string[], times: ReadonlyMap<string, readonly number[]>): void {
  const ratios = new Map<string, number>();
  process.stdout.write('CPU seconds         level 1   level 2     ratio\n');
  for (const name of names) {
    const [one, two] = [meanTime(times.get(name) ?? []), meanTime(times.get(`2:${name}`) ?? [])];
    ratios.set(name, two / one);
    process.stdout.write(
      `${name.padEnd(18)} ${one.toFixed(2).padStart(8)} ${two.toFixed(2).padStart(9)} ${(two / one).toFixed(3).padStart(9)}\n`,
    );
  }
  for (const [group, rows] of Object.entries(groups)) {
    const found = rows.map((name) => ratios.get(name) ?? Number.NaN).filter((ratio) => ratio > 0);
    if (found.length === 0) continue;
    const mean = Math.exp(found.reduce((sum, ratio) => sum + Math.log(ratio), 0) / found.length);
    process.stdout.write(`${group}: geometric mean ${mean.toFixed(3)}, worst ${Math.max(...found).toFixed(2)}, of ${found.length} rows\n`);
  }
}

await main();
