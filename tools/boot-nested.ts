/**
 * The long suite of guests that are hypervisors: KVM with each of its parameters and without each capability, levels 2 and 3, and Debian 12 with its own
 * kernel and QEMU as level 1: npm run test:nested [-- kvm|debian|svm]. AMD's side: Debian's kernel with kvm_amd. These two need Debian with apt, root and e2fsprogs. About ten minutes.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { nestedInitrd } from '../src/cli/nested.ts';
import { appendCpio, cpioFile, cpioFolder } from '../src/firmware/cpio.ts';
import { debianGuest, drive, kernelIn, login, makeDebianRoot, makeImage, type Step, shell, work } from './drive.ts';

const only = process.argv[2];
const vmx = 'x86-64-v2,+vmx';
const prompt = 'testudo:~#';
/** From the shell of one level, a guest to its shell and back. */
const innerShell: readonly Step[] = [
  { expect: 'busybox shell' },
  { expect: prompt, send: '\nuname -r; nproc; poweroff\n' },
  { expect: 'Power down' },
];

async function kvm(): Promise<void> {
  mkdirSync(work, { recursive: true });
  const initrd = join(work, 'nested.img');
  writeFileSync(
    initrd,
    nestedInitrd(new Uint8Array(readFileSync('guest/bzImage')), new Uint8Array(readFileSync('guest/initramfs.cpio.gz'))),
  );
  const guest = ['--kernel', 'guest/bzImage', '--initrd', initrd, '--append', 'console=ttyS0 quiet', '--memory', '512'];
  const boot = (parameters: string, options: string): readonly Step[] => [
    { expect: prompt, send: `cd /lib/modules; insmod irqbypass.ko; insmod kvm.ko; insmod kvm-intel.ko ${parameters}; cd\n` },
    { expect: prompt, send: `kvmrun -m 96 ${options} /boot/bzImage /boot/initramfs\n` },
    ...innerShell,
    { expect: prompt, send: 'poweroff\n' },
    { expect: 'Power down' },
  ];
  for (const parameters of [
    '',
    'ept=0',
    'unrestricted_guest=0',
    'vpid=0',
    'preemption_timer=0',
    'pml=0',
    'eptad=0',
    'enable_shadow_vmcs=0',
    'vnmi=0',
    'enable_apicv=0',
    'flexpriority=0 enable_apicv=0',
  ])
    await drive(`KVM ${parameters}`, [...guest, '--cpu', vmx], boot(parameters, ''), 200);
  for (const without of [
    'ept',
    'vpid',
    'unrestricted-guest',
    'tpr-shadow',
    'msr-bitmap',
    'preemption-timer',
    'shadow-vmcs',
    'apicv-xapic',
    'apicv-vid',
    'posted-intr',
  ])
    await drive(`KVM on a processor without ${without}`, [...guest, '--cpu', `${vmx},-${without}`], boot('', ''), 200);
  await drive('KVM with two processors', [...guest, '--cpu', vmx], boot('', '-c 2'), 200);
  await drive('--nested', ['--nested'], innerShell, 100);
  await drive('--nested 2', ['--nested', '2'], innerShell, 300);
}

