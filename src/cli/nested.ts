/** `--nested`: what the default guest needs to run itself again under its own KVM. Its kernel and initramfs are added to its root file system. */
import { appendCpio, cpioFile, cpioFolder } from '../firmware/cpio.ts';

/** The guest's initramfs, with itself and the kernel in `/boot`. */
export const nestedInitrd = (kernel: Uint8Array, initrd: Uint8Array): Uint8Array<ArrayBuffer> =>
  appendCpio(initrd, [cpioFolder('boot'), cpioFile('boot/bzImage', kernel), cpioFile('boot/initramfs', initrd)]);

/** The CPU model with VMX, before the features that the user switched. */
export function withVmx(cpu: string): string {
  const [model, ...changes] = cpu.split(',');
  return [model, '+vmx', ...changes].join(',');
}
