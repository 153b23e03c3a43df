/** Drives testudo through its serial console as a person would: waits for a text, types the answer. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

export const work = process.env.TESTUDO_WORK ?? '/var/tmp/testudo-guests';
function skip(reason: string): never {
  process.stdout.write(`skipped: ${reason}\n`);
  process.exit(0);
}
export const shell = (script: string): void => void execFileSync('bash', ['-euc', script], { stdio: ['ignore', 'ignore', 'inherit'] });
/** Makes a Debian 12 root file system with a password `root` for root, to be used from /dev/vda. Says why and ends where that cannot be done. */
export function makeDebianRoot(root: string, packages: string): void {
  if (!existsSync('/usr/bin/apt-get')) skip('no apt-get: the guests are made from Debian packages');
  if (process.getuid?.() !== 0) skip('not root: making a Debian root file system needs it');
  if (existsSync(root)) return;
  mkdirSync(work, { recursive: true });
  process.stdout.write(`making a Debian root file system with ${packages}\n`);
  shell('command -v mmdebstrap >/dev/null || apt-get install -y mmdebstrap');
  const base = 'systemd,systemd-sysv,udev,login,passwd,procps,kmod,initramfs-tools';
  shell(`mmdebstrap --variant=minbase --aptopt='APT::Install-Recommends "false"' --include=${base},${packages} --customize-hook='echo root:root | chroot "$1" chpasswd' --customize-hook='echo "/dev/vda / ext4 defaults 0 1" > "$1/etc/fstab"' bookworm ${root}.tar
    rm -rf ${root}.new && mkdir ${root}.new && tar -xf ${root}.tar -C ${root}.new && rm ${root}.tar && mv ${root}.new ${root}`);
}
/** The root file system as a disk image. */
export const makeImage = (root: string, image: string, size: string): void =>
  shell(`rm -f ${image}; truncate -s ${size} ${image}; mke2fs -q -t ext4 -d ${root} -F ${image}`);

/** The kernel and the initramfs in a root file system's `/boot`. */
export const kernelIn = (directory: string): string =>
  join(directory, 'boot', readdirSync(join(directory, 'boot')).find((f) => f.startsWith('vmlinuz')) ?? '');
const initrdIn = (directory: string): string =>
  join(directory, 'boot', readdirSync(join(directory, 'boot')).find((f) => f.startsWith('initrd')) ?? '');

/** Arguments that boot a root file system's own kernel, with its image as the disk. */
export const debianGuest = (root: string, image: string, memoryMiB: number): readonly string[] => [
  ...['--kernel', kernelIn(root), '--initrd', initrdIn(root), '--disk', image],
  ...['--memory', String(memoryMiB), '--append', 'root=/dev/vda rw console=ttyS0'],
];
export interface Step {
  readonly expect: string;
  readonly send?: string;
}

/** Runs testudo, waits for each text in turn and types the answer; ends the program when something else happens. */
export async function drive(name: string, args: readonly string[], steps: readonly Step[], limitSeconds: number): Promise<void> {
  const child = spawn(process.execPath, ['dist/bin/testudo.js', 'run', '--no-reboot', ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
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
/** At the console of a Debian made here. */
export const login: readonly Step[] = [
  { expect: 'login:', send: 'root\n' },
  { expect: 'assword:', send: 'root\n' },
];
