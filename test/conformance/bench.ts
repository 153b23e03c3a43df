/** A bare processor for single cases: long mode at CPL 3, a code page and a window mapped, nothing else. */
import { SeededRandom } from '../../src/base/random.ts';
import { parseCpu } from '../../src/cpu/cpuid.ts';
import { enterKernel } from '../../src/cpu/entry.ts';
import { Fault, TripleFault } from '../../src/cpu/fault.ts';
import { readFlags, writeFlags } from '../../src/cpu/flags.ts';
import { FloatStack } from '../../src/cpu/float/registers.ts';
import { helpers } from '../../src/cpu/helpers/index.ts';
import { LocalApic } from '../../src/cpu/local-apic.ts';
import { Processor } from '../../src/cpu/processor.ts';
import { At, Cr0, Cr4, offsetOf, Rights, Segment, vcpuAreaBytes } from '../../src/cpu/state.ts';
import { Vcpu } from '../../src/cpu/vcpu.ts';
import { Evaluator } from '../../src/engine/evaluator/evaluator.ts';
import { regionsMax } from '../../src/engine/interpreter/handlers.ts';
import { Interpreter } from '../../src/engine/interpreter/interpreter.ts';
import type { TranslateElsewhere } from '../../src/engine/translator/elsewhere.ts';
import { Translator } from '../../src/engine/translator/translator.ts';
import { FramePool, pageBytes } from '../../src/memory/pool.ts';
import { GuestSpace } from '../../src/memory/space.ts';
import { InstructionClock } from '../../src/time/clock.ts';
import { TimerQueue } from '../../src/time/timers.ts';
import { type Case, type CpuState, codeAddress, type Mode, windowAddress, windowBytes } from './cases.ts';

const tables = 0x1000;
const codePage = 0x8000;
const windowPage = 0x9000;
/** Mapped behind the code's page; and one that may stand in for the code's page. */
const nextCodePage = 0xb000;
const otherCodePage = 0xc000;
/** The supervisor's, two of them. */
const kernelPage = 0xd000;
export const kernelAddress = 0x3000_0000;
/** Instructions of a run of the engine. */
const quantum = 100_000;
const arenaBytes = 4 * 2 ** 20;

export interface Result extends CpuState {
  readonly ip: number;
  /** -1 when it ran. */
  readonly fault: number;
  /** Of a page fault. */
  readonly address?: bigint | undefined;
  readonly error: number | undefined;
}

/** A triple fault, as a vector that there is not: an INT n of random code, whose IDT is empty, ends so on every executor. */
const tripleFault = 0x100;
function faultOf(problem: unknown): Fault {
  if (problem instanceof TripleFault) return new Fault(tripleFault);
  if (problem instanceof Fault) return problem;
  throw problem;
}

type Program = Pick<Case, 'code' | 'before'> & { readonly mode?: Mode };

interface BenchOptions {
  readonly cpu?: string;
  readonly translate?: boolean;
  /** So many regions are kept. */
  readonly regions?: number;
  readonly elsewhere?: TranslateElsewhere | undefined;
}

export class Bench {
  readonly processor: Processor;
  readonly #evaluator: Evaluator;
  readonly #interpreter: Interpreter;
  readonly translator: Translator | undefined;
  readonly #space: GuestSpace;
  #code = new Uint8Array();

  constructor({ cpu = 'max', translate = false, regions = regionsMax, elsewhere }: BenchOptions = {}) {
    const start = 0x1_0000 + Math.ceil(vcpuAreaBytes / pageBytes) * pageBytes;
    const pool = new FramePool({ reservedBytes: start + arenaBytes, frames: 64 });
    this.#space = new GuestSpace(pool, [{ base: 0, size: 64 * pageBytes }]);
    const random = new SeededRandom(7n);
    const clock = new InstructionClock(() => 0);
    const apic = new LocalApic({ id: 0, clock, timers: new TimerQueue(), send: () => {}, endOfInterrupt: () => {}, wake: () => {} });
    const ports = { readPort: () => 0, writePort: () => {} };
    const vcpu = new Vcpu({
      id: 0,
      cpuCount: 1,
      base: 0x1_0000,
      pool,
      space: this.#space,
      ports,
      clock: { tsc: () => 0n, peekTsc: () => 0n, retired: () => 0 },
      model: parseCpu(cpu),
      apic,
      random: () => random.next64(),
      wake: () => {},
    });
    this.processor = new Processor(vcpu, helpers);
    this.#evaluator = new Evaluator(this.processor);
    this.#interpreter = new Interpreter(this.processor, { start, end: start + arenaBytes });
    this.#space.watchCode(this.#interpreter);
    if (translate) {
      this.translator = new Translator(this.processor, this.#interpreter, { most: regions, patience: 0, elsewhere });
      this.#interpreter.translateWith(this.translator);
    }
    this.#mapPages();
  }

  #mapPages(): void {
    const s = this.#space;
    s.write64(tables, BigInt(tables + 0x1007));
    s.write64(tables + 0x1000, BigInt(tables + 0x2007));
    const map = (linear: number, physical: number, pages: number, table: number): void => {
      s.write64(tables + 0x2000 + (linear >>> 21) * 8, BigInt(table + 7));
      for (let n = 0; n < pages; n++) s.write64(table + (((linear >>> 12) & 0x1ff) + n) * 8, BigInt(physical + n * pageBytes + 0x67));
    };
    map(codeAddress & ~0xfff, codePage, 1, tables + 0x3000);
    map(windowAddress, windowPage, windowBytes / pageBytes, tables + 0x4000);
    map(kernelAddress, kernelPage, 2, tables + 0x5000);
    for (const page of [0, 1]) s.write64(tables + 0x5000 + page * 8, BigInt(kernelPage + page * pageBytes + 0x63));
  }
  /** The supervisor's two pages. */
  loadKernel(bytes: Uint8Array): void {
    this.#space.write(kernelPage, bytes);
  }
  makeKernelGlobal(): void {
    for (const page of [0, 1]) this.#space.write64(tables + 0x5000 + page * 8, BigInt(kernelPage + page * pageBytes + 0x163));
  }
  kernel(): Uint8Array {
    return this.#space.read(kernelPage, 2 * pageBytes);
  }

