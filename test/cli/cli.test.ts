/** The command as its users run it: errors are sentences, exit codes say what happened. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const main = new URL('../../dist/bin/testudo.js', import.meta.url).pathname;
const directory = mkdtempSync(join(tmpdir(), 'testudo-cli-'));
const file = (name: string, data: Uint8Array | string): string => {
  const path = join(directory, name);
  writeFileSync(path, data);
  return path;
};
const testudo = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', input: '', timeout: 20_000 });
  return { status, stdout, stderr };
};

const cases: readonly (readonly [what: string, args: string[], status: number, text: RegExp])[] = [
  ['a missing kernel', ['run', '--kernel', '/nowhere/vmlinuz'], 1, /--kernel \/nowhere\/vmlinuz: no such file/],
  ['a foreign kernel', ['run', '--kernel', file('text', 'this is no kernel\n'.repeat(100))], 1, /not a kernel/],
  ['an empty kernel', ['run', '--kernel', file('empty', '')], 1, /not a kernel/],
  ['too little memory', ['run', '--memory', '1'], 1, /--memory 1: a whole number of MiB from 16/],
  ['memory too small for the kernel', ['run', '--memory', '16'], 1, /give the guest more with --memory/],
  ['an unknown option', ['run', '--kernal', 'x'], 2, /unknown option '--kernal'/],
  ['an unknown verb', ['rum'], 2, /unknown command/],
  ['an unknown CPU', ['run', '--cpu', 'z80'], 1, /cpu 'z80': no such model; there are x86-64, x86-64-v2, max/],
  ['an unknown CPU feature', ['run', '--cpu', 'max,+warp'], 1, /cpu feature 'warp': not known/],
  ['a part of VMX without VMX', ['run', '--cpu', 'x86-64-v2,+ept'], 1, /cpu feature 'ept': is a part of vmx; write \+vmx before it/],
  ['guests in guests in guests, too many', ['run', '--nested', '9'], 1, /--nested 9: a number of levels from 1 to 3/],
  ['level 4 in real time', ['run', '--nested', '3'], 1, /--nested 3: needs --deterministic/],
  ['a nested kernel of one’s own', ['run', '--nested', '--kernel', 'x'], 1, /--nested: is for the default guest/],
  ['a missing disk', ['run', '--disk', '/nowhere/disk'], 1, /--disk \/nowhere\/disk: no such file/],
  ['a disk with a torn sector', ['run', '--disk', file('torn', new Uint8Array(1000))], 1, /488 bytes after the last sector/],
  ['a folder for regions in none', ['run', '--regions', '/nowhere/regions'], 1, /--regions \/nowhere\/regions: no such file/],
  ['a place for a saved machine in no folder', ['run', '--save', '/nowhere/x'], 1, /--save \/nowhere\/x: no such file/],
  ['a saved machine that is not there', ['run', '--restore', '/nowhere/x'], 1, /--restore \/nowhere\/x: no such file/],
  ['a folder in its place', ['run', '--restore', directory], 1, /--restore .*: is a directory/],
  [
    'what is no saved machine',
    ['run', '--restore', file('no.saved', 'this is something else')],
    1,
    /--restore .*no.saved: is not a saved machine, or is damaged/,
  ],
  ['other hardware for one', ['run', '--restore', 'x', '--memory', '64'], 1, /--memory: not with --restore/],
  ['two mistakes at once', ['run', '--memory', 'much', '--seed', 'tree'], 1, /--memory much.*\n.*--seed tree/],
  ['an unknown trace', ['run', '--trace', 'ports:3f8-3ff,thoughts'], 1, /--trace thoughts: KIND/],
  ['a broken configuration file', ['run', '--config', file('c.json', '{')], 1, /not JSON/],
  ['a switch that is no boolean in it', ['run', '--config', file('e.json', '{"profile": "no"}')], 1, /profile: true or false is wanted/],
  ['an unknown key in it', ['run', '--config', file('d.json', '{"kernle": "x"}')], 1, /'kernle' is not known/],
];
for (const [what, args, status, text] of cases) {
  test(`${what} is answered with a sentence and status ${status}`, () => {
    const result = testudo(...args);
    expect(result.stderr).toMatch(text);
    expect(result.stderr).not.toMatch(/\n\s+at /);
    expect(result.status).toBe(status);
  });
}

test('a truncated kernel says where it ends', async () => {
  const whole = readFileSync(new URL('../../guest/bzImage', import.meta.url));
  const result = testudo('run', '--kernel', file('cut', whole.subarray(0, 1_000_000)));
  expect(result.stderr).toMatch(/the file has 1000000: it is cut off/);
  expect(result.status).toBe(1);
});
test('help names every option, and completion scripts are printed', () => {
  expect(testudo('run', '--help').stdout).toMatch(/--deterministic[\s\S]*--no-reboot/);
  expect(testudo('completion', 'bash').stdout).toMatch(/complete -F _testudo testudo/);
});

test.each([
  ['in a worker', [], availableParallelism() > 1],
  ["on the machine's own thread", ['--no-worker'], false],
])('a profile tells where the time went and what was hot, translated %s', { timeout: 60_000 }, (_where, options, inWorker) => {
  const input = 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; poweroff\n';
  const { status, stderr } = spawnSync(process.execPath, [main, 'run', '--profile', ...options], {
    encoding: 'utf8',
    input,
    timeout: 50_000,
  });
  expect(status).toBe(0);
  expect(stderr).toMatch(/instructions +\d+, \d+\.\d % of them in regions/);
  expect(stderr).toMatch(/hottest regions:\n {2}\d+\.\d % of all instructions, entered \d+ times\n {4,}[0-9a-f]+ {2}\w+/);
  expect(/in the worker +\d+ ms of translation/.test(stderr)).toBe(inWorker);
});
test('a signal saves the guest, and it goes on in another process', { timeout: 60_000 }, async () => {
  const path = join(directory, 'guest.saved');
  const child = spawn(process.execPath, [main, 'run', '--save', path], { stdio: ['pipe', 'pipe', 'pipe'] });
  let shown = '';
  let typed = false;
  child.stdout.on('data', (data: Buffer) => {
    shown += data.toString();
    if (!typed && shown.includes('# ')) {
      typed = true;
      child.stdin.write('words=kept; echo re$((1))ady\n');
    }
    if (shown.includes('re1ady')) child.kill('SIGINT');
  });
  let told = '';
  child.stderr.on('data', (data: Buffer) => {
    told += data.toString();
  });
  const [status] = await once(child, 'close');
  expect([status, told]).toEqual([0, expect.stringMatching(/saved: .*guest\.saved, \d+\.\d MiB/)]);
  const options = { encoding: 'utf8', input: 'echo $words $((6*7)); poweroff\n', timeout: 30_000 } as const;
  const again = spawnSync(process.execPath, [main, 'run', '--restore', path], options);
  expect(again.stdout).toMatch(/kept 42/);
  expect(again.status).toBe(0);
  writeFileSync(path, readFileSync(path).subarray(0, 100_000));
  const cut = testudo('run', '--restore', path);
  expect([cut.status, cut.stderr]).toEqual([1, expect.stringMatching(/guest\.saved: is damaged: it ends too early/)]);
});
