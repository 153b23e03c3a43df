/** PVH direct boot: a 32-bit entry point from an ELF note and hvm_start_info. xen/include/public/arch-x86/hvm/start_info.h. */
import type { GuestSpace } from '../memory/space.ts';
import type { MemoryLayout } from './e820.ts';
import type { ElfImage } from './elf.ts';
import { type Entry, Place } from './linux.ts';

export interface PvhParts {
  readonly space: GuestSpace;
  readonly layout: MemoryLayout;
  readonly image: ElfImage;
  readonly name: string;
  readonly initrd: Uint8Array | undefined;
  readonly commandLine: string;
  readonly rsdp: number;
}

export function loadPvh({ space, layout, image, name, initrd, commandLine, rsdp }: PvhParts): Entry {
  let end = 0;
  for (const s of image.segments) {
    if (s.physical + s.memoryBytes > layout.acpiBase) throw new Error(`${name}: needs ${Math.ceil((s.physical + s.memoryBytes) / 2 ** 20)} MiB: give the guest more with --memory`);
    space.write(s.physical, s.data);
    end = Math.max(end, s.physical + s.memoryBytes);
  }
  const info = Place.bootParams;
  const modules = info + 0x100;
  const map = info + 0x200;
  space.write(Place.commandLine, new TextEncoder().encode(`${commandLine}\0`));
  space.write32(info, 0x336e_c578);
  space.write32(info + 4, 1);
  space.write32(info + 12, initrd ? 1 : 0);
  space.write64(info + 16, BigInt(modules));
  space.write64(info + 24, BigInt(Place.commandLine));
  space.write64(info + 32, BigInt(rsdp));
  space.write64(info + 40, BigInt(map));
  space.write32(info + 48, layout.map.length);
  layout.map.forEach((region, n) => {
    space.write64(map + n * 24, BigInt(region.base));
    space.write64(map + n * 24 + 8, BigInt(region.size));
    space.write32(map + n * 24 + 16, region.type);
  });
  if (initrd) {
    const at = Math.floor((layout.acpiBase - initrd.length) / 4096) * 4096;
    if (at < end) throw new Error(`the initramfs (${Math.ceil(initrd.length / 2 ** 20)} MiB) does not fit beside the kernel: give the guest more with --memory`);
    space.write(at, initrd);
    space.write64(modules, BigInt(at));
    space.write64(modules + 8, BigInt(initrd.length));
  }
  space.write64(Place.gdt + 0x10, 0x00cf_9b00_0000_ffffn);
  space.write64(Place.gdt + 0x18, 0x00cf_9300_0000_ffffn);
  return { mode: 'protected', ip: image.pvhEntry ?? 0, registers: { rbx: info }, pageTables: 0, gdt: Place.gdt };
}
