/**
 * The long suite: Debian 12's kernels and a whole Debian 12 on a disk image, driven through the serial console as a person would: npm run test:guests
 * Needs Debian with apt, root, mmdebstrap and e2fsprogs (installed when missing); says so and ends with 0 elsewhere. About five minutes.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { debianGuest, drive, kernelIn, login, makeDebianRoot, makeImage, type Step, shell, work } from './drive.ts';

const root = join(work, 'root');
const image = join(work, 'root.img');

function prepare(): void {
  makeDebianRoot(root, 'linux-image-cloud-amd64,gcc,libc6-dev,python3-minimal,e2fsprogs');
  if (existsSync(join(work, 'generic'))) return;
  shell(
    `mkdir -p ${work}/generic && cd ${work} && apt-get download "$(apt-cache depends linux-image-amd64 | sed -n 's/ *Depends: //p')" && dpkg -x linux-image-*amd64*.deb generic`,
  );
}

const toShell: readonly Step[] = [
  { expect: 'root@testudo:', send: 'uname -r\n' },
  { expect: '-amd64', send: 'poweroff\n' },
];

prepare();
await drive('cloud kernel to a shell', ['--kernel', kernelIn(root), '--initrd', 'guest/initramfs.cpio.gz'], toShell, 120);
await drive(
  'generic kernel to a shell',
  ['--kernel', kernelIn(join(work, 'generic')), '--initrd', 'guest/initramfs.cpio.gz'],
  toShell,
  180,
);
makeImage(root, image, '1500M');
await drive(
  'Debian on a disk: login, apt, python3, gcc, shutdown',
  [...debianGuest(root, image, 1024)],
  [
    ...login,
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
