/** The chips of the machine and how they are wired: ports, register windows, interrupt lines, slots of the PCI bus. */
import type { SeededRandom } from '../base/random.ts';
import type { Stateful } from '../base/stateful.ts';
import type { LocalApic } from '../cpu/local-apic.ts';
import { DebugExit } from '../devices/debug-exit.ts';
import type { DeviceWindow, PortDevice } from '../devices/device.ts';
import { FirmwareConfig } from '../devices/firmware-config.ts';
import { Hpet } from '../devices/hpet/hpet.ts';
import { PciHost, pciSlots } from '../devices/pci/host.ts';
import { Pit } from '../devices/pit/pit.ts';
import { Power } from '../devices/power/power.ts';
import { Rtc } from '../devices/rtc/rtc.ts';
import { Uart } from '../devices/uart/uart.ts';
import { VirtioBlock } from '../devices/virtio/block.ts';
import { VirtioConsole } from '../devices/virtio/console.ts';
import { VirtioEntropy } from '../devices/virtio/entropy.ts';
import { type VirtioDevice, VirtioTransport } from '../devices/virtio/transport.ts';
import type { GuestSpace } from '../memory/space.ts';
import type { Clock } from '../time/clock.ts';
import type { TimerQueue } from '../time/timers.ts';
import type { HardwareConfig, MachineWorld } from './config.ts';
import type { InterruptController } from './interrupts.ts';
import type { StopReason } from './stop-reason.ts';

export interface ChipParts {
  readonly config: HardwareConfig;
  readonly world: MachineWorld;
  readonly space: GuestSpace;
  readonly random: SeededRandom;
  readonly clock: Clock;
  readonly timers: TimerQueue;
  readonly interrupts: InterruptController;
  readonly apic: LocalApic;
  readonly stop: (reason: StopReason) => void;
}

export interface Chips {
  readonly uart: Uart;
  readonly virtioConsole: VirtioConsole;
  readonly power: Power;
  readonly rtc: Rtc;
  readonly portDevices: readonly PortDevice[];
  readonly windows: readonly DeviceWindow[];
  /** For people: every device, one line each. */
  readonly names: readonly string[];
  /** By a name that a saved machine is read by. */
  readonly stateful: ReadonlyMap<string, Stateful>;
}

/** The first serial port, where every PC has it. */
export const serialPort = { port: 0x3f8, irq: 4 } as const;
/** The local APICs' registers. */
const apicWindowBase = 0xfee0_0000;

export function buildChips({ config, world, space, random, clock, timers, interrupts, apic, stop }: ChipParts): Chips {
  const uart = new Uart({ name: 'com1', port: serialPort.port, irq: interrupts.isa(serialPort.irq), output: world.serialOutput });
  const pci = new PciHost(() => stop({ kind: 'reset' }));
  const power = new Power({ clock, sci: interrupts.isa(9), powerOff: () => stop({ kind: 'power-off' }) });
  const rtc = new Rtc({ clock, timers, irq: interrupts.isa(8), epochMs: world.epochMs });
  const hpet = new Hpet({ clock, timers, line: (pin, level) => interrupts.ioapic.setLine(pin, level) });
  const virtioConsole = new VirtioConsole(world.consoleOutput ?? (() => {}));
  const entropy = new VirtioEntropy((bytes) => random.bytes(bytes));
  const disks = (config.disks ?? []).map((disk) => new VirtioBlock(disk));
  const others = [entropy, virtioConsole];
  const most = pciSlots - 1 - others.length;
  if (disks.length > most) throw new Error(`${disks.length} disks: there are slots for ${most}`);
  const virtio = plugVirtio(pci, space, interrupts, [...others, ...disks]);
  pci.placeBars();
  const portDevices: readonly (PortDevice & Stateful)[] = [
    uart,
    interrupts.pic,
    pci,
    power,
    new Pit({ clock, timers, irq: interrupts.isa(0) }),
    rtc,
    new DebugExit((status) => stop({ kind: 'exit', status })),
    new FirmwareConfig({ cpuCount: 1, memoryBytes: config.memoryMiB * 2 ** 20 }),
  ];
  return {
    uart,
    virtioConsole,
    power,
    rtc,
    portDevices,
    windows: [apicWindow(apic), interrupts.ioapic, hpet, pci.ecam, pci.memory],
    names: [
      ...portDevices.map((d) => d.name),
      'ioapic',
      'local apic',
      'hpet',
      ...virtio.map(({ device }, n) => `${slotName(n)} ${device.name}`),
    ],
    stateful: new Map<string, Stateful>([
      ...portDevices.map((device) => [device.name, device] as const),
      ...Object.entries({ 'interrupt lines': interrupts, ioapic: interrupts.ioapic, 'local apic': apic, hpet }),
      ...virtio.flatMap((transport, n) => transport.parts.map((part, of) => [`${slotName(n)} ${of}`, part] as const)),
    ]),
  };
}

/** Slots 1, 2, ... of bus 0. */
const slotName = (n: number): string => `pci 00:${(n + 1).toString(16).padStart(2, '0')}.0`;

function plugVirtio(
  pci: PciHost,
  memory: GuestSpace,
  interrupts: InterruptController,
  devices: readonly VirtioDevice[],
): VirtioTransport[] {
  return devices.map((device, n) => {
    const slot = n + 1;
    const transport = new VirtioTransport({
      device,
      memory,
      sendMessage: (message) => interrupts.message(message),
      intx: interrupts.pci(slot),
    });
    pci.plug(slot, transport.function);
    return transport;
  });
}

const apicWindow = (apic: LocalApic): DeviceWindow => ({
  base: apicWindowBase,
  size: 0x1000,
  read: (offset) => apic.read(offset & 0xff0),
  write: (offset, _width, value) => apic.write(offset & 0xff0, value),
});
