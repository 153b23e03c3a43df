/**
 * Speed of hot loops: npm run bench:loops [-- --json]. User CPU time; the reference is a loop of JavaScript in the same run, so that ratios mean
 * something on a busy or slow computer. Each program's source is assembled code beside its bytes.
 */
import { Bench } from '../test/conformance/bench.ts';
import { liveStart, makeCase, windowAddress } from '../test/conformance/cases.ts';
import { deterministicMachine } from '../test/guest/deterministic.ts';

interface Program {
  readonly name: string;
  readonly source: string;
  readonly code: string;
}
const programs: readonly Program[] = [
  {
    name: 'integer mix',
    source: `1: imul $0x5851f42d, %rax, %rax
add $0x12345, %rax
mov %rax, %rdx
shr $17, %rdx
xor %rdx, %rax
lea 7(%rax,%rdx,4), %rbx
and $0xffff, %ebx
sub %rbx, %rsi
dec %rcx
jnz 1b`,
    code: '4869c02df451584805452301004889c248c1ea114831d0488d5c900781e3ffff00004829de48ffc975d6cc',
  },
  {
    name: 'loads and stores',
    source: `1: mov (%rdi,%rbx,8), %rax
add %rcx, %rax
mov %rax, 8(%rdi,%rbx,8)
inc %ebx
and $63, %ebx
dec %rcx
jnz 1b`,
    code: '488b04df4801c8488944df08ffc383e33f48ffc975eacc',
  },
  {
    name: 'branches',
    source: `1: imul $1103515245, %eax, %eax
add $12345, %eax
test $0x10000, %eax
jz 2f
add $3, %rsi
jmp 3f
2: sub $5, %rsi
3: cmp %rsi, %rdx
jl 4f
inc %rdx
4: dec %rcx
jnz 1b`,
    code: '69c06d4ec6410539300000a90000010074064883c603eb044883ee054839f27c0348ffc248ffc975d7cc',
  },
  {
    name: 'calls',
    source: `1: call 2f
add %rax, %rsi
dec %rcx
jnz 1b
int3
2: push %rbp
mov %rsp, %rbp
lea 1(%rcx), %rax
pop %rbp
ret`,
    code: 'e8090000004801c648ffc975f3cc554889e5488d41015dc3cc',
  },
  {
    name: 'sse integer',
    source: `1: movdqu (%rdi), %xmm0
paddd %xmm1, %xmm0
pxor %xmm0, %xmm2
pshufd $0x4e, %xmm2, %xmm3
movdqu %xmm3, 16(%rdi)
dec %rcx
jnz 1b`,
    code: 'f30f6f07660ffec1660fefd0660f70da4ef30f7f5f1048ffc975e5cc',
  },
  {
    name: 'sse double',
    source: `1: addsd %xmm1, %xmm0
mulsd %xmm2, %xmm0
subsd %xmm1, %xmm3
dec %rcx
jnz 1b`,
    code: 'f20f58c1f20f59c2f20f5cd948ffc975efcc',
  },
  {
    name: 'string copy',
    source: `1: mov %rdi, %rsi
mov %rdi, %rbx
add $2048, %rdi
mov %rcx, %rdx
mov $256, %ecx
rep movsq
mov %rdx, %rcx
mov %rbx, %rdi
dec %rcx
jnz 1b`,
    code: '4889fe4889fb4881c7000800004889cab900010000f348a54889d14889df48ffc975ddcc',
  },
];
const instructions = 20_000_000;
const repetitions = 3;

const userSeconds = (work: () => void): number => {
  const before = process.cpuUsage();
  work();
  return process.cpuUsage(before).user / 1e6;
};

/** A multiply, a shift and a branch, 20 million times: what JavaScript itself needs. */
function reference(): number {
  let x = 1;
  for (let n = 0; n < 20_000_000; n++) {
    x = (Math.imul(x, 1_103_515_245) + 12_345) | 0;
    if ((x & 0x1_0000) !== 0) x ^= x >>> 7;
  }
  return x;
}

function run(program: Program, translate: boolean): number {
  const bench = new Bench({ translate });
  const before = makeCase(3)?.before;
  if (!before) throw new Error('no state');
  before.gpr[1] = 1n << 40n;
  before.gpr[3] = 0n;
  before.gpr[4] = BigInt(windowAddress + liveStart + 256);
  before.gpr[7] = BigInt(windowAddress + 1024);
  before.mxcsr = 0x1fa0;
  for (let n = 0; n < 4; n++) before.xmm[n] = 0x3ff8_0000_0000_0000n;
  before.xmm[2] = 0x3fe0_0000_0000_0000n;
  before.flags = 0x202;
  bench.load({ code: Uint8Array.from(Buffer.from(program.code, 'hex')), before });
  bench.runFor(2_000_000);
  return Math.min(...Array.from({ length: repetitions }, () => userSeconds(() => bench.runFor(instructions))));
}

async function boot(): Promise<{ readonly seconds: number; readonly retired: number }> {
  const before = process.cpuUsage();
  const { machine, output, run } = await deterministicMachine({ memoryMiB: 256 });
  while (!output().includes('root@testudo')) run(10);
  return { seconds: process.cpuUsage(before).user / 1e6, retired: machine.retired };
}

reference();
const referenceSeconds = Math.min(...Array.from({ length: repetitions }, () => userSeconds(reference)));
const results = programs.map((program) => {
  const seconds = run(program, true);
  const interpreted = instructions / run(program, false) / 1e6;
  return { name: program.name, millionsPerSecond: instructions / seconds / 1e6, interpreted, ratio: seconds / referenceSeconds };
});
const started = await boot();
const geometricMean = Math.exp(results.reduce((sum, r) => sum + Math.log(r.millionsPerSecond), 0) / results.length);
if (process.argv.includes('--json')) {
  process.stdout.write(`${JSON.stringify({ node: process.version, referenceSeconds, results, geometricMean, boot: started }, null, 2)}\n`);
} else {
  process.stdout.write(`Node ${process.version}; reference loop ${(referenceSeconds * 1000).toFixed(0)} ms\n`);
  for (const r of results)
    process.stdout.write(
      `${r.name.padEnd(18)} ${r.millionsPerSecond.toFixed(0).padStart(6)} M instructions/s  ${r.ratio.toFixed(2).padStart(6)} x reference  ${r.interpreted.toFixed(0).padStart(6)} interpreted\n`,
    );
  process.stdout.write(`${'geometric mean'.padEnd(18)} ${geometricMean.toFixed(0).padStart(6)} M instructions/s\n`);
  process.stdout.write(
    `boot to the shell: ${(started.retired / 1e6).toFixed(0)} M instructions, ${started.seconds.toFixed(2)} s of user CPU\n`,
  );
}
