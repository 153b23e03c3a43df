/** Multiboot 1: 32-bit protected mode with an information structure. Multiboot Specification 0.6.96. */
import type { GuestSpace } from '../memory/space.ts';
import type { MemoryLayout } from './e820.ts';
import { isElf, readElf } from './elf.ts';
import { type Entry, Place } from './linux.ts';

export interface MultibootModule {
  readonly name: string;
  readonly arguments: string;
  readonly data: Uint8Array;
}
export interface MultibootParts {
  readonly space: GuestSpace;
  readonly layout: MemoryLayout;
  readonly file: Uint8Array;
  readonly name: string;
  /** Offset of the header in the file. */
  readonly header: number;
  readonly commandLine: string;
  readonly modules: readonly MultibootModule[];
}

const magic = 0x1bad_b002;
const bootMagic = 0x2bad_b002;
const searchBytes = 8192;
const loadAddresses = 0x1_0000;

/** Offset of a header with a right checksum in the first 8 KiB. */
export function findMultiboot(file: Uint8Array): number | undefined {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  for (let at = 0; at + 12 <= Math.min(searchBytes, file.length); at += 4) {
    if (view.getUint32(at, true) !== magic) continue;
    if (((magic + view.getUint32(at + 4, true) + view.getUint32(at + 8, true)) & 0xffff_ffff) === 0) return at;
  }
  return undefined;
}

export function loadMultiboot({ space, layout, file, name, header, commandLine, modules }: MultibootParts): Entry {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const flags = view.getUint32(header + 4, true);
  if ((flags & 0xfffc & ~3 & 0xffff) !== 0 && (flags & 0xfff8) !== 0) throw new Error(`${name}: multiboot flags ${flags.toString(16)} ask for features that are not known`);
  let entry: number;
  let end = 0;
  if ((flags & loadAddresses) !== 0) {
    const [headerAddress = 0, load = 0, loadEnd = 0, bssEnd = 0, start = 0] = [12, 16, 20, 24, 28].map((o) => view.getUint32(header + o, true));
    const offset = header - (headerAddress - load);
    if (offset < 0) throw new Error(`${name}: its multiboot header gives a load address behind the header`);
    const data = file.subarray(offset, loadEnd === 0 ? file.length : offset + loadEnd - load);
    space.write(load, data);
    entry = start;
    end = Math.max(load + data.length, bssEnd);
  } else {
    if (!isElf(file)) throw new Error(`${name}: a multiboot header without addresses in a file that is not ELF`);
    const image = readElf(file, name);
    for (const s of image.segments) {
      space.write(s.physical, s.data);
      end = Math.max(end, s.physical + s.memoryBytes);
    }
    entry = image.entry;
  }
  if (end > layout.acpiBase) throw new Error(`${name}: needs ${Math.ceil(end / 2 ** 20)} MiB: give the guest more with --memory`);
  const info = placeInformation({ space, layout, commandLine: `${name.split('/').at(-1)} ${commandLine}`, modules, after: end });
  space.write64(Place.gdt + 0x10, 0x00cf_9b00_0000_ffffn);
  space.write64(Place.gdt + 0x18, 0x00cf_9300_0000_ffffn);
  return { mode: 'protected', ip: entry, registers: { rax: bootMagic, rbx: info }, pageTables: 0, gdt: Place.gdt };
}

function placeInformation({ space, layout, commandLine, modules, after }: { readonly space: GuestSpace; readonly layout: MemoryLayout; readonly commandLine: string; readonly modules: readonly MultibootModule[]; readonly after: number }): number {
  const info = Place.bootParams;
  let text: number = Place.commandLine;
  const string = (value: string): number => {
    const at = text;
    const bytes = new TextEncoder().encode(`${value}\0`);
    if (at + bytes.length > 0x9_0000) throw new Error('the command lines of the kernel and its modules are too long together');
    space.write(at, bytes);
    text += bytes.length;
    return at;
  };
  space.write32(info, 1 | 4 | 8 | 0x40);
  space.write32(info + 4, 639);
  space.write32(info + 8, Math.floor((layout.acpiBase - 0x10_0000) / 1024));
  space.write32(info + 16, string(commandLine));
  const list = info + 0x100;
  let at = after;
  modules.forEach((module, n) => {
    at = Math.ceil(at / 4096) * 4096;
    if (at + module.data.length > layout.acpiBase) throw new Error(`--module ${module.name}: does not fit into the guest's memory: give it more with --memory`);
    space.write(at, module.data);
    space.write32(list + n * 16, at);
    space.write32(list + n * 16 + 4, at + module.data.length);
    space.write32(list + n * 16 + 8, string(`${module.name.split('/').at(-1)} ${module.arguments}`.trim()));
    at += module.data.length;
  });
  space.write32(info + 20, modules.length);
  space.write32(info + 24, list);
  const map = info + 0x400;
  layout.map.forEach((region, n) => {
    space.write32(map + n * 24, 20);
    space.write64(map + n * 24 + 4, BigInt(region.base));
    space.write64(map + n * 24 + 12, BigInt(region.size));
    space.write32(map + n * 24 + 20, region.type);
  });
  space.write32(info + 44, layout.map.length * 24);
  space.write32(info + 48, map);
  return info;
}
