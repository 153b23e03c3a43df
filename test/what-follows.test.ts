/** A region ends where it is large enough, often in the middle of what was decoded at once: what follows becomes a region too, though nothing jumps there. */
import { expect, test } from 'vitest';
import { Bench } from './conformance/bench.ts';
import { makeCase } from './conformance/cases.ts';

/** 230 times inc rsi: a region has 200 instructions, and 64 are decoded at once; dec rdx; jnz to the start (its distance as a signed 32-bit number) */
const length = 230;
const body = Array.from({ length }, () => [0x48, 0xff, 0xc6]).flat();
const back = -(body.length + 9);
const program = [...body, 0x48, 0xff, 0xca, 0x0f, 0x85, ...[0, 8, 16, 24].map((n) => (back >> n) & 0xff), 0xeb, 0xfe];
const rounds = 40_000;

test('code that follows a region is translated when it becomes hot', () => {
  const bench = new Bench({ translate: true });
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  before.gpr.fill(0n);
  before.gpr[2] = BigInt(rounds);
  bench.load({ code: Uint8Array.from(program), before });
  const pieces = 100;
  for (let n = 0; n < pieces; n++) bench.runFor((rounds / pieces) * (length + 2));
  expect(bench.state().gpr[6]).toBe(BigInt(rounds * length));
  expect(bench.translator?.counts.regions).toBeGreaterThan(1);
});

/** cmp rbx, 0; jne behind; thirty times inc rsi; behind: dec rdx; jnz to the start */
const unused = Array.from({ length: 30 }, () => [0x48, 0xff, 0xc6]).flat();
const around = [0x48, 0x83, 0xfb, 0, 0x75, unused.length, ...unused, 0x48, 0xff, 0xca, 0x75, -(11 + unused.length) & 0xff, 0xeb, 0xfe];

test('code that is jumped around each time is not translated with what stands before it', () => {
  const bench = new Bench({ translate: true });
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  before.gpr.fill(1n);
  before.gpr[2] = 20_000n;
  bench.load({ code: Uint8Array.from(around), before });
  for (let n = 0; n < 60; n++) bench.runFor(1_000);
  expect(bench.translator?.counts).toMatchObject({ regions: 1, instructions: 4 });
  expect(bench.state().gpr[6]).toBe(1n);
});
