/** What programs do often stays in its region: 64-bit signed division, and floating point with infinities, zeros and quiet NaNs. */
import { afterEach, expect, test, vi } from 'vitest';
import { helpers } from '../src/cpu/helpers/index.ts';
import { Bench } from './conformance/bench.ts';
import { type CpuState, makeCase } from './conformance/cases.ts';

const rounds = 60_000;
/** dec ecx; jnz back to the start; jmp to itself. */
const looped = (body: readonly number[]): Uint8Array => Uint8Array.from([...body, 0xff, 0xc9, 0x75, -(body.length + 4) & 0xff, 0xeb, 0xfe]);

afterEach(() => {
  vi.restoreAllMocks();
});

/** How often a helper was called once the loop was hot. */
function callsWhenHot(helper: 'divideSigned128' | 'float', body: readonly number[], instructions: number, set: (before: CpuState) => void) {
  const spy = vi.spyOn(helpers, helper);
  const bench = new Bench({ translate: true });
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  before.gpr[1] = BigInt(rounds);
  set(before);
  bench.load({ code: looped(body), before });
  const half = ((instructions + 2) * rounds) / 2;
  bench.runFor(half);
  const soFar = spy.mock.calls.length;
  bench.runFor(half);
  return { calls: spy.mock.calls.length - soFar, state: bench.state() };
}

test('IDIV of a number that fits in 64 bits', () => {
  // mov rax, rsi; cqo; idiv rbx
  const { calls, state } = callsWhenHot('divideSigned128', [0x48, 0x89, 0xf0, 0x48, 0x99, 0x48, 0xf7, 0xfb], 3, (before) => {
    before.gpr[6] = BigInt.asUintN(64, -1_000_000_000_007n);
    before.gpr[3] = 13n;
  });
  expect(calls).toBe(0);
  expect([state.gpr[0], state.gpr[2]].map((n) => BigInt.asIntN(64, n ?? 0n))).toEqual([
    -1_000_000_000_007n / 13n,
    -1_000_000_000_007n % 13n,
  ]);
});
test('IDIV of a larger one is the helper’s', () => {
  // mov rax, rsi; mov rdx, rdi; idiv rbx
  const { calls, state } = callsWhenHot('divideSigned128', [0x48, 0x89, 0xf0, 0x48, 0x89, 0xfa, 0x48, 0xf7, 0xfb], 3, (before) => {
    before.gpr[6] = 5n;
    before.gpr[7] = 1n;
    before.gpr[3] = 1n << 32n;
  });
  expect(calls).toBeGreaterThan(0);
  expect([state.gpr[0], state.gpr[2]]).toEqual([1n << 32n, 5n]);
});
test('comparing with a quiet NaN, the lesser of a number and infinity, zero divided, the root of zero', () => {
  const [nan, infinity, two] = [0x7ff8_0000_0000_1234n, 0x7ff0_0000_0000_0000n, 0x4000_0000_0000_0000n];
  // movapd xmm2, xmm7; ucomisd xmm0, xmm1; setp al; minsd xmm2, xmm3; divsd xmm4, xmm1; sqrtsd xmm5, xmm6
  const body = [
    ...[0x66, 0x0f, 0x28, 0xd7, 0x66, 0x0f, 0x2e, 0xc1, 0x0f, 0x9a, 0xc0],
    ...[0xf2, 0x0f, 0x5d, 0xd3, 0xf2, 0x0f, 0x5e, 0xe1, 0xf2, 0x0f, 0x51, 0xee],
  ];
  const { calls, state } = callsWhenHot('float', body, 6, (before) => {
    before.mxcsr = 0x1f80;
    for (const [n, value] of [nan, two, 0n, two, 0n, two, 0n, infinity].entries()) before.xmm[n] = value;
  });
  expect(calls).toBe(0);
  expect((state.gpr[0] ?? 0n) & 0xffn).toBe(1n);
  expect([2, 4, 5].map((n) => state.xmm[n])).toEqual([two, 0n, 0n]);
  expect(state.mxcsr).toBe(0x1f80);
});
