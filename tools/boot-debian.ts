/**
 * The long suite: Debian 12's kernels and a whole Debian 12 on a disk image, driven through the serial console as a person would: npm run test:guests
 * Needs Debian with apt, root, mmdebstrap and e2fsprogs (installed when missing); says so and ends with 0 elsewhere. About five minutes.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const work = process.env.TESTUDO_WORK ?? '/var/tmp/testudo-guests';
const root = join(work, 'root');
const image = join(work, 'root.img');

function skip(reason: string): never {
  process.stdout.write(`skipped: ${reason}\n`);
  process.exit(0);
}
const shell = (script: string): void => void execFileSync('bash', ['-euc', script], { stdio: ['ignore', 'ignore', 'inherit'] });

function prepare(): void {
  if (!existsSync('/usr/bin/apt-get')) skip('no apt-get: the guests are made from Debian packages');
  if (process.getuid?.() !== 0) skip('not root: making a Debian root file system needs it');
  mkdirSync(work, { recursive: true });
  if (existsSync(root) && existsSync(join(work, 'generic'))) return;
  process.stdout.write('making a Debian root file system\n');
  shell('command -v mmdebstrap >/dev/null || apt-get install -y mmdebstrap');
  const packages =
    'systemd,systemd-sysv,udev,gcc,libc6-dev,python3-minimal,login,passwd,procps,kmod,initramfs-tools,linux-image-cloud-amd64,e2fsprogs';
  shell(`mmdebstrap --variant=minbase --include=${packages} --customize-hook='echo root:root | chroot "$1" chpasswd' --customize-hook='echo "/dev/vda / ext4 defaults 0 1" > "$1/etc/fstab"' bookworm ${work}/root.tar
    mkdir -p ${root} && tar -xf ${work}/root.tar -C ${root}
    mkdir -p ${work}/generic && cd ${work} && apt-get download "$(apt-cache depends linux-image-amd64 | sed -n 's/ *Depends: //p')" && dpkg -x linux-image-*amd64*.deb generic`);
}

interface Step {
  readonly expect: string;
  readonly send?: string;
}

/** Runs testudo, waits for each text in turn and types the answer. Returns what it used of the CPU, in seconds. */
async function drive(name: string, args: readonly string[], steps: readonly Step[], limitSeconds: number): Promise<void> {
  const child = spawn(process.execPath, ['dist/cli/main.js', 'run', '--no-reboot', ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  let seen = '';
  let all = '';
  let at = 0;
  const started = Date.now();
  const timer = setTimeout(() => child.kill(), limitSeconds * 1000);
  child.stdout.on('data', (data: Buffer) => {
    seen += data.toString();
    all += data.toString();
    for (let step = steps[at]; step && seen.includes(step.expect); step = steps[at]) {
      seen = seen.slice(seen.indexOf(step.expect) + step.expect.length);
      if (step.send !== undefined) child.stdin.write(step.send);
      at++;
    }
  });
  const status = await new Promise<number | null>((resolve) => child.on('exit', resolve));
  clearTimeout(timer);
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  if (status !== 0 || at < steps.length) {
    process.stdout.write(
      `${all.slice(-3000)}\nFAILED ${name}: status ${status}, step ${at + 1} of ${steps.length} ('${steps[at]?.expect ?? 'end'}') after ${seconds} s\n`,
    );
    process.exit(1);
  }
  process.stdout.write(`${name}: ${seconds} s\n`);
}

const kernelIn = (directory: string): string =>
  join(directory, 'boot', readdirSync(join(directory, 'boot')).find((f) => f.startsWith('vmlinuz')) ?? '');
const initrdIn = (directory: string): string =>
  join(directory, 'boot', readdirSync(join(directory, 'boot')).find((f) => f.startsWith('initrd')) ?? '');
const toShell: readonly Step[] = [
  { expect: 'root@testudo:', send: 'uname -r\n' },
  { expect: '-amd64', send: 'poweroff\n' },
];

prepare();
await drive('cloud kernel to a shell', ['--kernel', kernelIn(root), '--initrd', 'guest/initramfs.cpio.zst'], toShell, 120);
await drive(
  'generic kernel to a shell',
  ['--kernel', kernelIn(join(work, 'generic')), '--initrd', 'guest/initramfs.cpio.zst'],
  toShell,
  180,
);
shell(`rm -f ${image}; truncate -s 1500M ${image}; mke2fs -q -t ext4 -d ${root} -F ${image}`);
await drive(
  'Debian on a disk: login, apt, python3, gcc, shutdown',
  [
    '--kernel',
    kernelIn(root),
    '--initrd',
    initrdIn(root),
    '--disk',
    image,
    '--memory',
    '1024',
    '--append',
    'root=/dev/vda rw console=ttyS0',
  ],
  [
    { expect: 'login:', send: 'root\n' },
    { expect: 'assword:', send: 'root\n' },
    { expect: ':~#', send: 'apt --version\n' },
    { expect: 'apt 2.', send: 'python3 -c "print(sum(i * i for i in range(10000)), 2 ** 0.5)"\n' },
    {
      expect: '333283335000 1.4142135623730951',
      send: "echo 'I2luY2x1ZGUgPHN0ZGlvLmg+CmludCBtYWluKHZvaWQpIHsgbG9uZyBkb3VibGUgeCA9IDIuNUw7IHByaW50ZigiY29tcGlsZWQgJS4zTGZcbiIsIHggKiB4KTsgcmV0dXJuIDA7IH0K' | base64 -d > a.c\n",
    },
    { expect: ':~#', send: 'gcc -O2 a.c -o a && ./a\n' },
    { expect: 'compiled 6.250', send: 'poweroff\n' },
    { expect: 'Power down' },
  ],
  400,
);
execFileSync('e2fsck', ['-fn', image], { stdio: 'ignore' }); // a status other than 0 throws
process.stdout.write('the file system is clean\n');
