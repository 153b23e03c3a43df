/** ELF files as loaders need them: program headers and notes, 32- and 64-bit, little-endian x86. System V ABI, chapter 5. */

export interface ElfSegment {
  readonly physical: number;
  readonly data: Uint8Array;
  readonly memoryBytes: number;
}
export interface ElfImage {
  readonly entry: number;
  readonly segments: readonly ElfSegment[];
  /** Physical 32-bit entry point of a PVH kernel (Xen note 18), if it has one. */
  readonly pvhEntry: number | undefined;
}

export const isElf = (file: Uint8Array): boolean => file[0] === 0x7f && file[1] === 0x45 && file[2] === 0x4c && file[3] === 0x46;

/** Reads an executable; throws a sentence for the user when the file is cut off or foreign. */
export function readElf(file: Uint8Array, name: string): ElfImage {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const need = (end: number, what: string): void => {
    if (end > file.length) throw new Error(`${name}: ${what} ends at byte ${end}, the file has ${file.length}: it is cut off`);
  };
  need(52, 'the ELF header');
  const wide = file[4] === 2;
  if (file[5] !== 1) throw new Error(`${name}: a big-endian ELF file, x86 is little-endian`);
  const machine = view.getUint16(18, true);
  if (machine !== (wide ? 62 : 3)) throw new Error(`${name}: an ELF file for machine ${machine}, not x86`);
  if (wide) need(64, 'the ELF header');
  const word = (at: number): number => (wide ? Number(view.getBigUint64(at, true)) : view.getUint32(at, true));
  const entry = word(24);
  const headers = wide ? word(32) : view.getUint32(28, true);
  const size = view.getUint16(wide ? 54 : 42, true);
  const count = view.getUint16(wide ? 56 : 44, true);
  need(headers + size * count, 'the program header table');
  const segments: ElfSegment[] = [];
  let pvhEntry: number | undefined;
  for (let n = 0; n < count; n++) {
    const at = headers + n * size;
    const type = view.getUint32(at, true);
    const [offset, physical, fileBytes, memoryBytes] = wide ? [word(at + 8), word(at + 24), word(at + 32), word(at + 40)] : [word(at + 4), word(at + 12), word(at + 16), word(at + 20)];
    if (type === 1) {
      need(offset + fileBytes, `segment ${n}`);
      if (memoryBytes < fileBytes) throw new Error(`${name}: segment ${n} is larger in the file than in memory`);
      segments.push({ physical, data: file.subarray(offset, offset + fileBytes), memoryBytes });
    } else if (type === 4) {
      need(offset + fileBytes, `note segment ${n}`);
      pvhEntry ??= pvhNote(view, offset, offset + fileBytes);
    }
  }
  if (segments.length === 0) throw new Error(`${name}: an ELF file without anything to load`);
  return { entry, segments, pvhEntry };
}

function pvhNote(view: DataView, start: number, end: number): number | undefined {
  let at = start;
  while (at + 12 <= end) {
    const [nameBytes, bytes, type] = [view.getUint32(at, true), view.getUint32(at + 4, true), view.getUint32(at + 8, true)];
    const body = at + 12 + ((nameBytes + 3) & ~3);
    if (body + bytes > end) return undefined;
    if (type === 18 && nameBytes === 4 && view.getUint32(at + 12, true) === 0x006e_6558) return view.getUint32(body, true);
    at = body + ((bytes + 3) & ~3);
  }
  return undefined;
}
