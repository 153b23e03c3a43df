/** Starting a Linux bzImage by the 64-bit boot protocol, with the kernel unpacked here. Documentation/arch/x86/boot.rst; contract pc.md 1.1. */

import type { GuestSpace } from '../memory/space.ts';
import type { MemoryLayout } from './e820.ts';
import { isElf, readElf } from './elf.ts';

/** Unpacks a kernel; `bytes` is the unpacked size where the packer says it. Throws a sentence when the data are damaged. */
export type Unpack = (data: Uint8Array, name: string, bytes?: number) => Promise<Uint8Array>;

export interface LinuxParts {
  readonly space: GuestSpace;
  readonly layout: MemoryLayout;
  readonly kernel: Uint8Array;
  readonly kernelName: string;
  readonly initrd: Uint8Array | undefined;
  readonly commandLine: string;
  readonly rsdp: number;
  /** Entropy for the guest's random number generator. */
  readonly seed: Uint8Array;
  readonly decompress: Unpack;
}

export interface Entry {
  readonly mode: 'long' | 'protected';
  readonly ip: number;
  readonly registers: Readonly<Partial<Record<'rax' | 'rbx' | 'rsi' | 'rsp', number>>>;
  /** Page tables (long mode) and GDT, in guest memory. */
  readonly pageTables: number;
  readonly gdt: number;
}

/** Low memory: descriptor table, page tables, boot_params, command line, setup data. All below 0x9FC00 and RAM in the map. */
export const Place = { gdt: 0x1000, pageTables: 0x2000, bootParams: 0x9000, setupData: 0xa000, commandLine: 0x2_0000 } as const;
const commandLineMax = 2047;

export const isBzImage = (file: Uint8Array): boolean =>
  file.length > 0x268 && file[0x1fe] === 0x55 && file[0x1ff] === 0xaa && new TextDecoder().decode(file.subarray(0x202, 0x206)) === 'HdrS';

export async function loadLinux(parts: LinuxParts): Promise<Entry> {
  const { space, kernel, kernelName, layout } = parts;
  const view = new DataView(kernel.buffer, kernel.byteOffset, kernel.byteLength);
  const version = view.getUint16(0x206, true);
  if (version < 0x20c) throw new Error(`${kernelName}: boot protocol ${version.toString(16)}, 64-bit kernels have 20c or later`);
  if ((view.getUint16(0x236, true) & 1) === 0) throw new Error(`${kernelName}: a 32-bit kernel: it has no 64-bit entry point`);
  const setupSectors = kernel[0x1f1] || 4;
  const start = (setupSectors + 1) * 512;
  const [payload, payloadBytes] = [view.getUint32(0x248, true), view.getUint32(0x24c, true)];
  if (start + payload + payloadBytes > kernel.length) {
    throw new Error(`${kernelName}: the kernel ends at byte ${start + payload + payloadBytes}, the file has ${kernel.length}: it is cut off`);
  }
  // the build appends the unpacked size to every format but gzip, which has it inside
  const packed = kernel.subarray(start + payload, start + payload + payloadBytes);
  const gzip = packed[0] === 0x1f && packed[1] === 0x8b;
  const sizeAt = start + payload + payloadBytes - 4;
  const unpacked = await (gzip ? parts.decompress(packed, kernelName) : parts.decompress(packed.subarray(0, -4), kernelName, view.getUint32(sizeAt, true)));
  if (!isElf(unpacked)) throw new Error(`${kernelName}: what is packed in it is no ELF file`);
  const image = readElf(unpacked, kernelName);
  const initSize = view.getUint32(0x260, true);
  const prefer = Number(view.getBigUint64(0x258, true));
  if (prefer + initSize > layout.acpiBase) {
    throw new Error(`${kernelName}: needs ${Math.ceil((prefer + initSize) / 2 ** 20)} MiB to start: give the guest more with --memory`);
  }
  for (const segment of image.segments) space.write(segment.physical, segment.data);

  const boot = new Uint8Array(4096);
  const headerEnd = Math.min(0x202 + (kernel[0x201] ?? 0), 0x290);
  boot.set(kernel.subarray(0x1f1, headerEnd), 0x1f1);
  const params = new DataView(boot.buffer);
  params.setUint8(0x210, 0xff);
  params.setUint8(0x211, params.getUint8(0x211) | 0x80);
  params.setUint16(0x1fa, 0xffff, true);
  const commandLine = new TextEncoder().encode(`${parts.commandLine}\0`);
  const limit = Math.max(view.getUint32(0x238, true), 255);
  if (commandLine.length - 1 > Math.min(limit, commandLineMax)) throw new Error(`the kernel's command line has ${commandLine.length - 1} bytes, at most ${Math.min(limit, commandLineMax)} fit`);
  space.write(Place.commandLine, commandLine);
  params.setUint32(0x228, Place.commandLine, true);
  params.setBigUint64(0x70, BigInt(parts.rsdp), true);
  layout.map.forEach((region, n) => {
    params.setBigUint64(0x2d0 + n * 20, BigInt(region.base), true);
    params.setBigUint64(0x2d8 + n * 20, BigInt(region.size), true);
    params.setUint32(0x2e0 + n * 20, region.type, true);
  });
  params.setUint8(0x1e8, layout.map.length);
  if (parts.initrd) placeInitrd(parts, params, prefer + initSize);
  placeSeed(space, parts.seed);
  params.setBigUint64(0x250, BigInt(Place.setupData), true);
  space.write(Place.bootParams, boot);
  identityMap(space);
  writeGdt(space);
  return { mode: 'long', ip: image.entry, registers: { rsi: Place.bootParams, rsp: 0x8_0000 }, pageTables: Place.pageTables, gdt: Place.gdt };
}

function placeInitrd({ space, layout, initrd }: LinuxParts, params: DataView, kernelEnd: number): void {
  if (!initrd) return;
  const top = Math.min(layout.acpiBase, params.getUint32(0x22c, true) + 1);
  const address = Math.floor((top - initrd.length) / 4096) * 4096;
  if (address < kernelEnd) {
    throw new Error(`the initramfs (${Math.ceil(initrd.length / 2 ** 20)} MiB) does not fit beside the kernel: give the guest more with --memory`);
  }
  space.write(address, initrd);
  params.setUint32(0x218, address, true);
  params.setUint32(0x21c, initrd.length, true);
}

/** setup_data of type 9: the kernel's generator is seeded before anything asks it. */
function placeSeed(space: GuestSpace, seed: Uint8Array): void {
  const node = new Uint8Array(16 + seed.length);
  const view = new DataView(node.buffer);
  view.setUint32(8, 9, true);
  view.setUint32(12, seed.length, true);
  node.set(seed, 16);
  space.write(Place.setupData, node);
}

/** The first 4 GiB, by 2 MiB pages. */
function identityMap(space: GuestSpace): void {
  const base = Place.pageTables;
  space.write64(base, BigInt(base + 0x1003));
  for (let n = 0; n < 4; n++) {
    space.write64(base + 0x1000 + n * 8, BigInt(base + 0x2003 + n * 0x1000));
    for (let m = 0; m < 512; m++) space.write64(base + 0x2000 + n * 0x1000 + m * 8, BigInt((n * 512 + m) * 0x20_0000) | 0x83n);
  }
}

/** Selectors 0x10 (code, 64-bit) and 0x18 (data), as the protocol wants them. */
function writeGdt(space: GuestSpace): void {
  [0n, 0n, 0x00af_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn].forEach((descriptor, n) => space.write64(Place.gdt + n * 8, descriptor));
}
