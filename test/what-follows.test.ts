/** A region ends where it is large enough, often in the middle of what was decoded at once: what follows becomes a region too, though nothing jumps there. */
import { expect, test } from 'vitest';
import { hotEntries } from '../src/engine/translator/translator.ts';
import { Bench } from './conformance/bench.ts';
import { codeAddress, makeCase } from './conformance/cases.ts';

/** 330 times inc rsi: a region has 300 instructions here, and 64 are decoded at once; dec rdx; jnz to the start (its distance as a signed 32-bit number) */
const length = 330;
const body = Array.from({ length }, () => [0x48, 0xff, 0xc6]).flat();
const back = -(body.length + 9);
const program = [...body, 0x48, 0xff, 0xca, 0x0f, 0x85, ...[0, 8, 16, 24].map((n) => (back >> n) & 0xff), 0xeb, 0xfe];
const rounds = 6 * hotEntries;

/** Loaded, with the counter in RDX and all other registers alike. */
function start(code: readonly number[], count: number, others = 0n): Bench {
  const bench = new Bench({ translate: true });
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  before.gpr.fill(others);
  before.gpr[2] = BigInt(count);
  bench.load({ code: Uint8Array.from(code), before });
  return bench;
}

test('code that follows a region is translated when it becomes hot', () => {
  const bench = start(program, rounds);
  const pieces = 100;
  for (let n = 0; n < pieces; n++) bench.runFor((rounds / pieces) * (length + 2));
  expect(bench.state().gpr[6]).toBe(BigInt(rounds * length));
  expect(bench.translator?.counts.regions).toBeGreaterThan(1);
});

/** cmp rbx, 0; jne behind; thirty times inc rsi; behind: dec rdx; jnz to the start */
const unused = Array.from({ length: 30 }, () => [0x48, 0xff, 0xc6]).flat();
const around = [0x48, 0x83, 0xfb, 0, 0x75, unused.length, ...unused, 0x48, 0xff, 0xca, 0x75, -(11 + unused.length) & 0xff, 0xeb, 0xfe];

test('code that is jumped around each time is not translated with what stands before it', () => {
  const bench = start(around, 3 * hotEntries, 1n);
  for (let n = 0; n < 10; n++) bench.runFor(hotEntries);
  expect(bench.translator?.counts).toMatchObject({ regions: 1, instructions: 4 });
  expect(bench.state().gpr[6]).toBe(1n);
});

/** inc ebx; test bl, 63; jnz behind; thirty times inc rsi; behind: dec rdx; jnz to the start */
const rare = [0xff, 0xc3, 0xf6, 0xc3, 63, 0x75, unused.length, ...unused, 0x48, 0xff, 0xca, 0x75, -(12 + unused.length) & 0xff, 0xeb, 0xfe];

const often = 3 * hotEntries;

test('code that is come to once in 64 times is not translated with what stands before it', () => {
  const bench = start(rare, often);
  for (let n = 0; n < 10; n++) bench.runFor(hotEntries);
  expect(bench.translator?.counts).toMatchObject({ regions: 1, instructions: 5 });
  for (let n = 0; n < 30; n++) bench.runFor(hotEntries);
  expect(bench.state().gpr[6]).toBe(BigInt(30 * Math.floor(often / 64)));
});

test('control goes from the end of a page to its start where the same page is mapped twice in a row', () => {
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  const rounds = 10n;
  // lea rcx, [rip]; cmp rcx, rdx; ja over the jump; jmp to the end of the page
  const distance = 0x1000 - 0x100 - 17 - 16;
  const start = [0x48, 0x8d, 0x0d, 0, 0, 0, 0, 0x48, 0x39, 0xd1, 0x77, 5, 0xe9, distance & 0xff, distance >> 8, 0, 0];
  // dec rbx; jz to the end; jmp rax; jmp .
  const again = [0x48, 0xff, 0xcb, 0x74, 2, 0xff, 0xe0, 0xeb, 0xfe];
  before.gpr[0] = BigInt(codeAddress);
  before.gpr[2] = BigInt((codeAddress & ~0xfff) + 0x1000);
  before.gpr[3] = rounds;
  const bench = new Bench();
  bench.repeatPage();
  bench.load({ code: Uint8Array.from([...start, ...again]), before }, [0x90]);
  bench.runFor(Number(rounds) * 400);
  expect(bench.state().gpr[3]).toBe(0n);
});
