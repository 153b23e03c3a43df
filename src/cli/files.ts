/** Files that the command reads, with errors a person can act on; and the default guest's. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

export function readFile(path: string, option: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (problem) {
    throw new Error(`${option} ${path}: ${reason(problem)}`);
  }
}

/** What an error of the operating system says, without its code and call. */
export function reason(problem: unknown): string {
  const code = (problem as NodeJS.ErrnoException).code;
  switch (code) {
    case 'ENOENT':
      return 'no such file';
    case 'EACCES':
    case 'EPERM':
      return 'no permission to open it';
    case 'EISDIR':
      return 'is a directory';
    case 'EROFS':
      return 'lies on a read-only file system (add ,ro to use it so)';
    case 'ENOSPC':
      return 'no space left on the host';
    default:
      return problem instanceof Error ? problem.message : String(problem);
  }
}

/** Paths of the default guest's kernel and initramfs. */
export function defaultGuest(): { readonly kernel: string; readonly initrd: string } {
  const require = createRequire(import.meta.url);
  try {
    return { kernel: require.resolve('testudo-guest/bzImage'), initrd: require.resolve('testudo-guest/initramfs') };
  } catch {
    throw new Error('the default guest is not installed: npm install testudo-guest, or name a kernel with --kernel');
  }
}
