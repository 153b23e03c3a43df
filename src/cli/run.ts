/** `testudo run`: builds the machine that the options describe, connects it to this terminal, and runs it to its end. */
import { randomBytes } from 'node:crypto';
import { accessSync, closeSync, constants, existsSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { checkOptions, type RawOptions, type RunOptions, readConfigFile } from '../config/options.ts';
import { buildMachine } from '../domain/build.ts';
import type { MachineConfig, MachineWorld } from '../domain/config.ts';
import type { Machine } from '../domain/machine.ts';
import { NotSaved, restoreMachine } from '../domain/saved.ts';
import type { StopReason } from '../domain/stop-reason.ts';
import { Trace } from '../domain/trace.ts';
import type { EngineProfile } from '../engine/profile.ts';
import type { TranslateElsewhere } from '../engine/translator/elsewhere.ts';
import { Runner } from '../host/runner.ts';
import { FileDisk } from './file-disk.ts';
import { defaultGuest, readFile, reason } from './files.ts';
import { unpackInitrd } from './initrd.ts';
import { nestedInitrd, withVmx } from './nested.ts';
import { command } from './prompt.ts';
import { checkPlace, readSaved, writeSaved } from './saved-file.ts';
import { Terminal } from './terminal.ts';
import { translatorThread } from './translator-thread.ts';
import { unpack } from './unpack.ts';
import { tuneFor } from './v8-tuning.ts';

/** Kernels up to this size are unpacked in a blink. */
const quietKernelBytesMax = 4 * 2 ** 20;
/** The guest holds an initramfs twice while it copies it: of each MiB it has, an unpacked one may take so much. */
const initrdBytesPerMiB = 2 ** 20 / 8;
const defaultAppend = 'console=ttyS0 quiet';

function optionsOf(raw: Record<string, unknown>): RunOptions {
  const { config, ...flags } = raw;
  const file = typeof config === 'string' ? readConfigFile(new TextDecoder().decode(readFile(config, '--config')), config) : {};
  const checked = checkOptions({
    ...file,
    ...definedOnly(flags),
    reboot: flags.reboot === false ? false : (file.reboot ?? true),
    translator: flags.translator === false ? false : (file.translator ?? true),
    worker: flags.worker === false ? false : (file.worker ?? true),
  } as RawOptions);
  if ('problems' in checked) throw new Error(checked.problems.join('\n'));
  return checked.options;
}
const definedOnly = (record: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));

/** Returns the program's exit status. */
export async function run(raw: Record<string, unknown>): Promise<number> {
  const options = optionsOf(raw);
  const session = new Session(options);
  return session.run();
}

/** What the hypervisors of the machine had to do, level by level. */
function exitReport({ vmx, svm, turtles }: Machine): string {
  const counts = vmx?.counts ?? svm?.counts;
  const lines = counts && counts.entries > 0 ? counts.report() : [];
  const inner =
    turtles && turtles.inner.counts.entries > 0
      ? ['of these, as the hypervisor at level 1 sees them:', ...turtles.inner.counts.report()]
      : [];
  return [...lines, ...inner].map((line) => `${line}\n`).join('');
}

function inRegionsFolder(folder: string, work: () => void): void {
  try {
    work();
  } catch (problem) {
    throw new Error(`--regions ${folder}: ${reason(problem)}`);
  }
}
/** Before the run, so that no long one is lost to a folder that cannot be. */
const makeRegionsFolder = (folder: string): void =>
  inRegionsFolder(folder, () => {
    if (!existsSync(folder)) mkdirSync(folder);
    accessSync(folder, constants.W_OK);
  });
function writeTexts(folder: string, texts: readonly { readonly name: string; readonly text: string }[]): void {
  inRegionsFolder(folder, () => {
    for (const { name, text } of texts) writeFileSync(join(folder, name), text);
  });
  process.stderr.write(`${texts.length} regions as text in ${folder}\n`);
}

class Session {
  readonly #options: RunOptions;
  readonly #terminal: Terminal;
  #machine: Machine | undefined;
  #runner: Runner | undefined;
  #quit = false;
  readonly #translateElsewhere: TranslateElsewhere;
  #startedMs = performance.now();
  /** Serial output since the last slice. */
  #output: number[] = [];
  #serialFile: number | undefined;
  /** Input that the guest had no room for, oldest first. */
  #waiting: number[] = [];

  constructor(options: RunOptions) {
    this.#options = options;
    this.#translateElsewhere = translatorThread((text) => process.stderr.write(`\r\ntestudo: ${text}\r\n`));
    this.#terminal = new Terminal({ input: (bytes) => this.#input(bytes), quit: () => this.#end(), prompt: () => this.#prompt() });
  }

