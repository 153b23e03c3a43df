/** A machine put together in plain sight: memory, one vCPU, the chips of a PC, and a kernel ready to run. */

import { SeededRandom } from '../base/random.ts';
import type { TraceKind } from '../config/options.ts';
import { defaultCpu, parseCpu } from '../cpu/cpuid.ts';
import { enterKernel } from '../cpu/entry.ts';
import { LocalApic, tscHz } from '../cpu/local-apic.ts';
import { Processor } from '../cpu/processor.ts';
import { vcpuAreaBytes } from '../cpu/state.ts';
import { Vcpu } from '../cpu/vcpu.ts';
import { DebugExit } from '../devices/debug-exit.ts';
import type { PortDevice } from '../devices/device.ts';
import { FirmwareConfig } from '../devices/firmware-config.ts';
import { Hpet } from '../devices/hpet/hpet.ts';
import { ecamBase, ecamBytes, PciHost, pciWindowBase, pciWindowEnd } from '../devices/pci/host.ts';
import { Pit } from '../devices/pit/pit.ts';
import { PortBus } from '../devices/port-bus.ts';
import { Power } from '../devices/power/power.ts';
import { Rtc } from '../devices/rtc/rtc.ts';
import { Uart } from '../devices/uart/uart.ts';
import { VirtioBlock } from '../devices/virtio/block.ts';
import { VirtioConsole } from '../devices/virtio/console.ts';
import { VirtioEntropy } from '../devices/virtio/entropy.ts';
import { type VirtioDevice, VirtioTransport } from '../devices/virtio/transport.ts';
import { Interpreter } from '../engine/interpreter/interpreter.ts';
import { acpiTables } from '../firmware/acpi.ts';
import { layoutMemory, placeBiosData, rsdpAddress } from '../firmware/e820.ts';
import type { Unpack } from '../firmware/linux.ts';
import { FramePool, pageBytes } from '../memory/pool.ts';
import { GuestSpace } from '../memory/space.ts';
import type { BlockDevice } from '../storage/block-device.ts';
import { type Clock, HostClock, type HostMilliseconds, InstructionClock } from '../time/clock.ts';
import { TimerQueue } from '../time/timers.ts';
import { InterruptController } from './interrupts.ts';
import { loadKernel } from './load-kernel.ts';
import { Machine, type StopReason } from './machine.ts';
import { tracedPorts, tracedWindows } from './trace.ts';

export interface MachineModule {
  readonly name: string;
  readonly arguments: string;
  readonly data: Uint8Array;
}

export interface MachineConfig {
  readonly memoryMiB: number;
  readonly kernel: { readonly name: string; readonly data: Uint8Array };
  readonly initrd?: { readonly name: string; readonly data: Uint8Array };
  /** Multiboot modules. */
  readonly modules?: readonly MachineModule[];
  readonly commandLine: string;
  readonly disks?: readonly BlockDevice[];
  readonly cpu?: string;
  /** Time follows retired instructions, and the run repeats bit for bit. */
  readonly deterministic?: boolean;
  /** For RDRAND and the kernel's seed; needed for a deterministic run, otherwise injected chance. */
  readonly seed: bigint;
}

export interface MachineWorld {
  readonly hostMilliseconds: HostMilliseconds;
  /** Milliseconds since 1970 at power-on. */
  readonly epochMs: number;
  readonly serialOutput: (byte: number) => void;
  /** The virtio console's output; dropped when absent. */
  readonly consoleOutput?: (byte: number) => void;
  readonly decompress: Unpack;
  readonly trace?: { readonly kinds: ReadonlySet<TraceKind>; readonly line: (text: string) => void };
}

/** The local APICs' registers, where every PC has them. */
const apicWindowBase = 0xfee0_0000;
const vcpuBase = 0x1_0000;
const arenaBytes = 64 * 2 ** 20;

