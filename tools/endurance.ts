/**
 * A mixed load in one guest for minutes: compiling, Python, sqlite, the shell, compression and code written at run time, again and again, while the host's
 * memory is watched: npm run test:endurance [-- --minutes N] [--node PATH | --browser PATH]
 * `--node` takes another Node for the machine, `--browser` a Chromium, which runs it in a Worker. Memory that still grows in the last third of the time fails.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { misused, toolOptions } from './arguments.ts';
import { makeInitrd } from './bench-guest.ts';
import { missingRows, programFiles } from './bench-programs.ts';
import { serveMachine } from './endurance-browser.ts';

const memoryMiB = 256;
const rows = [
  'compiling',
  'python',
  'sqlite',
  'shforkexec',
  'shpipe',
  'data',
  'compress',
  'decompress',
  'sha256',
  'sorting',
  'jit',
  'bytecode',
  'forking',
];
const sampleMs = 2_000;
/** Of the memory in the third of the time before the last. */
const growthMax = 1.1;
/** Longer than any row. */
const silenceMs = 300_000;

/** What the guest's console says of the load. */
class Progress {
  rounds = 0;
  row = 'boot';
  failed: string | undefined;
  lastHeard = Date.now();
  #text = '';
  hear(text: string): void {
    this.lastHeard = Date.now();
    this.#text += text;
    for (let end = this.#text.indexOf('\n'); end >= 0; end = this.#text.indexOf('\n')) {
      const line = this.#text.slice(0, end).trim();
      this.#text = this.#text.slice(end + 1);
      if (line.startsWith('@begin ')) this.row = line.slice(7);
      else if (line === '@failed') this.failed = this.row;
      else if (line === '@round') this.rounds++;
    }
  }
}

const statusOf = (pid: number, field: string): number => {
  try {
    return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0; // it has ended
  }
};
/** A process and its descendants. */
function tree(pid: number): number[] {
  const all = readdirSync('/proc')
    .map(Number)
    .filter((n) => n > 0);
  const found = [pid];
  for (const parent of found) found.push(...all.filter((n) => !found.includes(n) && statusOf(n, 'PPid') === parent));
  return found;
}
const isRenderer = (pid: number): boolean => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--type=renderer');
  } catch {
    return false;
  }
};
/** MiB: of a browser, those of the processes that run pages. */
function resident(pid: number, inBrowser: boolean): number {
  const pids = inBrowser ? tree(pid).filter(isRenderer) : [pid];
  return Math.round(pids.reduce((sum, n) => sum + statusOf(n, 'VmRSS'), 0) / 1024);
}

interface Load {
  readonly child: ChildProcess;
  /** Resolves with what went wrong, if something did. */
  readonly ended: Promise<string | undefined>;
  close(): Promise<void>;
}
const exitOf = (child: ChildProcess): Promise<void> => new Promise((resolve) => child.once('exit', () => resolve()));
function inNode(node: string, initrd: string, commandLine: string, progress: Progress): Load {
  const options = ['--kernel', 'guest/bzImage', '--initrd', initrd, '--memory', String(memoryMiB), '--append', commandLine];
  const child = spawn(node, ['dist/bin/testudo.js', 'run', ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  child.stdout.on('data', (data: Buffer) => progress.hear(data.toString()));
  const ended = new Promise<string | undefined>((resolve) => {
    child.on('exit', (status) => resolve(status === 0 ? undefined : `testudo ended with ${status}`));
    child.on('error', (problem) => resolve(problem.message));
  });
  return { child, ended, close: async () => void child.kill() };
}
async function inBrowser(browser: string, initrd: string, commandLine: string, progress: Progress): Promise<Load> {
  const server = await serveMachine({ kernel: 'guest/bzImage', initrd, commandLine, memoryMiB }, (text) => progress.hear(text));
  const profile = mkdtempSync(join(tmpdir(), 'testudo-browser-'));
  const child = spawn(browser, ['--headless=new', '--no-sandbox', '--disable-gpu', `--user-data-dir=${profile}`, server.url], {
    stdio: 'ignore',
  });
  const died = new Promise<string>((resolve) => {
    child.on('exit', () => resolve('the browser ended'));
    child.on('error', (problem) => resolve(problem.message));
  });
  return {
    child,
    ended: Promise.race([server.ended, died]),
    close: async () => {
      server.close();
      const exit = exitOf(child);
      if (child.kill()) await exit;
      rmSync(profile, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 }); // its other processes end a little later
    },
  };
}

const average = (numbers: readonly number[]): number => Math.round(numbers.reduce((a, b) => a + b, 0) / Math.max(1, numbers.length));

const usage = `npm run test:endurance [-- OPTIONS]: a mixed load in one guest, while the host's memory is watched

  --minutes N     how long (default: 10)
  --node PATH     another Node runs the machine
  --browser PATH  a Chromium runs it, in a Worker`;

async function main(): Promise<void> {
  const values = toolOptions(usage, { minutes: { type: 'string', default: '10' }, node: { type: 'string' }, browser: { type: 'string' } });
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) misused(`--minutes ${values.minutes}: a number above 0`);
  if (values.node && values.browser) misused('--node and --browser: one of them');
  const missing = missingRows(rows);
  const present = rows.filter((row) => !missing.includes(row));
  if (missing.length > 0) process.stdout.write(`without ${missing.join(', ')}: this machine does not have their programs\n`);
  const folder = mkdtempSync(join(tmpdir(), 'testudo-endurance-'));
  const progress = new Progress();
  const commandLine = `console=ttyS0 quiet until=${Math.round(minutes * 60)} suite=${present.join()}`;
  const initrd = makeInitrd(folder, programFiles(present));
  const load = values.browser
    ? await inBrowser(values.browser, initrd, commandLine, progress)
    : inNode(values.node ?? process.execPath, initrd, commandLine, progress);
  const samples: number[] = [];
  let silent = false;
  const watch = setInterval(() => {
    samples.push(resident(load.child.pid ?? 0, values.browser !== undefined));
    silent ||= Date.now() - progress.lastHeard > silenceMs;
    process.stderr.write(`\r\x1b[Kround ${progress.rounds + 1}, ${progress.row}: ${samples.at(-1)} MiB`);
    if (silent) load.child.kill();
  }, sampleMs);
  const problem = await load.ended;
  clearInterval(watch);
  await load.close();
  rmSync(folder, { recursive: true });
  process.stderr.write('\r\x1b[K');
  const third = Math.floor(samples.length / 3);
  const [first, middle, last] = [samples.slice(0, third), samples.slice(third, 2 * third), samples.slice(2 * third)].map(average);
  process.stdout.write(
    `${progress.rounds} rounds; resident MiB by thirds of the time: ${first}, ${middle}, ${last}; at most ${Math.max(0, ...samples)}\n`,
  );
  const wrong = progress.failed ? `${progress.failed} failed in the guest` : silent ? `nothing heard since ${progress.row} began` : problem;
  if (wrong !== undefined) throw new Error(wrong);
  if (!samples.some((mib) => mib > 0)) throw new Error('resident memory could not be read: /proc of Linux is wanted');
  if (progress.rounds < 1) throw new Error('not one round');
  if ((last ?? 0) > growthMax * (middle ?? 0)) throw new Error('memory still grows');
}
main().catch((problem: unknown) => {
  process.stderr.write(`${problem instanceof Error ? problem.message : String(problem)}\n`);
  process.exitCode = 1;
});
