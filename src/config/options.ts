/** Every option once: its flag, argument, default, limits and one sentence. The command line's help and the JSON form follow from it. */

export interface DiskOption {
  readonly path: string;
  readonly readOnly: boolean;
  readonly id: string;
}
export interface ModuleOption {
  readonly path: string;
  readonly arguments: string;
}

export interface RunOptions {
  readonly kernel: string | undefined;
  readonly initrd: string | undefined;
  readonly modules: readonly ModuleOption[];
  readonly append: string | undefined;
  readonly disks: readonly DiskOption[];
  readonly memoryMiB: number;
  readonly serial: string;
  readonly cpu: string;
  /** Guests inside the default guest, one in another; 0: none. */
  readonly nested: number;
  /** The level-0 monitor and its switches; undefined: there is none. */
  readonly turtles: TurtlesOptions | undefined;
  readonly seed: bigint | undefined;
  readonly deterministic: boolean;
  readonly reboot: boolean;
  readonly translator: boolean;
  /** Code is translated on a thread of its own. */
  readonly worker: boolean;
  readonly profile: boolean;
  /** Where the hottest regions are written to as text. */
  readonly regions: string | undefined;
  readonly trace: readonly TraceFilter[];
  /** Where the machine is saved to when the program is ended before its guest, and a saved one that goes on. */
  readonly save: string | undefined;
  readonly restore: string | undefined;
}

/** How the level-0 monitor works: the comparisons of the Turtles paper. */
export interface TurtlesOptions {
  /** VMREAD and VMWRITE of the hypervisor reach VMCS12 without an exit (the paper's "direct read and write"). */
  readonly direct: boolean;
  /** A merge copies what is hot, and the rest only after a write to it; an exit gives back rare fields only when they are read. */
  readonly dirty: boolean;
  /** Translations of the guest's guest are tagged, and outlive its exits. */
  readonly vpid02: boolean;
}

export interface OptionRecord {
  readonly flags: string;
  readonly help: string;
  readonly repeatable?: boolean;
}

const nestedMax = 3;
/** MiB more for each level. */
const nestedMemory = 256;
/** MiB of a guest's memory. */
export const memoryLimits = { min: 16, max: 4096, default: 256 } as const;

export const optionRecords = {
  kernel: { flags: '--kernel <file>', help: 'Linux bzImage, PVH ELF or multiboot image (default: the guest of the testudo-guest package)' },
  initrd: { flags: '--initrd <file>', help: 'initramfs for the kernel' },
  module: { flags: '--module <file-and-arguments>', help: "multiboot module: 'FILE arguments' (repeatable)", repeatable: true },
  append: { flags: '--append <text>', help: "the kernel's command line" },
  disk: { flags: '--disk <file[,ro][,id=NAME]>', help: 'raw disk image as a virtio disk (repeatable)', repeatable: true },
  memory: { flags: '--memory <MiB>', help: `memory of the guest, ${memoryLimits.min} to ${memoryLimits.max} (default: ${memoryLimits.default})` },
  serial: { flags: '--serial <where>', help: "first serial port: 'stdio', 'none' or 'file:PATH' (default: stdio)" },
  cpu: { flags: '--cpu <model>', help: 'MODEL[,+FEATURE][,-FEATURE]: x86-64, x86-64-v2, max (default: x86-64-v2); +vmx or +svm for guests that are hypervisors' },
  nested: { flags: '--nested [levels]', help: `run the default guest in itself under its own KVM, 1 to ${nestedMax} levels deep (default: 1; ${nestedMax} needs --deterministic)` },
  turtles: { flags: '--turtles [switches]', help: "run above a level-0 monitor that makes VT-x by trapping, as the Turtles project does; comma-separated: 'direct' (VMREAD and VMWRITE without exits), 'dirty' (merges only what was written), 'no-vpid02'" },
  seed: { flags: '--seed <number>', help: 'seed of all random numbers the guest gets (default: different each time; 1 with --deterministic)' },
  deterministic: { flags: '--deterministic', help: 'time follows instructions, and the same input gives the same run' },
  reboot: { flags: '--no-reboot', help: 'a reset of the guest ends the program' },
  translator: { flags: '--no-translator', help: 'interpret everything: slower, for comparison' },
  worker: { flags: '--no-worker', help: "translate on the machine's own thread, as with a single processor: less processor time, but the guest waits" },
  profile: { flags: '--profile', help: 'print at the end where the time went and the hottest code, to standard error' },
  regions: { flags: '--regions <folder>', help: "write at the end the hottest regions of translated code there, as WebAssembly text with their guest code; includes --profile" },
  save: { flags: '--save <file>', help: 'when the program is ended (Ctrl-A x, or a signal) before the guest ends, save the machine there; also at the prompt: save FILE' },
  restore: { flags: '--restore <file>', help: 'go on with a saved machine; what it consists of is in the file, its disks are given as they were' },
  trace: { flags: '--trace <kinds>', help: 'print to standard error, comma-separated KIND[:FROM[-TO]]: exceptions and interrupts (by vector), ports, mmio and instructions (by address), vmx (entries and exits, by reason), hexadecimal' },
} as const satisfies Readonly<Record<string, OptionRecord>>;
export type OptionName = keyof typeof optionRecords;

