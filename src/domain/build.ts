/** A machine put together in plain sight: memory, one vCPU, the chips of a PC, and a kernel ready to run. */
import { Processor } from '../cpu/processor.ts';
import { parseCpu, defaultCpu } from '../cpu/cpuid.ts';
import { enterKernel } from '../cpu/entry.ts';
import { LocalApic, tscHz } from '../cpu/local-apic.ts';
import { vcpuAreaBytes } from '../cpu/state.ts';
import { Vcpu } from '../cpu/vcpu.ts';
import { Interpreter } from '../engine/interpreter/interpreter.ts';
import { FramePool, pageBytes } from '../memory/pool.ts';
import { GuestSpace } from '../memory/space.ts';
import { type Clock, HostClock, type HostMilliseconds, InstructionClock } from '../time/clock.ts';
import { TimerQueue } from '../time/timers.ts';
import { DebugExit } from '../devices/debug-exit.ts';
import { PciHost, ecamBase, ecamBytes, pciWindowBase, pciWindowEnd } from '../devices/pci/host.ts';
import { Pit } from '../devices/pit/pit.ts';
import { PortBus } from '../devices/port-bus.ts';
import { Power } from '../devices/power/power.ts';
import { Rtc } from '../devices/rtc/rtc.ts';
import { Uart } from '../devices/uart/uart.ts';
import { acpiTables } from '../firmware/acpi.ts';
import { layoutMemory, rsdpAddress } from '../firmware/e820.ts';
import { isBzImage, loadLinux } from '../firmware/linux.ts';
import { InterruptController } from './interrupts.ts';
import { Machine, type StopReason } from './machine.ts';
import { SeededRandom } from '../base/random.ts';

export interface MachineConfig {
  readonly memoryMiB: number;
  readonly kernel: { readonly name: string; readonly data: Uint8Array };
  readonly initrd?: { readonly name: string; readonly data: Uint8Array };
  readonly commandLine: string;
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
  readonly decompress: (data: Uint8Array, name: string) => Uint8Array;
}

/** The local APICs' registers, where every PC has them. */
const apicWindowBase = 0xfee0_0000;
const vcpuBase = 0x1_0000;
const arenaBytes = 64 * 2 ** 20;

export function buildMachine(config: MachineConfig, world: MachineWorld): Machine {
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
    id: 0, clock, timers, wake,
    send: (message, shorthand, from) => interrupts.command(message, shorthand, from),
    endOfInterrupt: (vector) => interrupts.ioapic.endOfInterrupt(vector),
  });
  interrupts.connect([apic]);

  const uart = new Uart({ name: 'com1', port: 0x3f8, irq: interrupts.isa(4), output: world.serialOutput });
  const pci = new PciHost(() => stop({ kind: 'reset' }));
  const power = new Power({ clock, sci: interrupts.isa(9), powerOff: () => stop({ kind: 'power-off' }) });
  const ports = new PortBus([
    uart, interrupts.pic, pci, power,
    new Pit({ clock, timers, irq: interrupts.isa(0) }),
    new Rtc({ clock, timers, irq: interrupts.isa(8), epochMs: world.epochMs }),
    new DebugExit((status) => stop({ kind: 'exit', status })),
  ]);
  space.attach([
    { base: apicWindowBase, size: 0x1000, read: (offset) => apic.read(offset & 0xff0), write: (offset, _width, value) => apic.write(offset & 0xff0, value) },
    interrupts.ioapic, pci.ecam, pci.memory,
  ]);

  const tsc = (): bigint => BigInt(Math.floor(clock.nowNs() * (tscHz / 1e9)));
  const vcpu = new Vcpu({ id: 0, cpuCount: 1, base: vcpuBase, pool, space, ports, clock: { tsc }, model, apic, random: () => random.next64() });
  const processor = new Processor(vcpu);
  const interpreter = new Interpreter(processor, { start: arenaStart, end: arenaStart + arenaBytes });
  space.watchCode(interpreter);
  machine = new Machine({ processor, interpreter, timers, clock, instructionClock, interrupts, uart, power, pool });

  const acpi = acpiTables(layout.acpiBase, {
    cpuCount: 1, ecamBase, pciWindow: { base: pciWindowBase, end: pciWindowEnd }, serialPorts: [{ port: 0x3f8, irq: 4 }], hpetBase: undefined,
  });
  space.write(layout.acpiBase, acpi.tables);
  space.write(rsdpAddress, acpi.rsdp);
  if (!isBzImage(config.kernel.data)) throw new Error(`${config.kernel.name}: not a Linux bzImage`);
  const entry = loadLinux({
    space, layout, kernel: config.kernel.data, kernelName: config.kernel.name, initrd: config.initrd?.data, commandLine: config.commandLine, rsdp: rsdpAddress,
    seed: random.bytes(32), decompress: world.decompress,
  });
  enterKernel(vcpu, entry);
  return machine;
}
