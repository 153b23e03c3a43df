/** A machine put together in plain sight: memory, one vCPU, the chips of a PC. */
import { SeededRandom } from '../base/random.ts';
import type { Stateful } from '../base/stateful.ts';
import { defaultCpu, parseCpu } from '../cpu/cpuid.ts';
import { helpers } from '../cpu/helpers/index.ts';
import { LocalApic, tscHz } from '../cpu/local-apic.ts';
import { Processor } from '../cpu/processor.ts';
import { SavedVcpu } from '../cpu/saved-vcpu.ts';
import { vcpuAreaBytes } from '../cpu/state.ts';
import { Vcpu } from '../cpu/vcpu.ts';
import { ecamBase, ecamBytes } from '../devices/pci/host.ts';
import { PortBus } from '../devices/port-bus.ts';
import { Interpreter } from '../engine/interpreter/interpreter.ts';
import { EngineProfile } from '../engine/profile.ts';
import { Translator } from '../engine/translator/translator.ts';
import { layoutMemory, type MemoryLayout, rsdpAddress } from '../firmware/e820.ts';
import { FramePool, pageBytes } from '../memory/pool.ts';
import { GuestSpace } from '../memory/space.ts';
import { svmGuestMode } from '../svm/boundary.ts';
import { attachSvm } from '../svm/intercepts.ts';
import { Svm } from '../svm/svm.ts';
import { type Clock, HostClock, InstructionClock } from '../time/clock.ts';
import { TimerQueue } from '../time/timers.ts';
import { vmxGuestMode } from '../vmx/boundary.ts';
import { attachVmx } from '../vmx/intercepts.ts';
import { monitorRange } from '../vmx/turtles/memory.ts';
import { Turtles } from '../vmx/turtles/monitor.ts';
import { Vmx } from '../vmx/vmx.ts';
import { buildChips } from './chips.ts';
import type { EngineConfig, HardwareConfig, MachineWorld } from './config.ts';
import { InterruptController } from './interrupts.ts';
import { Machine } from './machine.ts';
import type { StopReason } from './stop-reason.ts';
import { tracedPorts, tracedWindows, traceGuests } from './trace.ts';

/** Machine memory begins with the vCPU's area and decoded code; frames follow. */
const vcpuBase = 0x1_0000;
const arenaStart = vcpuBase + Math.ceil(vcpuAreaBytes / pageBytes) * pageBytes;
/** What decoded code may take: as much as the guest's memory, within bounds. Where it is full all code is dropped; a boot and GCC take 108 MiB, at two levels 219. */
const arenaMiB = { min: 64, max: 256 };
/** What a WebAssembly memory can hold. */
const machineMiB = 4096;

/** A machine with nothing in its memory. */
export function assembleMachine(
  config: HardwareConfig & EngineConfig,
  world: MachineWorld,
  seed: bigint,
): { readonly machine: Machine; readonly layout: MemoryLayout; readonly random: SeededRandom } {
  const memoryBytes = config.memoryMiB * 2 ** 20;
  const layout = layoutMemory(memoryBytes, { base: ecamBase, size: ecamBytes });
  const model = parseCpu(config.cpu ?? defaultCpu);
  const roomMiB = Math.min(arenaMiB.max, config.memoryMiB, machineMiB - config.memoryMiB);
  const arena = { start: arenaStart, end: arenaStart + Math.max(arenaMiB.min, roomMiB) * 2 ** 20 };
  const monitor = config.turtles ? [monitorRange(layout.ram)] : [];
  const pool = new FramePool({
    reservedBytes: arena.end,
    frames: memoryBytes / pageBytes + monitor.reduce((sum, r) => sum + r.size / pageBytes, 0),
  });
  const space = new GuestSpace(pool, [...layout.ram, ...monitor]);
  const random = new SeededRandom(seed);

  let machine: Machine | undefined;
  const stop = (reason: StopReason): void => machine?.requestStop(reason);
  const wake = (): void => machine?.wake();
  const instructionClock = config.deterministic ? new InstructionClock(() => machine?.retired ?? 0) : undefined;
  const clock: Clock = instructionClock ?? new HostClock(world.hostMilliseconds);
  const timers = new TimerQueue();
  timers.whenEarlier(wake);

  const interrupts = new InterruptController(wake);
  const apic = interrupts.connect((bus) => new LocalApic({ id: 0, clock, timers, wake, ...bus }));
  const chips = buildChips({ config, world, space, random, clock, timers, interrupts, apic, stop });
  space.attach(tracedWindows(chips.windows, world.trace));
  const ports = tracedPorts(new PortBus(chips.portDevices), world.trace);

  const ticks = (ns: number): bigint => BigInt(Math.floor(ns * (tscHz / 1e9)));
  const vcpu = new Vcpu({
    id: 0,
    cpuCount: 1,
    base: vcpuBase,
    pool,
    space,
    ports,
    clock: { tsc: () => ticks(clock.nowNs()), peekTsc: () => ticks(clock.peekNs()), retired: () => machine?.retired ?? 0 },
    model,
    apic,
    random: () => random.next64(),
    wake,
  });
  const processor = new Processor(vcpu, helpers);
  const [range] = monitor;
  const turtles = range && config.turtles ? new Turtles(processor, timers, range, config.turtles) : undefined;
  const vmx = turtles?.hardware ?? (model.features.has('vmx') ? new Vmx(processor, timers) : undefined);
  if (vmx) {
    attachVmx(vmx);
    traceGuests(world.trace, vmx);
  }
  turtles?.attach(processor);
  const svm = model.features.has('svm') ? new Svm(processor) : undefined;
  if (svm) {
    attachSvm(svm);
    traceGuests(world.trace, svm);
  }
  const profile = config.profile ? new EngineProfile(world.hostMilliseconds) : undefined;
  const interpreter = new Interpreter(processor, arena, { profile, compiling: world.compiling });
  const translator =
    config.translator === false ? undefined : new Translator(processor, interpreter, { profile, elsewhere: world.translateElsewhere });
  if (translator) interpreter.translateWith(translator);
  space.watchCode(interpreter);
  machine = new Machine({
    hardware: config,
    processor,
    guests: vmx ? vmxGuestMode(vmx) : svm ? svmGuestMode(svm) : undefined,
    vmx,
    svm,
    turtles,
    interpreter,
    translator,
    profile,
    timers,
    clock,
    instructionClock,
    interrupts,
    chips,
    pool,
    stateful: new Map<string, Stateful>([...Object.entries({ clock, timers, random, processor: new SavedVcpu(vcpu) }), ...chips.stateful]),
    trace: world.trace,
  });
  return { machine, layout, random };
}

/** The firmware's part of memory below 1 MiB is read-only. */
export const sealFirmware = (space: GuestSpace): void => space.seal(rsdpAddress, 0x1_0000);
