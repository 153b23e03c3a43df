/** A machine that is about to start: put together, with firmware tables and a kernel ready to run. */
import { enterKernel } from '../cpu/entry.ts';
import { hpetBase } from '../devices/hpet/hpet.ts';
import { ecamBase, pciWindowBase, pciWindowEnd } from '../devices/pci/host.ts';
import { acpiTables } from '../firmware/acpi.ts';
import { type MemoryLayout, placeBiosData, rsdpAddress } from '../firmware/e820.ts';
import { mpAddress, mpTable } from '../firmware/mp-table.ts';
import type { GuestSpace } from '../memory/space.ts';
import { assembleMachine, sealFirmware } from './assemble.ts';
import { serialPort } from './chips.ts';
import type { MachineConfig, MachineWorld } from './config.ts';
import { loadKernel } from './load-kernel.ts';
import type { Machine } from './machine.ts';

/** Throws a sentence for the user when the kernel or the CPU's name is not to be used. */
export async function buildMachine(config: MachineConfig, world: MachineWorld): Promise<Machine> {
  const { machine, layout, random } = assembleMachine(config, world, config.seed);
  const { v } = machine.processor;
  placeFirmware(v.space, layout, v.model.signature);
  enterKernel(v, await loadKernel({ config, world, space: v.space, layout, seed: random.bytes(32) }));
  machine.turtles?.runGuest();
  return machine;
}

/** What a BIOS would have left in memory. */
function placeFirmware(space: GuestSpace, layout: MemoryLayout, signature: number): void {
  const pciWindow = { base: pciWindowBase, end: pciWindowEnd };
  const acpi = acpiTables(layout.acpiBase, { cpuCount: 1, ecamBase, pciWindow, serialPorts: [serialPort], hpetBase });
  space.write(layout.acpiBase, acpi.tables);
  space.write(rsdpAddress, acpi.rsdp);
  placeBiosData(space);
  space.write(mpAddress, mpTable(signature));
  sealFirmware(space);
}
