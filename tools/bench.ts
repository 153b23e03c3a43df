/**
 * Programs and Linux workloads in a guest, here and under QEMU's translator when it is installed: npm run bench [-- --json] [-- --only NAME,...] [-- --rounds N]
 * User and system CPU time of the whole process between two lines of the guest's console, in the best of two rounds in turns: other work on the host slows single rounds by half. The programs' source is bench/programs.c; gcc is needed.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CpioMember } from '../src/firmware/cpio.ts';
import { chosen, positive, toolOptions } from './arguments.ts';
import { has, makeInitrd, run } from './bench-guest.ts';
import { missingRows, programFiles, programRows } from './bench-programs.ts';

const groups = {
  'small programs':
    'intmix,sieve,crc32,digest,quicksort,matrix,mandelbrot,nbody,copy,chase,bytecode,recursion,pointers,strings,allocation,simd,x87,jit',
  'system calls and memory': 'syscalls,readbyte,mapping,faults,protection,forking,executing,pipes,signals',
  'Linux workloads':
    'shloop,shforkexec,shpipe,awkloop,data,compress,decompress,sha256,sorting,searching,archive,xz,compiling,sqlite,python',
  'compilers at run time': 'luajit,javascript',
} as const;
const reference = 'qemu-system-x86_64';
const append = (rows: readonly string[]): string => `console=ttyS0 quiet panic=-1 suite=${rows.filter((row) => row !== 'boot').join(',')}`;
const testudo = (initrd: string, rows: readonly string[]): readonly string[] => [
  ...[process.execPath, 'dist/bin/testudo.js', 'run', '--no-reboot', '--no-worker', '--memory', '256'],
  ...['--kernel', 'guest/bzImage', '--initrd', initrd, '--append', append(rows)],
];
const qemuCommand = (initrd: string, rows: readonly string[]): readonly string[] => [
  reference,
  ...'-accel tcg,thread=single -smp 1 -cpu Nehalem -m 256 -nodefaults -display none -no-reboot -serial stdio'.split(' '),
  ...['-kernel', 'guest/bzImage', '-initrd', initrd, '-append', append(rows)],
];

const allNames = ['boot', ...Object.values(groups).join(',').split(',')];
const usage = `npm run bench [-- OPTIONS]: CPU time of programs and workloads in a guest, here and under QEMU's translator

  --only NAME,...  these rows alone: ${allNames.join(' ')}
  --rounds N       the best of so many rounds counts (default: 2)
  --json           the table for programs`;
const mean = (ratios: readonly number[]): number => Math.exp(ratios.reduce((sum, r) => sum + Math.log(r), 0) / ratios.length);
/** A process's CPU time is counted in hundredths of a second. */
const least = 0.01;

async function main(): Promise<void> {
  const options = toolOptions(usage, {
    only: { type: 'string' },
    rounds: { type: 'string', default: '2' },
    json: { type: 'boolean', default: false },
  });
  if (!has('gcc')) {
    process.stdout.write('skipped: no gcc, which makes the programs of the guest\n');
    return;
  }
  const names = chosen('only', options.only, allNames).filter((name) => name !== 'boot');
  const rounds = positive('rounds', options.rounds);
  const folder = mkdtempSync(join(tmpdir(), 'testudo-bench-'));
  try {
    const [ours, qemu] = [new Map<string, number>(), new Map<string, number>()];
    const measure = async (rows: readonly string[], more: readonly CpioMember[]): Promise<void> => {
      const initrd = makeInitrd(folder, more);
      for (let round = 0; round < rounds; round++)
        for (const [times, name, command] of [
          [ours, 'testudo', testudo],
          [qemu, 'qemu', has(reference) ? qemuCommand : undefined],
        ] as const)
          if (command)
            for (const [row, seconds] of await run(name, command(initrd, rows)))
              if (rows.includes(row)) times.set(row, Math.min(...seconds, times.get(row) ?? Number.POSITIVE_INFINITY));
    };
    const missing = missingRows(names);
    if (missing.length > 0) process.stderr.write(`skipped, for this machine does not have their programs: ${missing.join(', ')}\n`);
    await measure(['boot', ...names.filter((name) => !programRows.includes(name))], []);
    // programs of this machine: a guest for those of each group, since their files lie in its memory
    for (const group of Object.values(groups)) {
      const programs = names.filter((name) => programRows.includes(name) && group.split(',').includes(name) && !missing.includes(name));
      if (programs.length > 0) await measure(programs, programFiles(programs));
    }
    report(ours, qemu, options.json === true);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function report(ours: ReadonlyMap<string, number>, qemu: ReadonlyMap<string, number>, json: boolean): void {
  const ratioOf = (name: string): number | undefined => {
    const [a, b] = [ours.get(name), qemu.get(name)];
    return a === undefined || b === undefined ? undefined : Math.max(a, least) / Math.max(b, least);
  };
  const means = Object.entries(groups).map(([group, names]) => {
    const ratios = names
      .split(',')
      .map(ratioOf)
      .filter((r) => r !== undefined);
    return { group, rows: ratios.length, mean: ratios.length > 0 ? mean(ratios) : undefined, worst: Math.max(...ratios) };
  });
  if (json) {
    const rows = [...ours].map(([name, seconds]) => ({ name, seconds, qemuSeconds: qemu.get(name), ratio: ratioOf(name) }));
    process.stdout.write(`${JSON.stringify({ node: process.version, rows, means }, null, 2)}\n`);
    return;
  }
  process.stdout.write(`Node ${process.version}; CPU seconds${qemu.size > 0 ? '' : ' (no qemu-system-x86_64 to compare with)'}\n`);
  for (const [name, seconds] of ours) {
    const ratio = ratioOf(name);
    const compared = ratio === undefined ? '' : `${(qemu.get(name) ?? 0).toFixed(2).padStart(9)} ${ratio.toFixed(2).padStart(8)}`;
    process.stdout.write(`${name.padEnd(14)} ${seconds.toFixed(2).padStart(8)} ${compared}\n`);
  }
  for (const m of means)
    if (m.mean !== undefined)
      process.stdout.write(`${m.group}: geometric mean ${m.mean.toFixed(2)}, worst ${m.worst.toFixed(2)}, of ${m.rows} rows\n`);
}

await main();
