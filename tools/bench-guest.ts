/** What the benchmarks of guests share: an initramfs with programs, and runs whose rows are timed from outside, between two lines of the console. */
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { appendCpio, type CpioMember, cpioProgram } from '../src/firmware/cpio.ts';

const minuteMs = 60_000;
export const has = (program: string): boolean => {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

/** The default guest's files, then ours, and what some rows need. */
export function makeInitrd(folder: string, more: readonly CpioMember[] = []): string {
  const programs = join(folder, 'programs');
  execFileSync('gcc', ['-O2', '-static', '-o', programs, 'bench/programs.c', '-lm'], { stdio: ['ignore', 'ignore', 'inherit'] });
  const guest = gunzipSync(readFileSync('guest/initramfs.cpio.gz'));
  const own = [cpioProgram('init', readFileSync('bench/init')), cpioProgram('bin/programs', readFileSync(programs)), ...more];
  const initrd = join(folder, 'initrd');
  writeFileSync(initrd, appendCpio(guest, own));
  return initrd;
}

/** CPU seconds of a process so far, all threads. */
function cpuSeconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** CPU seconds by row, one for each time it runs. A line `@level N` puts `N:` before the names of the rows behind it, but for level 1. It is ended after so many minutes. */
export async function run(name: string, command: readonly string[], minutesMax = 15): Promise<ReadonlyMap<string, readonly number[]>> {
  const child = spawn(command[0] ?? '', command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  const times = new Map<string, number[]>();
  let text = '';
  let current = 'boot';
  let failed: string | undefined;
  let level = '';
  let started = 0;
  child.stdout.on('data', (data: Buffer) => {
    text += data.toString();
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      const line = text.slice(0, end).trim();
      text = text.slice(end + 1);
      if (line.startsWith('@level ')) level = line === '@level 1' ? '' : `${line.slice(7)}:`;
      else if (line.startsWith('@begin ')) {
        current = level + line.slice(7);
        started = current === 'boot' ? 0 : cpuSeconds(child.pid ?? 0);
        process.stderr.write(`\r\x1b[K${name}: ${current}`);
      } else if (line === '@failed') failed = current;
      else if (line.startsWith('@end')) times.set(current, [...(times.get(current) ?? []), cpuSeconds(child.pid ?? 0) - started]);
    }
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), minutesMax * minuteMs);
  const status = await new Promise<number | null>((resolve) => child.on('exit', resolve));
  clearTimeout(timer);
  process.stderr.write('\r\x1b[K');
  if (failed !== undefined) throw new Error(`${name}: ${failed} failed in the guest`);
  if (status !== 0) throw new Error(`${name} ended with ${status} in ${current}`);
  return times;
}
