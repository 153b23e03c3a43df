/**
 * The long suite: Debian 12's kernels and a whole Debian 12 on a disk image, driven through the serial console as a person would: npm run test:guests
 * Needs Debian with apt, root, mmdebstrap and e2fsprogs (installed when missing); says so and ends with 0 elsewhere. About five minutes.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { drive, initrdIn, kernelIn, type Step, shell, skip, work } from './drive.ts';

const root = join(work, 'root');
const image = join(work, 'root.img');

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