/** What a command line or a file gave, before it is checked. */
export interface RawOptions {
  readonly kernel?: string;
  readonly initrd?: string;
  readonly module?: readonly string[];
  readonly append?: string;
  readonly disk?: readonly string[];
  readonly memory?: string;
  readonly serial?: string;
  readonly cpu?: string;
  readonly nested?: string | boolean;
  readonly turtles?: string | boolean;
  readonly seed?: string;
  readonly deterministic?: boolean;
  readonly reboot?: boolean;
  readonly translator?: boolean;
  readonly worker?: boolean;
  readonly profile?: boolean;
  readonly regions?: string;
  readonly trace?: string;
  readonly save?: string;
  readonly restore?: string;
}

const traceKinds = ['exceptions', 'interrupts', 'ports', 'mmio', 'instructions', 'vmx'] as const;
export type TraceKind = (typeof traceKinds)[number];
/** What to print of one kind of event: those whose vector or address lies in the range, ends included. */
export interface TraceFilter {
  readonly kind: TraceKind;
  readonly from: bigint;
  readonly to: bigint;
}

function parseTrace(text: string, problems: string[]): TraceFilter[] {
  return text.split(',').flatMap((part) => {
    const match = /^(\w+)(?::([0-9a-f]{1,16})(?:-([0-9a-f]{1,16}))?)?$/i.exec(part);
    const kind = traceKinds.find((k) => k === match?.[1]);
    if (!match || !kind) {
      problems.push(`--trace ${part}: KIND[:FROM[-TO]] is wanted, in hexadecimal; the kinds are ${traceKinds.join(', ')}`);
      return [];
    }
    const [, , from, to] = match;
    return [{ kind, from: BigInt(`0x${from ?? 0}`), to: to ? BigInt(`0x${to}`) : from ? BigInt(`0x${from}`) : (1n << 64n) - 1n }];
  });
}

/** Checks everything and reports all problems at once, each a sentence that names the option. */
export function checkOptions(raw: RawOptions): { readonly options: RunOptions } | { readonly problems: readonly string[] } {
  const problems: string[] = [];
  const nested = levelsOf(raw, problems);
  const turtles = turtlesOf(raw.turtles, problems);
  const memoryMiB = Number(raw.memory ?? memoryLimits.default + nested * nestedMemory);
  if (!Number.isInteger(memoryMiB) || memoryMiB < memoryLimits.min || memoryMiB > memoryLimits.max) {
    problems.push(`--memory ${raw.memory}: a whole number of MiB from ${memoryLimits.min} to ${memoryLimits.max} is wanted`);
  }
  let seed: bigint | undefined;
  if (raw.seed !== undefined) {
    if (/^(0x[0-9a-f]+|\d+)$/i.test(raw.seed)) seed = BigInt(raw.seed);
    else problems.push(`--seed ${raw.seed}: a whole number is wanted`);
  }
  const serial = raw.serial ?? 'stdio';
  if (serial !== 'stdio' && serial !== 'none' && !/^file:.+/.test(serial)) problems.push(`--serial ${serial}: 'stdio', 'none' or 'file:PATH' is wanted`);
  const trace = raw.trace === undefined ? [] : parseTrace(raw.trace, problems);
  const disks = (raw.disk ?? []).map((text, n) => parseDisk(text, n, problems));
  if (raw.module && raw.module.length > 0 && raw.kernel === undefined) problems.push('--module: needs --kernel, the default guest takes no modules');
  if (raw.restore !== undefined)
    for (const name of ofTheMachine) if (isGiven(raw[name])) problems.push(`--${name}: not with --restore, whose file has the machine`);
  if (problems.length > 0) return { problems };
  const options: RunOptions = {
    kernel: raw.kernel, initrd: raw.initrd, append: raw.append, memoryMiB, serial, cpu: raw.cpu ?? 'x86-64-v2', nested, turtles, seed, disks,
    modules: (raw.module ?? []).map((text) => {
      const space = text.indexOf(' ');
      return space < 0 ? { path: text, arguments: '' } : { path: text.slice(0, space), arguments: text.slice(space + 1) };
    }),
    deterministic: raw.deterministic ?? false, reboot: raw.reboot ?? true, trace,
    translator: raw.translator ?? true, worker: raw.worker ?? true, profile: raw.profile === true || raw.regions !== undefined, regions: raw.regions,
    save: raw.save, restore: raw.restore,
  };
  return { options };
}

/** What a saved machine has already. */
const ofTheMachine = ['kernel', 'initrd', 'module', 'append', 'memory', 'cpu', 'nested', 'turtles', 'seed', 'deterministic'] as const;
const isGiven = (value: unknown): boolean => value !== undefined && value !== false;

