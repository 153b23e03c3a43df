/**
 * Random programs that interrupts come into at any instruction, of the handler too: evaluator, interpreter and translator take each at the same one, save the same state
 * and return to it. The handler mixes what was saved into R15.
 */
import { SeededRandom } from '../../src/base/random.ts';
import { deliver, EventType } from '../../src/cpu/interrupts.ts';
import { At, Segment } from '../../src/cpu/state.ts';
import { Bench, kernelAddress, type Result } from './bench.ts';
import { floatProgram } from './float-programs.ts';
import { differs } from './lockstep.ts';
import { memoryProgram } from './memory-programs.ts';
import { type Program, program, refusals, type SequencesReport, wait } from './sequences.ts';

/** Offsets in the supervisor's pages. */
const Layout = { gdt: 0, tss: 0x100, idt: 0x200, handler: 0x800, counter: 0xff8, stackEnd: 0x2000 } as const;
const vector = 0x30;
const idtLimit = (vector + 1) * 16 - 1;
const steps = 500;
/** With more of them in each other the stack would be too small. */
const deepest = 20;
const kernelCode = 8;

/** Saves two registers, adds what was saved to R15, counts in memory in a loop, and returns. */
function handler(random: SeededRandom): number[] {
  const loop = [0x48, 0xff, 0x04, 0x25, 0, 0, 0, 0, 0xfe, 0xcb, 0x75, 0xf4]; // inc qword [counter]; dec bl; jnz
  const counter = kernelAddress + Layout.counter;
  for (let n = 0; n < 4; n++) loop[4 + n] = (counter >>> (8 * n)) & 0xff;
  return [
    ...[0x50, 0x53], // push rax, rbx
    ...[0x48, 0x8b, 0x44, 0x24, 0x10, 0x49, 0x01, 0xc7], // mov rax, [saved RIP]; add r15, rax
    ...[0x48, 0x8b, 0x44, 0x24, 0x20, 0x49, 0x31, 0xc7], // mov rax, [saved RFLAGS]; xor r15, rax
    ...[0x49, 0xd1, 0xc7], // rol r15, 1
    ...[0x48, 0x8b, 0x44, 0x24, 0x28, 0x49, 0x01, 0xc7], // mov rax, [saved RSP]; add r15, rax
    ...[0xb3, 1 + random.below(6), ...loop], // mov bl, n
    ...[0x5b, 0x58, 0x48, 0xcf], // pop rbx, rax; iretq
  ];
}
/** Descriptor tables, a task-state segment with the stack, and the handler. */
function kernelBytes(random: SeededRandom): Uint8Array {
  const bytes = new Uint8Array(0x2000);
  const view = new DataView(bytes.buffer);
  const put = (at: number, value: bigint): void => view.setBigUint64(at, value, true);
  put(Layout.gdt + kernelCode, 0x00af_9b00_0000_ffffn);
  put(Layout.gdt + 0x28, 0x00cf_f300_0000_ffffn);
  put(Layout.gdt + 0x30, 0x00af_fb00_0000_ffffn);
  put(Layout.tss + 4, BigInt(kernelAddress + Layout.stackEnd));
  const entry = BigInt(kernelAddress + Layout.handler);
  put(Layout.idt + vector * 16, (entry & 0xffffn) | (BigInt(kernelCode) << 16n) | (0x8e00n << 32n) | ((entry >> 16n) << 48n));
  put(Layout.idt + vector * 16 + 8, entry >> 32n);
  bytes.set(handler(random), Layout.handler);
  return bytes;
}
function load(bench: Bench, p: Program, kernel: Uint8Array): void {
  bench.loadKernel(kernel);
  bench.load(p, wait);
  const { v } = bench.processor;
  v.set64(At.gdtBase, BigInt(kernelAddress + Layout.gdt));
  v.set(At.gdtLimit, 0x3f);
  v.set64(At.idtBase, BigInt(kernelAddress + Layout.idt));
  v.set(At.idtLimit, idtLimit);
  v.set64(At.segmentBase, BigInt(kernelAddress + Layout.tss), Segment.tr);
  v.set(At.segmentLimit, 0x67, Segment.tr);
  v.set(At.segmentRights, 0x8b, Segment.tr);
}
const programs = [program, memoryProgram, floatProgram];

/** `count` programs from a seed; each failure names its seed and how to repeat it. */
export function interruptedSequences(first: number, count: number): SequencesReport & { readonly interrupts: number } {
  const benches = [new Bench(), new Bench(), new Bench({ translate: true })] as const;
  const [evaluator, interpreter, translator] = benches;
  const failures: string[] = [];
  let cases = 0;
  let interrupts = 0;
  for (let seed = first; cases < count; seed++) {
    const p = programs[seed % programs.length]?.(seed);
    if (!p) continue;
    cases++;
    const random = new SeededRandom(BigInt(seed));
    const kernel = kernelBytes(random);
    const refused = refusals(translator);
    for (const bench of benches) load(bench, p, kernel);
    let found: string | undefined;
    for (let left = steps, depth = 0; left > 0 && found === undefined; ) {
      const piece = Math.min(left, 1 + random.below(40));
      left -= piece;
      const expected = evaluator.evaluateSteps(piece);
      translator.expectHeat();
      const results: readonly (readonly [string, Result & { readonly left: number }, Bench])[] = [
        ['interpreter', interpreter.runSteps(piece), interpreter],
        ['translator', translator.runSteps(piece), translator],
      ];
      for (const [name, result, bench] of results)
        found ??=
          differs(expected, result, ['evaluator', name]) ??
          (Buffer.compare(evaluator.kernel(), bench.kernel()) !== 0 ? `the supervisor's pages: evaluator, ${name}` : undefined) ??
          (expected.fault < 0 && result.left !== 0 ? `${result.left} instructions left in the ${name}` : undefined);
      if (expected.fault >= 0) break;
      const isUser = evaluator.processor.v.cpl === 3;
      if (isUser) depth = 0;
      if (depth >= deepest || (!isUser && random.below(3) > 0)) continue;
      depth++;
      interrupts++;
      for (const { processor } of benches) deliver(processor, { type: EventType.external, vector });
    }
    if (refusals(translator) > refused) found ??= 'a region was refused';
    if (found !== undefined && failures.length < 20)
      failures.push(`[${Buffer.from(p.code).toString('hex')}]: ${found} (repeat: npm run fuzz -- ${seed} 1 interrupts)`);
  }
  return { cases, failures, interrupts, regions: translator.translator?.counts.regions ?? 0 };
}
