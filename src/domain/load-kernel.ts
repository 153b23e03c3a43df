/** Puts the kernel of a configuration into memory, by the boot protocol that its file asks for. */
import { type MemoryLayout, rsdpAddress } from '../firmware/e820.ts';
import { isElf, readElf } from '../firmware/elf.ts';
import { type Entry, isBzImage, loadLinux } from '../firmware/linux.ts';
import { findMultiboot, loadMultiboot } from '../firmware/multiboot.ts';
import { loadPvh } from '../firmware/pvh.ts';
import type { GuestSpace } from '../memory/space.ts';
import type { MachineConfig, MachineWorld } from './config.ts';

export interface LoadParts {
  readonly config: MachineConfig;
  readonly world: MachineWorld;
  readonly space: GuestSpace;
  readonly layout: MemoryLayout;
  readonly seed: Uint8Array;
}

/** Throws a sentence when the file is no kernel that can be started. */
export async function loadKernel({ config, world, space, layout, seed }: LoadParts): Promise<Entry> {
  const { name } = config.kernel;
  const { initrd, commandLine } = config;
  if (isBzImage(config.kernel.data)) {
    if (config.modules?.length) throw new Error(`${name}: a Linux kernel takes --initrd, not --module`);
    return loadLinux({
      space,
      layout,
      kernel: config.kernel.data,
      kernelName: name,
      initrd: initrd?.data,
      commandLine,
      rsdp: rsdpAddress,
      seed,
      decompress: world.decompress,
    });
  }
  const packed = isPacked(config.kernel.data);
  const file = packed ? await world.decompress(config.kernel.data, name) : config.kernel.data;
  const multiboot = findMultiboot(file);
  if (multiboot !== undefined)
    return loadMultiboot({ space, layout, file, name, header: multiboot, commandLine, modules: config.modules ?? [] });
  if (isElf(file)) {
    const image = readElf(file, name);
    if (image.pvhEntry === undefined)
      throw new Error(`${name}: an ELF file without a multiboot header or a PVH entry point: there is no way to start it`);
    return loadPvh({ space, layout, image, name, initrd: initrd?.data, commandLine, rsdp: rsdpAddress });
  }
  throw new Error(`${name}: not a kernel: neither a Linux bzImage, nor ELF, nor multiboot`);
}

const isPacked = (data: Uint8Array): boolean =>
  (data[0] === 0x1f && data[1] === 0x8b) ||
  (data[0] === 0x28 && data[1] === 0xb5 && data[2] === 0x2f) ||
  (data[0] === 0xfd && data[1] === 0x37 && data[2] === 0x7a);