  /** `filler`: the bytes that stand behind the code. */
  load(c: Program, filler: readonly number[] = [0xcc]): void {
    const code = Uint8Array.from({ length: pageBytes }, (_, n) => filler[n % filler.length] ?? 0);
    code.set(c.code, codeAddress & 0xfff);
    this.#code = code;
    this.#space.write(codePage, code);
    this.reset(c);
  }
  /** The frame of the code's page. */
  get codeFrame(): number {
    return this.#space.frameOf(codePage / pageBytes);
  }
  /** Writes into the code's page, as a device would. */
  patch(address: number, code: readonly number[]): void {
    this.#space.write(codePage + (address & 0xfff), Uint8Array.from(code));
  }
  /** Code at the start of the page behind, which may be the supervisor's. */
  loadNext(code: readonly number[], user = true): void {
    this.#space.write(nextCodePage, Uint8Array.from(code));
    this.#space.write64(tables + 0x3000 + (((codeAddress >>> 12) + 1) & 0x1ff) * 8, BigInt(nextCodePage + (user ? 0x67 : 0x63)));
  }
  /** The window, at another address too. */
  mapWindowAt(address: number): void {
    this.#space.write64(tables + 0x2000 + (address >>> 21) * 8, BigInt(tables + 0x4000 + 7));
  }
  /** A page of 2 MiB at `address`, at the first 2 MiB of memory; `bias` moves what memory it shows by so many pages of 2 MiB. */
  mapLargeAt(address: number, bias = 0): void {
    this.#space.write64(tables + 0x2000 + (address >>> 21) * 8, BigInt(bias * 0x20_0000 + 0xe7));
  }
  /** The code, at an address that lies alike in its 2 MiB too. */
  mapCodeAt(address: number): void {
    this.#space.write64(tables + 0x2000 + (address >>> 21) * 8, BigInt(tables + 0x3000 + 7));
  }
  /** The page behind is the code's own once more. */
  repeatPage(): void {
    this.#space.write64(tables + 0x3000 + (((codeAddress >>> 12) + 1) & 0x1ff) * 8, BigInt(codePage + 0x67));
  }
  /** The code's page is not there any more. */
  unmapCode(): void {
    this.#space.write64(tables + 0x3000 + ((codeAddress >>> 12) & 0x1ff) * 8, 0n);
  }
  /** Another page takes the place of the code's, with this code, as in another process; `drop` drops the translation there was. */
  replaceCode(code: readonly number[], drop = () => this.processor.v.flushAllTlbs()): void {
    this.#space.write(otherCodePage + (codeAddress & 0xfff), Uint8Array.from(code));
    this.#space.write64(tables + 0x3000 + ((codeAddress >>> 12) & 0x1ff) * 8, BigInt(otherCodePage + 0x67));
    drop();
  }
  /** Back to the state before the code ran. What was decoded stays, unless the code has written into its page. */
  reset(c: Program): void {
    const { v } = this.processor;
    if (Buffer.compare(this.#space.read(codePage, pageBytes), this.#code) !== 0) this.#space.write(codePage, this.#code);
    enterKernel(v, { mode: 'long', ip: codeAddress, registers: {}, pageTables: tables, gdt: 0 });
    v.set64(At.cr0, v.get64(At.cr0) | BigInt(Cr0.mp | Cr0.ne | Cr0.wp));
    v.set64(At.cr4, v.get64(At.cr4) | BigInt(Cr4.osfxsr | Cr4.osxmmexcpt));
    v.set(At.cpl, 3);
    v.set(At.segmentRights, 0xfb | Rights.granular | (c.mode === 32 ? Rights.big : Rights.long), Segment.cs);
    // the selectors that Linux gives its processes
    [0x2b, c.mode === 32 ? 0x23 : 0x33, 0x2b, 0x2b, 0, 0].forEach((selector, n) => v.set(At.segmentSelector, selector, n));
    for (const n of [Segment.es, Segment.ss, Segment.ds]) v.set(At.segmentRights, 0xf3 | Rights.granular | Rights.big, n);
    v.set(At.halted, 0);
    v.set(At.pending, 0);
    this.#space.write(windowPage, c.before.memory);
    const { before } = c;
    before.gpr.forEach((value, n) => v.setRegister(n, value));
    writeFlags(v, before.flags);
    v.set(At.mxcsr, before.mxcsr);
    const stack = new FloatStack(v);
    v.set(At.floatControl, before.control);
    stack.status = before.status;
    v.set(At.floatEmpty, ~before.tags & 0xff);
    before.st.forEach((value, n) => stack.setRaw((v.get(At.floatTop) + n) & 7, value));
    before.xmm.forEach((value, n) => {
      v.quads[(v.base + offsetOf('xmm', n)) >>> 3] = value & 0xffff_ffff_ffff_ffffn;
      v.quads[(v.base + offsetOf('xmm', n) + 8) >>> 3] = value >> 64n;
    });
    v.refreshMode();
  }

  /** Has a region made of the code, as if all of it that ran were hot; the software TLB has its memory. */
  translate(): void {
    const { v, paging } = this.processor;
    this.expectHeat();
    for (let page = windowAddress; page < windowAddress + windowBytes; page += pageBytes)
      for (const access of ['read', 'write'] as const) paging.loadSlow(page, 0, 8, access);
    const page = this.#space.frameOf(codePage / pageBytes) * 8 + (Number(v.get64(At.codeMode)) & 7);
    this.translator?.hot(page, codeAddress & 0xfff);
    this.translator?.translate();
  }
  /** What is entered next is hot at once. */
  expectHeat(): void {
    this.processor.v.set(At.hotEntries, 1);
  }
  /** At most so many instructions; fewer when one faults. */
  runSteps(instructions: number): Result & { readonly left: number } {
    const { v } = this.processor;
    let fault: Fault | undefined;
    v.set(At.fuel, instructions);
    try {
      while (v.get(At.fuel) > 0) this.#interpreter.run();
    } catch (problem) {
      fault = faultOf(problem);
    }
    const result = { ...this.#result(fault), left: v.get(At.fuel) };
    v.jump(v.ip);
    return result;
  }
  /** The same on the evaluator. */
  evaluateSteps(instructions: number): Result & { readonly left: number } {
    let fault: Fault | undefined;
    let left = instructions;
    try {
      for (; left > 0; left--) this.#evaluator.step();
    } catch (problem) {
      fault = faultOf(problem);
      left--;
    }
    return { ...this.#result(fault), left };
  }
  /** So many instructions on the interpreter, faults not expected. */
  runFor(instructions: number): void {
    const { v } = this.processor;
    for (let left = instructions; left > 0; left -= quantum) {
      v.set(At.fuel, Math.min(left, quantum));
      while (v.get(At.fuel) > 0) this.#interpreter.run();
    }
    v.jump(v.ip);
  }
  /** One instruction; REP until it is done. */
  run(executor: 'evaluator' | 'interpreter'): Result {
    const { v } = this.processor;
    let fault: Fault | undefined;
    try {
      const start = v.ip;
      for (let n = 0; n < 64; n++) {
        if (executor === 'evaluator') this.#evaluator.step();
        else {
          v.set(At.fuel, 1);
          this.#interpreter.run();
        }
        if (v.ip !== start) break;
      }
    } catch (problem) {
      fault = faultOf(problem);
    }
    const result = this.#result(fault);
    v.jump(v.ip);
    return result;
  }
  /** What there is now. */
  state(): Result {
    return this.#result(undefined);
  }
  #result(fault: Fault | undefined): Result {
    const { v } = this.processor;
    const stack = new FloatStack(v);
    return {
      gpr: Array.from({ length: 16 }, (_, n) => v.register(n)),
      flags: readFlags(v),
      mxcsr: v.get(At.mxcsr),
      control: stack.control,
      status: stack.status,
      tags: ~v.get(At.floatEmpty) & 0xff,
      st: Array.from({ length: 8 }, (_, n) => stack.get(n)),
      xmm: Array.from(
        { length: 16 },
        (_, n) => (v.quads[(v.base + offsetOf('xmm', n)) >>> 3] ?? 0n) | ((v.quads[(v.base + offsetOf('xmm', n) + 8) >>> 3] ?? 0n) << 64n),
      ),
      memory: this.#space.read(windowPage, windowBytes),
      ip: Number(v.ip),
      fault: fault?.vector ?? -1,
      address: fault?.address,
      error: fault?.error,
    };
  }
}
