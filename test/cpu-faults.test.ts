/** Breakpoints, alignment checks and other faults that random vectors do not reach: small cases on the bench, on both executors. */
import { expect, test } from 'vitest';
import { setSegment } from '../src/cpu/segments.ts';
import { At, Cr0, Cr4, Flag, Segment } from '../src/cpu/state.ts';
import { Bench } from './conformance/bench.ts';
import { codeAddress, liveStart, makeCase, windowAddress, windowBytes } from './conformance/cases.ts';

const executors = ['evaluator', 'interpreter'] as const;
const state = () => {
  const before = makeCase(3)?.before;
  if (!before) throw new Error('no state');
  before.gpr[7] = BigInt(windowAddress + liveStart);
  before.flags = 0x202;
  return before;
};
const code = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));

for (const executor of executors) {
  test(`${executor}: a data breakpoint notes the store that meets it, and only that`, () => {
    const bench = new Bench();
    const { v } = bench.processor;
    for (const [hex, hit] of [
      ['88 07', 0],
      ['88 47 04', 1],
      ['48 89 07', 1],
      ['8a 47 04', 0],
    ] as const) {
      bench.load({ code: code(hex), before: state() });
      v.set64(At.debug, BigInt(windowAddress + liveStart + 4), 0);
      v.set64(At.debug, 0x0001_0401n, 7); // local breakpoint 0: one byte, writes
      v.flushTlb();
      v.set(At.debugHits, 0);
      expect(bench.run(executor).fault).toBe(-1);
      expect(v.get(At.debugHits), hex).toBe(hit);
    }
  });
  test(`${executor}: with AM and AC an unaligned access of CPL 3 is #AC, an aligned one is not`, () => {
    const bench = new Bench();
    const { v } = bench.processor;
    for (const [hex, fault] of [
      ['8b 07', -1],
      ['8b 47 01', 17],
      ['8a 47 01', -1],
      ['89 47 02', 17],
    ] as const) {
      const before = state();
      before.flags |= Flag.alignment;
      bench.load({ code: code(hex), before });
      v.set64(At.cr0, v.get64(At.cr0) | BigInt(Cr0.am));
      v.refreshMode();
      expect(bench.run(executor).fault, hex).toBe(fault);
    }
  });
  test(`${executor}: the farthest RIP-relative operand is a page fault at its own address`, () => {
    const bench = new Bench();
    bench.load({ code: code('8b 05 ff ff ff 7f'), before: state() });
    const { fault, address } = bench.run(executor);
    expect(fault).toBe(14);
    expect(address).toBe(BigInt(codeAddress + 6 + 0x7fff_ffff));
  });
  test(`${executor}: privileged instructions of CPL 3 are #GP, missing ones #UD`, () => {
    const bench = new Bench();
    for (const [hex, fault] of [
      ['f4', 13],
      ['0f 32', 13],
      ['0f 20 c0', 13],
      ['0f 01 3f', 13],
      ['0f 0b', 6],
      ['f0 01 c0', 6],
      ['c5 f8 77', 6],
      ['0f 01 c1', 6],
    ] as const) {
      bench.load({ code: code(hex), before: state() });
      expect(bench.run(executor).fault, hex).toBe(fault);
    }
  });
  test(`${executor}: a store of ten bytes that ends on a page that is not there stores nothing`, () => {
    const bench = new Bench();
    const before = state();
    before.control = 0x37f;
    before.tags = 0xff;
    before.st[0] = 0x4000_c90f_daa2_2168_c235n;
    before.gpr[7] = BigInt(windowAddress + windowBytes - 8);
    before.memory.fill(0);
    bench.load({ code: code('db 3f'), before }); // fstp tbyte [rdi]
    const { fault, memory } = bench.run(executor);
    expect(fault).toBe(14);
    expect(memory.every((byte) => byte === 0)).toBe(true);
  });
  test(`${executor}: logarithms of numbers far from 1 end, with the right value`, () => {
    const bench = new Bench();
    const before = state();
    before.control = 0x37f;
    before.status = 0;
    before.tags = 0xff;
    before.st[0] = 0x4009_8000_0000_0000_0000n; // 1024
    before.st[1] = 0x3fff_8000_0000_0000_0000n; // 1
    bench.load({ code: code('d9 f1'), before });
    expect(bench.run(executor).st[0]).toBe(0x4002_a000_0000_0000_0000n); // 10
    before.st[0] = 0xbffe_ffff_ffff_ffff_ffffn; // just above -1: FYL2XP1 is undefined there, but has to end
    bench.load({ code: code('d9 f9'), before });
    expect(bench.run(executor).fault).toBe(-1);
  });
}

