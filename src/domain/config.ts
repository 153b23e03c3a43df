/** What a machine is made from: its configuration, and the world it is connected to. */
import type { TurtlesOptions } from '../config/options.ts';
import type { CompiledCode } from '../engine/options.ts';
import type { TranslateElsewhere } from '../engine/translator/elsewhere.ts';
import type { Unpack } from '../firmware/linux.ts';
import type { BlockDevice } from '../storage/block-device.ts';
import type { HostMilliseconds } from '../time/clock.ts';
import type { Trace } from './trace.ts';

export interface MachineModule {
  readonly name: string;
  readonly arguments: string;
  readonly data: Uint8Array;
}

/** What a machine consists of: a saved one is restored into the same. */
export interface HardwareConfig {
  readonly memoryMiB: number;
  readonly disks?: readonly BlockDevice[];
  readonly cpu?: string;
  /** Time follows retired instructions, and the run repeats bit for bit. */
  readonly deterministic?: boolean;
  /** The machine's software runs above a level-0 monitor that makes VMX for it by trapping. */
  readonly turtles?: TurtlesOptions;
  readonly commandLine: string;
}

/** How it is executed: nothing that the guest can see. */
export interface EngineConfig {
  /** Counts what the engine does, at some cost. */
  readonly profile?: boolean;
  /** False: the interpreter does everything. */
  readonly translator?: boolean;
}

export interface MachineConfig extends HardwareConfig, EngineConfig {
  readonly kernel: { readonly name: string; readonly data: Uint8Array };
  readonly initrd?: { readonly name: string; readonly data: Uint8Array };
  /** Multiboot modules. */
  readonly modules?: readonly MachineModule[];
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
  readonly trace?: Trace;
  /** Called before the host's engine compiles a module: it can be told how soon to optimise it. */
  readonly compiling?: (code: CompiledCode) => void;
  /** Makes and compiles regions on another thread. Without it, or when it fails, the machine's own does. */
  readonly translateElsewhere?: TranslateElsewhere;
}