export async function buildMachine(config: MachineConfig, world: MachineWorld): Promise<Machine> {
  const memoryBytes = config.memoryMiB * 2 ** 20;
  const layout = layoutMemory(memoryBytes, { base: ecamBase, size: ecamBytes });
  const arenaStart = vcpuBase + Math.ceil(vcpuAreaBytes / pageBytes) * pageBytes;
  const pool = new FramePool({ reservedBytes: arenaStart + arenaBytes, frames: memoryBytes / pageBytes });
  const space = new GuestSpace(pool, layout.ram);
  const random = new SeededRandom(config.seed);
  const model = parseCpu(config.cpu ?? defaultCpu);

  let machine: Machine | undefined;
  const stop = (reason: StopReason): void => machine?.requestStop(reason);
  const wake = (): void => machine?.wake();
  const retired = (): number => machine?.retired ?? 0;
  const instructionClock = config.deterministic ? new InstructionClock(retired) : undefined;
  const clock: Clock = instructionClock ?? new HostClock(world.hostMilliseconds);
  const timers = new TimerQueue();
  timers.whenEarlier(wake);

  const interrupts = new InterruptController(wake);
  const apic = new LocalApic({
    id: 0,
    clock,
    timers,
    wake,
    send: (message, shorthand, from) => interrupts.command(message, shorthand, from),
    endOfInterrupt: (vector) => interrupts.ioapic.endOfInterrupt(vector),
  });
  interrupts.connect([apic]);

  const uart = new Uart({ name: 'com1', port: 0x3f8, irq: interrupts.isa(4), output: world.serialOutput });
  const pci = new PciHost(() => stop({ kind: 'reset' }));
  const power = new Power({ clock, sci: interrupts.isa(9), powerOff: () => stop({ kind: 'power-off' }) });
  const virtioConsole = new VirtioConsole(world.consoleOutput ?? (() => {}));
  const virtio: readonly VirtioDevice[] = [
    new VirtioEntropy((bytes) => random.bytes(bytes)),
    virtioConsole,
    ...(config.disks ?? []).map((disk) => new VirtioBlock(disk)),
  ];
  const transports = virtio.map(
    (device, n) => new VirtioTransport({ device, memory: space, sendMessage: (m) => interrupts.message(m), intx: interrupts.pci(n + 1) }),
  );
  transports.forEach((transport, n) => pci.plug(n + 1, transport.function));
  const hpet = new Hpet({ clock, timers, line: (pin, level) => interrupts.ioapic.setLine(pin, level) });
  const portDevices: PortDevice[] = [
    uart,
    interrupts.pic,
    pci,
    power,
    new Pit({ clock, timers, irq: interrupts.isa(0) }),
    new Rtc({ clock, timers, irq: interrupts.isa(8), epochMs: world.epochMs }),
    new DebugExit((status) => stop({ kind: 'exit', status })),
    new FirmwareConfig({ cpuCount: 1, memoryBytes }),
  ];
  const ports = tracedPorts(new PortBus(portDevices), world.trace);
  space.attach(
    tracedWindows(
      [
        {
          base: apicWindowBase,
          size: 0x1000,
          read: (offset) => apic.read(offset & 0xff0),
          write: (offset, _width, value) => apic.write(offset & 0xff0, value),
        },
        interrupts.ioapic,
        hpet,
        pci.ecam,
        pci.memory,
      ],
      world.trace,
    ),
  );

  const tsc = (): bigint => BigInt(Math.floor(clock.nowNs() * (tscHz / 1e9)));
  const vcpu = new Vcpu({
    id: 0,
    cpuCount: 1,
    base: vcpuBase,
    pool,
    space,
    ports,
    clock: { tsc },
    model,
    apic,
    random: () => random.next64(),
    wake,
  });
  const processor = new Processor(vcpu);
  const interpreter = new Interpreter(processor, { start: arenaStart, end: arenaStart + arenaBytes });
  space.watchCode(interpreter);
  machine = new Machine({
    processor,
    interpreter,
    timers,
    clock,
    instructionClock,
    interrupts,
    uart,
    virtioConsole,
    power,
    pool,
    trace: world.trace,
    deviceNames: [
      ...portDevices.map((d) => d.name),
      'ioapic',
      'local apic',
      'hpet',
      ...transports.map((t, n) => `pci 00:${(n + 1).toString(16).padStart(2, '0')}.0 ${t.device.name}`),
    ],
  });

  const acpi = acpiTables(layout.acpiBase, {
    cpuCount: 1,
    ecamBase,
    pciWindow: { base: pciWindowBase, end: pciWindowEnd },
    serialPorts: [{ port: 0x3f8, irq: 4 }],
    hpetBase: hpet.base,
  });
  space.write(layout.acpiBase, acpi.tables);
  space.write(rsdpAddress, acpi.rsdp);
  placeBiosData(space);
  space.seal(rsdpAddress, 0x1_0000);
  const entry = await loadKernel({ config, world, space, layout, seed: random.bytes(32) });
  enterKernel(vcpu, entry);
  return machine;
}