function levelsOf(raw: RawOptions, problems: string[]): number {
  if (raw.nested === undefined || raw.nested === false) return 0;
  const levels = raw.nested === true ? 1 : Number(raw.nested);
  if (!Number.isInteger(levels) || levels < 1 || levels > nestedMax) problems.push(`--nested ${raw.nested}: a number of levels from 1 to ${nestedMax} is wanted`);
  if (raw.kernel !== undefined || raw.initrd !== undefined) problems.push('--nested: is for the default guest; with a --kernel of your own write --cpu x86-64-v2,+vmx');
  if (levels === nestedMax && raw.deterministic !== true)
    problems.push(`--nested ${levels}: needs --deterministic; in real time the timers of level ${nestedMax} come faster than they can be served there`);
  return levels;
}

const turtlesSwitches = ['direct', 'dirty', 'no-vpid02'];
function turtlesOf(raw: string | boolean | undefined, problems: string[]): TurtlesOptions | undefined {
  if (raw === undefined || raw === false) return undefined;
  const wanted = raw === true ? [] : raw.split(',');
  for (const each of wanted) if (!turtlesSwitches.includes(each)) problems.push(`--turtles ${each}: the switches are ${turtlesSwitches.join(', ')}`);
  return { direct: wanted.includes('direct'), dirty: wanted.includes('dirty'), vpid02: !wanted.includes('no-vpid02') };
}

function parseDisk(text: string, index: number, problems: string[]): DiskOption {
  const [path = '', ...rest] = text.split(',');
  let readOnly = false;
  let id = `disk${index}`;
  for (const part of rest) {
    if (part === 'ro') readOnly = true;
    else if (part.startsWith('id=')) id = part.slice(3);
    else problems.push(`--disk ${text}: '${part}' is not known; there are 'ro' and 'id=NAME'`);
  }
  if (path === '') problems.push(`--disk ${text}: the file's name is missing`);
  return { path, readOnly, id };
}

interface FileShape {
  readonly 'boot-source'?: { readonly kernel_image_path?: unknown; readonly initrd_path?: unknown; readonly boot_args?: unknown };
  readonly 'machine-config'?: { readonly vcpu_count?: unknown; readonly mem_size_mib?: unknown };
  readonly drives?: unknown;
  readonly [key: string]: unknown;
}
const ownKeys: readonly OptionName[] = ['module', 'serial', 'cpu', 'nested', 'turtles', 'seed', 'deterministic', 'reboot', 'translator', 'worker', 'profile', 'regions', 'trace'];

const switches: readonly OptionName[] = ['deterministic', 'reboot', 'translator', 'worker', 'profile'];

/** A configuration file: Firecracker's keys where it has them, our own for the rest. Throws one sentence per problem, joined by newlines. */
export function readConfigFile(text: string, name: string): RawOptions {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (problem) {
    throw new Error(`${name}: not JSON: ${problem instanceof Error ? problem.message : String(problem)}`);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw new Error(`${name}: an object is wanted`);
  const file = parsed as FileShape;
  const problems: string[] = [];
  const string = (value: unknown, key: string): string | undefined => {
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'string' || typeof value === 'number') return String(value);
    problems.push(`${name}: ${key}: a string is wanted`);
    return undefined;
  };
  const known = new Set<string>(['boot-source', 'machine-config', 'drives', ...ownKeys]);
  for (const key of Object.keys(file)) if (!known.has(key)) problems.push(`${name}: '${key}' is not known; there are ${[...known].join(', ')}`);
  const boot = file['boot-source'] ?? {};
  const machine = file['machine-config'] ?? {};
  if (machine.vcpu_count !== undefined && machine.vcpu_count !== 1) problems.push(`${name}: machine-config.vcpu_count: only 1 is implemented`);
  const drives = Array.isArray(file.drives) ? file.drives : [];
  const disk = drives.map((drive: { drive_id?: unknown; path_on_host?: unknown; is_read_only?: unknown }, n) => {
    const path = string(drive.path_on_host, `drives[${n}].path_on_host`) ?? '';
    return `${path}${drive.is_read_only === true ? ',ro' : ''}${drive.drive_id === undefined ? '' : `,id=${string(drive.drive_id, `drives[${n}].drive_id`)}`}`;
  });
  const raw: Record<string, unknown> = {
    kernel: string(boot.kernel_image_path, 'boot-source.kernel_image_path'), initrd: string(boot.initrd_path, 'boot-source.initrd_path'),
    append: string(boot.boot_args, 'boot-source.boot_args'), memory: string(machine.mem_size_mib, 'machine-config.mem_size_mib'), disk,
  };
  for (const key of ownKeys) {
    const value = file[key];
    if (value === undefined) continue;
    if (switches.includes(key)) {
      if (typeof value !== 'boolean') problems.push(`${name}: ${key}: true or false is wanted`);
      raw[key] = value;
    } else raw[key] = Array.isArray(value) ? value : string(value, key);
  }
  if (problems.length > 0) throw new Error(problems.join('\n'));
  return Object.fromEntries(Object.entries(raw).filter(([, value]) => value !== undefined)) as RawOptions;
}