  async run(): Promise<number> {
    if (this.#options.regions !== undefined) makeRegionsFolder(this.#options.regions);
    if (this.#options.save !== undefined) checkPlace(this.#options.save);
    const make = this.#maker();
    const disks = this.#options.disks.map((disk) => new FileDisk(disk));
    if (this.#options.serial.startsWith('file:')) this.#serialFile = openSerial(this.#options.serial.slice(5));
    const onSignal = (): void => this.#end();
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
    process.on('SIGHUP', onSignal);
    process.stdout.on('error', onSignal);
    try {
      if (this.#options.serial === 'stdio') this.#terminal.open();
      for (;;) {
        const machine = await make(disks);
        const reason = await this.#runMachine(machine);
        if (machine.profile) this.#report(machine, machine.profile);
        if (this.#quit || reason === undefined) return this.#saveAtEnd(machine);
        if (reason.kind !== 'reset' || !this.#options.reboot) return this.#status(reason);
        if (this.#options.restore !== undefined)
          throw new Error('the guest reset itself; a restored machine has no kernel to start again with');
      }
    } finally {
      this.#flush();
      this.#terminal.close();
      for (const disk of disks) disk.close();
      if (this.#serialFile !== undefined) closeSync(this.#serialFile);
    }
  }

  /** What makes the machine, again after each of its resets. */
  #maker(): (disks: readonly FileDisk[]) => Promise<Machine> {
    const { restore, translator, profile } = this.#options;
    if (restore !== undefined) return (disks) => restored(restore, { disks, translator, profile }, this.#world());
    const config = this.#config();
    return (disks) => withProgress(unpacking(config.kernel), () => buildMachine({ ...config, disks }, this.#world()));
  }
  async #saveAtEnd(machine: Machine): Promise<number> {
    const { save } = this.#options;
    if (save === undefined) return 0;
    this.#flush();
    process.stderr.write('\r\n'); // the guest's cursor may stand anywhere
    const bytes = await saving(machine, save).catch((problem: Error) => {
      throw new Error(`--save ${problem.message}`);
    });
    process.stderr.write(`${savedText(save, bytes)}\r\n`);
    return 0;
  }
  #config(): Omit<MachineConfig, 'disks'> {
    const o = this.#options;
    const guest = o.kernel === undefined ? defaultGuest() : undefined;
    const kernelPath = o.kernel ?? guest?.kernel ?? '';
    const initrdPath = o.initrd ?? guest?.initrd;
    const kernel = readFile(kernelPath, '--kernel');
    const initrd = initrdPath === undefined ? undefined : readFile(initrdPath, '--initrd');
    return {
      memoryMiB: o.memoryMiB,
      kernel: { name: kernelPath, data: kernel },
      ...(initrd === undefined ? {} : { initrd: { name: initrdPath ?? '', data: this.#initrd(kernel, initrd) } }),
      modules: o.modules.map((m) => ({ name: m.path, arguments: m.arguments, data: readFile(m.path, '--module') })),
      commandLine: `${o.append ?? defaultAppend}${o.nested > 0 ? ` nested=${o.nested}` : ''}`,
      cpu: o.nested > 0 || o.turtles ? withVmx(o.cpu) : o.cpu,
      ...(o.turtles ? { turtles: o.turtles } : {}),
      deterministic: o.deterministic,
      translator: o.translator,
      profile: o.profile,
      seed: o.seed ?? (o.deterministic ? 1n : randomBytes(8).readBigUInt64LE()),
    };
  }
  #initrd(kernel: Uint8Array, initrd: Uint8Array): Uint8Array {
    const { nested, memoryMiB } = this.#options;
    return unpackInitrd(nested > 0 ? nestedInitrd(kernel, initrd) : initrd, memoryMiB * initrdBytesPerMiB);
  }
  #world(): MachineWorld {
    const o = this.#options;
    return {
      hostMilliseconds: () => performance.now(),
      epochMs: o.deterministic ? Date.UTC(2026, 0, 1) : Date.now(),
      serialOutput: (byte) => {
        this.#output.push(byte);
      },
      consoleOutput: (byte) => {
        this.#output.push(byte);
      },
      decompress: unpack,
      compiling: tuneFor,
      ...(o.worker && availableParallelism() > 1 ? { translateElsewhere: this.#translateElsewhere } : {}),
      ...(o.trace.length === 0 ? {} : { trace: new Trace(o.trace, (text) => process.stderr.write(`${text}\n`)) }),
    };
  }

  async #runMachine(machine: Machine): Promise<StopReason | undefined> {
    this.#machine = machine;
    const runner = new Runner(machine, {
      hostMilliseconds: () => performance.now(),
      after: (milliseconds, call) => {
        if (milliseconds < 1) {
          const now = setImmediate(call);
          return { cancel: () => clearImmediate(now) };
        }
        const timer = setTimeout(call, milliseconds);
        return { cancel: () => clearTimeout(timer) };
      },
      served: () => this.#served(),
    });
    this.#runner = runner;
    return runner.run();
  }

  #input(bytes: Uint8Array): void {
    for (const byte of bytes) this.#waiting.push(byte);
    this.#feed();
    this.#runner?.kick();
  }
  #feed(): void {
    const machine = this.#machine;
    if (!machine) return;
    // a guest told to use the virtio console reads there
    const reader = /\bconsole=hvc/.test(machine.hardware.commandLine) ? machine.chips.virtioConsole : machine.chips.uart;
    let taken = 0;
    while (taken < this.#waiting.length && reader.receive(this.#waiting[taken] ?? 0)) taken++;
    this.#waiting = this.#waiting.slice(taken);
    // the sender waits while the guest does not read
    if (this.#waiting.length > 0) process.stdin.pause();
    else if (process.stdin.isPaused() && this.#options.serial === 'stdio') process.stdin.resume();
  }
  #served(): Promise<void> | undefined {
    if (this.#waiting.length > 0) this.#feed();
    return this.#flush();
  }
  #flush(): Promise<void> | undefined {
    if (this.#output.length === 0) return undefined;
    const data = Buffer.from(this.#output);
    this.#output = [];
    if (this.#serialFile !== undefined) {
      writeSync(this.#serialFile, data);
      return undefined;
    }
    if (this.#options.serial === 'none') return undefined;
    if (process.stdout.write(data)) return undefined;
    return new Promise((resolve) => {
      const done = (): void => resolve();
      process.stdout.once('drain', done);
      process.stdout.once('error', done); // the reader has gone: the run ends, see the listener in run()
      process.stdout.once('close', done);
    });
  }
  #end(): void {
    this.#quit = true;
    this.#runner?.interrupt();
  }

  #prompt(): void {
    const machine = this.#machine;
    const runner = this.#runner;
    if (!machine || !runner) return;
    runner.pause();
    const say = (text: string): void => {
      process.stdout.write(text === '' ? '(testudo) ' : `${text.replaceAll('\n', '\r\n')}\r\n(testudo) `);
    };
    this.#terminal.onLine = (line) => {
      const action = command(machine, line, (performance.now() - this.#startedMs) / 1000);
      if (action.then === 'stay') return say(action.text);
      if (action.then === 'save') {
        const prompt = this.#terminal.onLine;
        this.#terminal.onLine = () => {}; // until it is done
        saving(machine, action.path)
          .then((bytes) => savedText(action.path, bytes), reason)
          .then((text) => {
            this.#terminal.onLine = prompt;
            say(text);
          });
        return;
      }
      this.#terminal.onLine = undefined;
      if (action.then === 'quit') this.#end();
      else runner.resume();
    };
    process.stdout.write('\r\n');
    say('');
  }

  #report(machine: Machine, profile: EngineProfile): void {
    this.#flush();
    const { user, system } = process.cpuUsage();
    const { interrupts, faults } = machine.counts;
    process.stderr.write(
      `\nprofile\nCPU time              ${(user / 1e6).toFixed(2)} s, and ${(system / 1e6).toFixed(2)} s in the system\n` +
        `interrupts, faults    ${interrupts}, ${faults}\n${exitReport(machine)}${profile.report(machine.retired)}`,
    );
    if (this.#options.regions !== undefined) writeTexts(this.#options.regions, profile.texts(machine.retired));
  }
  #status(reason: StopReason): number {
    const { save } = this.#options;
    if (save !== undefined) process.stderr.write(`\r\ntestudo: --save ${save}: the guest has ended, nothing was saved\r\n`);
    switch (reason.kind) {
      case 'power-off':
      case 'reset':
        return 0;
      case 'exit':
        return reason.status;
      case 'triple-fault':
        process.stderr.write(`\ntestudo: the guest shut itself down by a triple fault (${reason.why})\n`);
        return 3;
    }
  }
}

const saving = (machine: Machine, path: string): Promise<number> => withProgress(`saving ${path}`, () => writeSaved(machine, path));
const savedText = (path: string, bytes: number): string => `saved: ${path}, ${mebibytes(bytes)}`;

async function restored(path: string, parts: Parameters<typeof restoreMachine>[1], world: MachineWorld): Promise<Machine> {
  try {
    return await withProgress(`restoring ${path}`, () => restoreMachine(readSaved(path), parts, world));
  } catch (problem) {
    throw new Error(`--restore ${path}: ${problem instanceof NotSaved ? problem.message : reason(problem)}`);
  }
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
/** Of kernels that take a second or two. */
const unpacking = ({ name, data }: { readonly name: string; readonly data: Uint8Array }): string | undefined =>
  data.length > quietKernelBytesMax ? `unpacking ${name} (${mebibytes(data.length)})` : undefined;

/** Says on a terminal what takes a second or more, and takes it back. */
async function withProgress<T>(text: string | undefined, work: () => Promise<T>): Promise<T> {
  const shown = process.stderr.isTTY === true && text !== undefined;
  if (shown) process.stderr.write(`${text} ...`);
  try {
    return await work();
  } finally {
    if (shown) process.stderr.write('\r\x1b[K');
  }
}

function openSerial(path: string): number {
  try {
    return openSync(path, 'w');
  } catch (problem) {
    throw new Error(`--serial file:${path}: ${reason(problem)}`);
  }
}