async function debian(): Promise<void> {
  const root = join(work, 'kvm-root');
  const image = join(work, 'kvm-root.img');
  makeDebianRoot(root, 'linux-image-amd64,qemu-system-x86');
  shell(`mkdir -p ${root}/root/guest; cp guest/bzImage guest/initramfs.cpio.gz ${root}/root/guest/`);
  makeImage(root, image, '2500M');
  const qemu = 'qemu-system-x86_64 -enable-kvm -nographic -smp 2 -m 384 -initrd guest/initramfs.cpio.gz -append "console=ttyS0 quiet"';
  const devices = '-netdev user,id=n,tftp=/root/guest -device virtio-net-pci,netdev=n -drive file=disk.img,if=virtio,format=raw';
  const file = 'initramfs.cpio.gz';
  await drive(
    'Debian with its QEMU: two processors, disk, network; then Debian\u2019s kernel at level 2',
    [...debianGuest(root, image, 1536), '--cpu', vmx],
    [
      ...login,
      { expect: ':~#', send: `truncate -s 8M disk.img; ${qemu} ${devices} -kernel guest/bzImage\n` },
      { expect: 'busybox shell' },
      {
        expect: prompt,
        send: `\nip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up; ping -c 2 10.0.2.2; tftp -g -r ${file} -l /tmp/x 10.0.2.2; dd if=/tmp/x of=/dev/vda; sync; poweroff\n`,
      },
      { expect: '2 packets received' },
      { expect: 'Power down' },
      { expect: ':~#', send: `cmp -n $(stat -c %s guest/${file}) guest/${file} disk.img && echo the same: $((6 * 7))\n` },
      { expect: 'the same: 42' },
      { expect: ':~#', send: `${qemu} -kernel /vmlinuz\n` },
      { expect: 'busybox shell' },
      { expect: prompt, send: '\nuname -r; poweroff\n' },
      { expect: '-amd64' },
      { expect: 'Power down' },
      ...['ept=0', 'unrestricted_guest=0', 'vpid=0', 'preemption_timer=0', 'pml=0', 'enable_apicv=0'].flatMap((parameter) => [
        { expect: ':~#', send: `modprobe -r kvm_intel; modprobe kvm_intel ${parameter}; ${qemu} -kernel guest/bzImage\n` },
        { expect: 'busybox shell' },
        { expect: prompt, send: '\npoweroff\n' },
        { expect: 'Power down' },
      ]),
      { expect: ':~#', send: 'poweroff -f\n' },
      { expect: 'Power down' },
    ],
    900,
  );
}

/** KVM on SVM: Debian's kernel and modules with the default guest's root file system. */
async function svm(): Promise<void> {
  const root = join(work, 'kvm-root');
  makeDebianRoot(root, 'linux-image-amd64,qemu-system-x86');
  const modules = join(root, 'usr/lib/modules');
  const version = readdirSync(modules)[0] ?? '';
  const names = ['virt/lib/irqbypass', 'drivers/crypto/ccp/ccp', 'arch/x86/kvm/kvm', 'arch/x86/kvm/kvm-amd'];
  const module = (name: string): Uint8Array => new Uint8Array(readFileSync(join(modules, version, 'kernel', `${name}.ko`)));
  const files = [
    ...['lib/m', 'boot'].map(cpioFolder),
    ...names.map((name) => cpioFile(`lib/m/${basename(name)}.ko`, module(name))),
    cpioFile('boot/bzImage', new Uint8Array(readFileSync('guest/bzImage'))),
    cpioFile('boot/initramfs', new Uint8Array(readFileSync('guest/initramfs.cpio.gz'))),
  ];
  const initrd = join(work, 'svm.img');
  writeFileSync(initrd, appendCpio(new Uint8Array(readFileSync('guest/initramfs.cpio.gz')), files));
  const kernel = kernelIn(root);
  const guest = ['--kernel', kernel, '--initrd', initrd, '--append', 'console=ttyS0 quiet', '--memory', '512'];
  const boot = (parameters: string, options: string): readonly Step[] => [
    { expect: prompt, send: `cd /lib/m; for m in irqbypass ccp kvm; do insmod $m.ko; done; insmod kvm-amd.ko ${parameters}; cd\n` },
    { expect: prompt, send: `kvmrun -m 96 ${options} /boot/bzImage /boot/initramfs\n` },
    ...innerShell,
    { expect: prompt, send: 'poweroff\n' },
    { expect: 'Power down' },
  ];
  const cpu = 'x86-64-v2,+svm';
  for (const parameters of ['', 'npt=0', 'nested=0'])
    await drive(`KVM on SVM ${parameters}`, [...guest, '--cpu', cpu], boot(parameters, ''), 200);
  for (const without of ['npt', 'nrip-save'])
    await drive(`KVM on SVM without ${without}`, [...guest, '--cpu', `${cpu},-${without}`], boot('', ''), 200);
  await drive('KVM on SVM with two processors', [...guest, '--cpu', cpu], boot('', '-c 2'), 200);
}

if (only !== undefined && !['kvm', 'debian', 'svm'].includes(only)) throw new Error(`'${only}': the parts are kvm, debian and svm`);
if (only === undefined || only === 'kvm') await kvm();
if (only === undefined || only === 'debian') await debian();
if (only === undefined || only === 'svm') await svm();
