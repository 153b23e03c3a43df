/** The jump cache: what it remembers is not found again once the translation is dropped, in another mode, or at an address that is like it. */
import { describe, expect, test } from 'vitest';
import { Vector } from '../src/cpu/fault.ts';
import { At, Cr4, codeTlbOffset, codeTlbSlot } from '../src/cpu/state.ts';
import { Bench } from './conformance/bench.ts';
import { codeAddress, makeCase } from './conformance/cases.ts';

/** inc rsi, or dec rsi; jmp rax */
const program = (step: 0xc6 | 0xce): number[] => [0x48, 0xff, step, 0xff, 0xe0];
const steps = 1_000;

/** Has jumped to its own start often; translated too, by then. */
function jumping(translate: boolean, cpl: 0 | 3 = 3): Bench {
  const bench = new Bench({ translate });
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  before.gpr.fill(0n);
  before.gpr[0] = BigInt(codeAddress);
  bench.load({ code: Uint8Array.from(program(0xc6)), before });
  bench.processor.v.set(At.cpl, cpl);
  bench.processor.v.refreshMode();
  for (let n = 0; n < 40; n++) bench.runFor(steps);
  expect(bench.translator?.counts.regions ?? 0).toBe(translate ? 1 : 0);
  return bench;
}
const codeEntry = ({ processor: { v } }: Bench): number =>
  (v.base + codeTlbOffset + codeTlbSlot(codeAddress, Number(v.get64(At.codeMode)))) >>> 2;
const countOf = (bench: Bench): bigint => BigInt.asIntN(64, bench.state().gpr[6] ?? 0n);

describe.each([
  ['interpreted', false],
  ['translated', true],
])('%s', (_name, translate) => {
  test('an address that differs in its upper bits only is another one', () => {
    const bench = jumping(translate);
    for (let bit = 32n; bit < 47n; bit++) {
      bench.processor.v.setRegister(0, BigInt(codeAddress) ^ (1n << bit));
      const { fault } = bench.runSteps(10);
      expect([bit, fault]).toEqual([bit, Vector.page]);
      bench.processor.v.jump(BigInt(codeAddress));
    }
  });
  test.each([
    ['INVLPG', 3, (bench: Bench) => bench.processor.paging.invalidatePage(BigInt(codeAddress))],
    ['INVLPG', 0, (bench: Bench) => bench.processor.paging.invalidatePage(BigInt(codeAddress))],
    ['a change of CR3', 3, (bench: Bench) => bench.processor.v.filled.flushLocal()],
    ['a change of CR3, whose page is not global,', 0, (bench: Bench) => bench.processor.v.filled.flushLocal()],
  ] as const)('%s at CPL %i drops what was found', (_name, cpl, drop) => {
    const bench = jumping(translate, cpl);
    const before = countOf(bench);
    bench.replaceCode(program(0xce), () => drop(bench));
    bench.runFor(steps);
    expect(countOf(bench) - before).toBe(BigInt(-steps / 2));
  });
  test('INVLPG drops what was found of a page whose place in the code TLB another one has taken', () => {
    const bench = jumping(translate);
    const { v, paging } = bench.processor;
    const conflicting = codeAddress + 0x100_0000;
    bench.mapCodeAt(conflicting);
    bench.replaceCode(program(0xce), () => {});
    const run = (): bigint => {
      const before = countOf(bench);
      v.jump(BigInt(conflicting + 3)); // the jump
      bench.runFor(steps);
      return countOf(bench) - before;
    };
    expect(run()).toBe(BigInt(steps / 2)); // what is remembered
    expect(v.words[codeEntry(bench)]).toBe((conflicting & ~0xfff) | Number(v.get64(At.codeMode)));
    paging.invalidatePage(BigInt(codeAddress));
    expect(run()).toBe(BigInt(-steps / 2));
  });
  test('a page fault drops what was found', () => {
    const bench = jumping(translate);
    const { v } = bench.processor;
    const entry = codeEntry(bench);
    v.words[entry] = v.words[entry + 1] = -1; // as an instruction on two pages does, whose second is elsewhere now
    bench.unmapCode();
    expect(bench.runSteps(1).fault).toBe(Vector.page);
    const before = countOf(bench);
    bench.replaceCode(program(0xce), () => {});
    bench.runFor(steps);
    expect(countOf(bench) - before).toBe(BigInt(-steps / 2));
  });
  test('a page of the user is not executed by the supervisor under SMEP', () => {
    const bench = jumping(translate);
    const { v } = bench.processor;
    bench.loadNext([0xff, 0xe0], false); // jmp rax
    v.jump(BigInt((codeAddress & ~0xfff) + 0x1000));
    v.set64(At.cr4, v.get64(At.cr4) | BigInt(Cr4.smep));
    v.set(At.cpl, 0);
    v.refreshMode();
    const { fault, left } = bench.runSteps(10);
    expect([fault, left]).toEqual([Vector.page, 9]);
  });
});
