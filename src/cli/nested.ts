/** `--nested`: what the default guest needs to run itself again under its own KVM. Its kernel and initramfs are added to its root file system. */

interface Member {
  readonly path: string;
  readonly mode: number;
  readonly data: Uint8Array;
}
const folder = 0o40755;
const plainFile = 0o100644;
const nothing = new Uint8Array(0);
const padded = (length: number): number => (length + 3) & ~3;

/** A cpio archive in the "newc" format that Linux unpacks over its first root file system. */
function archive(members: readonly Member[]): Uint8Array {
  const parts: Uint8Array[] = [];
  const text = new TextEncoder();
  const add = (data: Uint8Array): void => {
    parts.push(data, new Uint8Array(padded(data.length) - data.length));
  };
  for (const { path, mode, data } of [...members, { path: 'TRAILER!!!', mode: 0, data: nothing }]) {
    const fields = [0, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length + 1, 0];
    add(text.encode(`070701${fields.map((n) => n.toString(16).padStart(8, '0')).join('')}${path}\0`));
    add(data);
  }
  return joined(parts);
}
function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** The guest's initramfs, with itself and the kernel in `/boot`. */
export function nestedInitrd(kernel: Uint8Array, initrd: Uint8Array): Uint8Array<ArrayBuffer> {
  const gap = new Uint8Array(padded(initrd.length) - initrd.length);
  const added = archive([
    { path: 'boot', mode: folder, data: nothing },
    { path: 'boot/bzImage', mode: plainFile, data: kernel },
    { path: 'boot/initramfs', mode: plainFile, data: initrd },
  ]);
  return joined([initrd, gap, added]);
}
/** The CPU model with VMX, before the features that the user switched. */
export function withVmx(cpu: string): string {
  const [model, ...changes] = cpu.split(',');
  return [model, '+vmx', ...changes].join(',');
}
