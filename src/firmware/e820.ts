/** The map of physical memory that the guest is told. */
const MemoryType = { ram: 1, reserved: 2, acpi: 3 } as const;

export interface MemoryRegion {
  readonly base: number;
  readonly size: number;
  readonly type: number;
}

const mebibyte = 0x10_0000;
/** RAM below 4 GiB ends here at the latest: ECAM follows. */
const lowMemoryEnd = 0xb000_0000;
const highMemoryBase = 0x1_0000_0000;
const acpiBytes = 0x1_0000;
export const rsdpAddress = 0xf_0000;

/** What kernels read of the BIOS data area: the EBDA's segment and the KiB of memory below it; and the EBDA's size, which is its first word. */
export function placeBiosData(space: { write16(address: number, value: number): void }): void {
  space.write16(0x40e, 0x9fc0);
  space.write16(0x413, 639);
  space.write16(0x9_fc00, 1);
}

export interface MemoryLayout {
  /** RAM as the machine has it: page-aligned ranges. */
  readonly ram: readonly { readonly base: number; readonly size: number }[];
  readonly map: readonly MemoryRegion[];
  /** Where the ACPI tables lie, at the end of low RAM. */
  readonly acpiBase: number;
  readonly lowEnd: number;
}

/** Lays out `bytes` of RAM around the hole below 4 GiB. */
export function layoutMemory(bytes: number, ecam: { readonly base: number; readonly size: number }): MemoryLayout {
  const low = Math.min(bytes, lowMemoryEnd);
  const high = bytes - low;
  const acpiBase = low - acpiBytes;
  // nobody's between conventional memory and the BIOS area: no video memory, no option ROMs
  const ram = [{ base: 0, size: 0xa_0000 }, { base: 0xe_0000, size: low - 0xe_0000 }, ...(high > 0 ? [{ base: highMemoryBase, size: high }] : [])];
  const map: MemoryRegion[] = [
    { base: 0, size: 0x9_fc00, type: MemoryType.ram },
    { base: 0x9_fc00, size: 0x400, type: MemoryType.reserved },
    { base: rsdpAddress, size: 0x1_0000, type: MemoryType.reserved },
    { base: mebibyte, size: acpiBase - mebibyte, type: MemoryType.ram },
    { base: acpiBase, size: acpiBytes, type: MemoryType.acpi },
    { base: ecam.base, size: ecam.size, type: MemoryType.reserved },
  ];
  if (high > 0) map.push({ base: highMemoryBase, size: high, type: MemoryType.ram });
  return { ram, map, acpiBase, lowEnd: low };
}
