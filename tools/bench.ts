/**
 * Programs and Linux workloads in a guest, here and under QEMU's translator when it is installed: npm run bench [-- --json] [-- --only NAME,...]
 * User and system CPU time of the whole process between two lines of the guest's console. The programs' source is bench/programs.c; gcc is needed.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decompress } from 'fzstd';

const groups = {
  'small programs':
    'intmix,sieve,crc32,digest,quicksort,matrix,mandelbrot,nbody,copy,chase,bytecode,recursion,pointers,strings,allocation,simd,x87,jit',
  'system calls and memory': 'syscalls,readbyte,mapping,faults,protection,forking,executing,pipes,signals',
  'Linux workloads': 'shloop,shforkexec,shpipe,awkloop,data,compress,decompress,sha256,sorting,searching,archive',
} as const;
const limitMs = 15 * 60_000;
const append = (suite: string): string => `console=ttyS0 quiet panic=-1 suite=${suite}`;

const argument = (name: string): string | undefined => {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
};
const has = (program: string): boolean => {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

/** One file of a cpio archive in the "newc" format. */
function cpioEntry(name: string, mode: number, data: Uint8Array): Uint8Array {
  const path = Buffer.from(`${name}\0`);
  const fields = [0, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length, 0];
  const head = Buffer.concat([Buffer.from(`070701${fields.map((f) => f.toString(16).padStart(8, '0')).join('')}`), path]);
  const padded = (bytes: Uint8Array): Uint8Array => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
  return Buffer.concat([padded(head), padded(data)]);
}

/** The default guest's files, then ours. */
async function makeInitrd(folder: string): Promise<string> {
  const programs = join(folder, 'programs');
  execFileSync('gcc', ['-O2', '-static', '-o', programs, 'bench/programs.c', '-lm'], { stdio: ['ignore', 'ignore', 'inherit'] });
  const guest = decompress(new Uint8Array(readFileSync('guest/initramfs.cpio.zst')));
  const own = [
    cpioEntry('init', 0o100755, readFileSync('bench/init')),
    cpioEntry('bin/programs', 0o100755, readFileSync(programs)),
    cpioEntry('TRAILER!!!', 0, new Uint8Array()),
  ];
  const initrd = join(folder, 'initrd');
  writeFileSync(initrd, Buffer.concat([guest, Buffer.alloc(-guest.length & 511), ...own]));
  return initrd;
}

/** CPU seconds of a process so far, all threads. */
function cpuSeconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function run(name: string, command: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const child = spawn(command[0] ?? '', command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  const times = new Map<string, number>();
  let text = '';
  let current = 'boot';
  let started = 0;
  child.stdout.on('data', (data: Buffer) => {
    text += data.toString();
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      const line = text.slice(0, end).trim();
      text = text.slice(end + 1);
      if (line.startsWith('@begin ')) {
        current = line.slice(7);
        started = current === 'boot' ? 0 : cpuSeconds(child.pid ?? 0);
        process.stderr.write(`\r\x1b[K${name}: ${current}`);
      } else if (line.startsWith('@end')) times.set(current, cpuSeconds(child.pid ?? 0) - started);
    }
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), limitMs);
  const status = await new Promise<number | null>((resolve) => child.on('exit', resolve));
  clearTimeout(timer);
  process.stderr.write('\r\x1b[K');
  if (status !== 0) throw new Error(`${name} ended with ${status} in ${current}`);
  return times;
}

const mean = (ratios: readonly number[]): number => Math.exp(ratios.reduce((sum, r) => sum + Math.log(r), 0) / ratios.length);
/** A process's CPU time is counted in hundredths of a second. */
const least = 0.01;

async function main(): Promise<void> {
  if (!has('gcc')) {
    process.stdout.write('skipped: no gcc, which makes the programs of the guest\n');
    return;
  }
  const suite = argument('--only') ?? Object.values(groups).join(',');
  const folder = mkdtempSync(join(tmpdir(), 'testudo-bench-'));
  try {
    const initrd = await makeInitrd(folder);
    const guest = ['--kernel', 'guest/bzImage', '--initrd', initrd];
    const ours = await run('testudo', [
      process.execPath,
      'dist/cli/main.js',
      'run',
      '--no-reboot',
      '--memory',
      '256',
      ...guest,
      '--append',
      append(suite),
    ]);
    const options = '-accel tcg,thread=single -smp 1 -cpu Nehalem -m 256 -nodefaults -display none -no-reboot -serial stdio'.split(' ');
    const qemu = has('qemu-system-x86_64')
      ? await run('qemu', ['qemu-system-x86_64', ...options, ...guest.map((a) => a.replace(/^--/, '-')), '-append', append(suite)])
      : undefined;
    report(ours, qemu);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function report(ours: ReadonlyMap<string, number>, qemu: ReadonlyMap<string, number> | undefined): void {
  const ratioOf = (name: string): number | undefined => {
    const [a, b] = [ours.get(name), qemu?.get(name)];
    return a === undefined || b === undefined ? undefined : Math.max(a, least) / Math.max(b, least);
  };
  const means = Object.entries(groups).map(([group, names]) => {
    const ratios = names
      .split(',')
      .map(ratioOf)
      .filter((r) => r !== undefined);
    return { group, rows: ratios.length, mean: ratios.length > 0 ? mean(ratios) : undefined, worst: Math.max(...ratios) };
  });
  if (process.argv.includes('--json')) {
    const rows = [...ours].map(([name, seconds]) => ({ name, seconds, qemuSeconds: qemu?.get(name), ratio: ratioOf(name) }));
    process.stdout.write(`${JSON.stringify({ node: process.version, rows, means }, null, 2)}\n`);
    return;
  }
  process.stdout.write(`Node ${process.version}; CPU seconds${qemu ? '' : ' (no qemu-system-x86_64 to compare with)'}\n`);
  for (const [name, seconds] of ours) {
    const ratio = ratioOf(name);
    const compared = ratio === undefined ? '' : `${(qemu?.get(name) ?? 0).toFixed(2).padStart(9)} ${ratio.toFixed(2).padStart(8)}`;
    process.stdout.write(`${name.padEnd(14)} ${seconds.toFixed(2).padStart(8)} ${compared}\n`);
  }
  for (const m of means)
    if (m.mean !== undefined)
      process.stdout.write(`${m.group}: geometric mean ${m.mean.toFixed(2)}, worst ${m.worst.toFixed(2)}, of ${m.rows} rows\n`);
}

await main();
