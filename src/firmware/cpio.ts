/** Cpio archives in the "newc" format, which Linux unpacks over its first root file system. Linux, Documentation/driver-api/early-userspace/buffer-format. */

export interface CpioMember {
  /** Without a leading slash. */
  readonly path: string;
  /** File type and permissions as in stat(2). */
  readonly mode: number;
  readonly data: Uint8Array;
}
export const cpioFolder = (path: string): CpioMember => ({ path, mode: 0o40755, data: new Uint8Array(0) });
export const cpioFile = (path: string, data: Uint8Array): CpioMember => ({ path, mode: 0o100644, data });
export const cpioProgram = (path: string, data: Uint8Array): CpioMember => ({ path, mode: 0o100755, data });

const alignment = 4;
const padded = (length: number): number => Math.ceil(length / alignment) * alignment;

/** What lies behind an archive (which may be compressed): both are unpacked, one after the other. */
export function appendCpio(before: Uint8Array, members: readonly CpioMember[]): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder();
  const parts: Uint8Array[] = [before];
  for (const { path, mode, data } of [...members, { path: 'TRAILER!!!', mode: 0, data: new Uint8Array(0) }]) {
    const fields = [0, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length + 1, 0];
    parts.push(text.encode(`070701${fields.map((n) => n.toString(16).padStart(8, '0')).join('')}${path}\0`), data);
  }
  const all = new Uint8Array(parts.reduce((sum, part) => sum + padded(part.length), 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += padded(part.length);
  }
  return all;
}