test('interpreter: more shapes of instructions than handlers fit only cost time', { timeout: 60_000 }, () => {
  const bench = new Bench();
  const before = state();
  // PSHUF*, SHUFP*, CMP*, PBLENDW, BLENDP*, ROUND*, PALIGNR, DPP*, MPSADBW, INSERTPS, with every immediate
  const scalars = ['f3 {} 0f 70', 'f2 {} 0f 70', '{} 0f c6', '{} 0f c2', 'f3 {} 0f c2', 'f2 {} 0f c2'];
  const packed = ['70', 'c6', 'c2', '3a 08', '3a 09', '3a 0a', '3a 0b', '3a 0c', '3a 0d', '3a 0e', '3a 0f', '3a 21'];
  const opcodes = [...scalars, ...packed.map((opcode) => `66 {} 0f ${opcode}`)].map((opcode) => `${opcode} c1`);
  const forms = ['', '48', '67', '67 66 48'];
  for (const form of forms) {
    for (const opcode of opcodes) {
      for (let immediate = 0; immediate < 256; immediate += 1) {
        const [prefix = '', rex = ''] = form.startsWith('67') ? [form.slice(0, 2), form.slice(3).replace('66 ', '')] : ['', form];
        bench.load({ code: code(`${prefix} ${opcode.replace('{}', rex)} ${immediate.toString(16).padStart(2, '0')}`), before });
        expect(bench.run('interpreter').fault).toBe(-1);
      }
    }
  }
});

test('INT n in virtual-8086 mode with VME goes to the program’s own handler where the TSS’s map has a clear bit', () => {
  const { processor: p } = new Bench();
  const { v } = p;
  v.set64(At.cr0, BigInt(Cr0.pe));
  v.set64(At.cr4, BigInt(Cr4.vme));
  v.set(At.systemFlags, Flag.virtual8086 | Flag.iopl | Flag.interrupt);
  v.set(At.cpl, 3);
  for (const [n, base] of [
    [Segment.cs, 0x5000n],
    [Segment.ss, 0n],
  ] as const)
    setSegment(v, n, Number(base >> 4n), { base, limit: 0xffff, rights: 0xf3 });
  setSegment(v, Segment.tr, 8, { base: 0x3000n, limit: 0x2000, rights: 0x8b });
  v.space.write16(0x3066, 0x88); // I/O map base; the redirection map is in the 32 bytes below
  v.space.write32(0x10 * 4, 0x1234_5678);
  v.setRegister(4, 0x2000n);
  v.set(At.length, 2);
  v.jump(0x100n);
  v.refreshMode();
  p.helpers.softwareInterrupt(p, 0x10n, 0n, 0n, 0n, 0n);
  expect(v.get(At.segmentSelector, Segment.cs)).toBe(0x1234);
  expect(v.ip).toBe(0x5678n);
  expect([0x1ffa, 0x1ffc, 0x1ffe].map((at) => v.space.read16(at))).toEqual([0x102, 0x500, 0x3202]);
  expect(v.systemFlags & Flag.interrupt).toBe(0);

  v.space.write16(0x3068 + 2, 1); // vector 0x10 belongs to the protected-mode handler: there is no IDT
  v.set(At.idtLimit, 0);
  expect(() => p.helpers.softwareInterrupt(p, 0x10n, 0n, 0n, 0n, 0n)).toThrow();
});
