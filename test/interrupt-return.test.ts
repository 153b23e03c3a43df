/** IRET to a 64-bit program is part of the instruction's meaning where all is as kernels have it, and leaves what the helper would leave. */
import { afterEach, expect, test, vi } from 'vitest';
import { readFlags } from '../src/cpu/flags.ts';
import { helpers } from '../src/cpu/helpers/index.ts';
import { At, Rights, Segment } from '../src/cpu/state.ts';
import { GuestOperation } from '../src/isa/state-names.ts';
import { Bench } from './conformance/bench.ts';
import { codeAddress, makeCase, windowAddress } from './conformance/cases.ts';

const frameAt = 0x200;
const [codeSelector, stackSelector] = [0x33, 0x2b];
const accessed = { code: 0x00af_fb00_0000_ffffn, data: 0x00cf_f300_0000_ffffn };
const fresh = { code: 0x00af_fa00_0000_ffffn, data: 0x00cf_f200_0000_ffffn };

interface Return {
  readonly descriptors?: { readonly code: bigint; readonly data: bigint };
  readonly frame?: readonly bigint[];
  readonly limit?: number;
  readonly prepare?: (bench: Bench) => void;
}
const target = BigInt(codeAddress + 0x40);
const frameWith = (changes: Partial<Record<'ip' | 'code' | 'flags' | 'pointer' | 'stack', bigint>>): readonly bigint[] => {
  const plain = {
    ip: target,
    code: BigInt(codeSelector),
    flags: 0x246n,
    pointer: BigInt(windowAddress + 0x800),
    stack: BigInt(stackSelector),
  };
  const { ip, code, flags, pointer, stack } = { ...plain, ...changes };
  return [ip, code, flags, pointer, stack];
};

function execute(executor: 'evaluator' | 'interpreter', { descriptors = accessed, frame = frameWith({}), limit = 0x7f, prepare }: Return) {
  const helper = vi.spyOn(helpers, 'interruptReturn');
  const bench = new Bench();
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  const view = new DataView(before.memory.fill(0).buffer);
  view.setBigUint64(codeSelector & ~7, descriptors.code, true);
  view.setBigUint64(stackSelector & ~7, descriptors.data, true);
  frame.forEach((value, n) => view.setBigUint64(frameAt + 8 * n, value, true));
  before.gpr[4] = BigInt(windowAddress + frameAt);
  bench.load({ code: Uint8Array.from([0x48, 0xcf]), before }); // iretq
  const { v } = bench.processor;
  v.set(At.cpl, 0);
  v.set(At.segmentSelector, 0x10, Segment.cs);
  v.set(At.segmentRights, 0xa09b, Segment.cs);
  for (const n of [Segment.es, Segment.ds, Segment.fs, Segment.gs]) v.set(At.segmentRights, Rights.unusable, n);
  v.set64(At.gdtBase, BigInt(windowAddress));
  v.set(At.gdtLimit, limit);
  v.set(At.segmentLimit, 0, Segment.ldtr);
  prepare?.(bench);
  v.refreshMode();
  const { fault, error } = bench.run(executor);
  const fields = ['segmentSelector', 'segmentLimit', 'segmentRights'] as const;
  const segments = [Segment.es, Segment.cs, Segment.ss, Segment.ds, Segment.fs, Segment.gs].map((n) => fields.map((f) => v.get(At[f], n)));
  const mode = [v.get(At.cpl), v.get64(At.codeMode), v.get(At.tlbRead) - v.base, v.get(At.tlbWrite) - v.base, v.get(At.nmiBlocked)];
  const left = { fault, error, ip: v.ip, pointer: v.register(4), flags: readFlags(v), segments, mode };
  return { left, calls: helper.mock.calls.length };
}
afterEach(() => void vi.restoreAllMocks());

const executors = ['evaluator', 'interpreter'] as const;
for (const executor of executors) {
  test.each([0x2n, 0x246n, 0xad7n, 0x3ed7n, 0x1_0202n, 0x20_0293n])(
    `${executor}: with the flags %i it leaves what the helper leaves`,
    (flags) => {
      const frame = frameWith({ flags });
      const quick = execute(executor, { frame });
      vi.restoreAllMocks();
      const slow = execute(executor, { frame, descriptors: fresh });
      expect([quick.calls, slow.calls]).toEqual([0, 1]);
      expect(quick.left).toEqual(slow.left);
      expect(quick.left).toMatchObject({ fault: -1, ip: target, flags: Number(flags) });
    },
  );

  const set = (field: 'nmiBlocked' | 'pending' | 'vmxOperation', value: number) => ({
    prepare: ({ processor: { v } }: Bench) => v.set(At[field], value),
  });
  test.each<[string, Return, object]>([
    ['single steps', { frame: frameWith({ flags: 0x302n }) }, { fault: -1, flags: 0x302 }],
    ['alignment checks', { frame: frameWith({ flags: 0x4_0202n }) }, { fault: -1, flags: 0x4_0202 }],
    ['flags beyond the 32 bits', { frame: frameWith({ flags: 0x1_0000_0202n }) }, { fault: -1, flags: 0x202 }],
    ['an address that is not canonical', { frame: frameWith({ ip: 1n << 47n }) }, { fault: 13, error: 0 }],
    ['a selector of the LDT', { frame: frameWith({ code: 0x37n }) }, { fault: 13, error: 0x34 }],
    ['a null selector', { frame: frameWith({ code: 3n }) }, { fault: 13, error: 0 }],
    ['a selector beyond the table', { limit: 0x36 }, { fault: 13, error: 0x30 }],
    ['the stack of another level', { frame: frameWith({ stack: 0x28n }) }, { fault: 13, error: 0x28 }],
    ['32-bit code', { descriptors: { ...accessed, code: 0x00cf_fb00_0000_ffffn } }, { fault: -1, ip: target }],
    ['a descriptor with AVL', { descriptors: { ...accessed, code: 0x00bf_fb00_0000_ffffn } }, { fault: -1, ip: target }],
    ['code that is not present', { descriptors: { ...accessed, code: 0x00af_7b00_0000_ffffn } }, { fault: 11, error: 0x30 }],
    ['NMIs that were blocked', set('nmiBlocked', 1), { fault: -1, ip: target }],
    ['an interrupt that waits', set('pending', 1), { fault: -1, ip: target }],
    ['a guest under SVM', set('vmxOperation', GuestOperation.svm), { fault: -1, ip: target }],
    [
      'a data segment of an inner level',
      { prepare: ({ processor: { v } }) => v.set(At.segmentRights, 0xc093, Segment.es) },
      { fault: -1, ip: target },
    ],
  ])(`${executor}: %s is the helper's`, (_name, how, expected) => {
    const { left, calls } = execute(executor, how);
    expect(calls).toBe(1);
    expect(left).toMatchObject(expected);
  });
  test(`${executor}: NMIs are not blocked any more when the frame's page is not there`, () => {
    const prepare = ({ processor: { v } }: Bench): void => {
      v.set(At.nmiBlocked, 1);
      v.setRegister(4, BigInt(windowAddress - 0x100));
    };
    const { left } = execute(executor, { prepare });
    expect([left.fault, left.mode.at(-1)]).toEqual([14, 0]);
  });
  test(`${executor}: the kernel of a guest under VMX does not need the helper either`, () => {
    const { left, calls } = execute(executor, set('vmxOperation', GuestOperation.vmx));
    expect([calls, left.fault, left.ip]).toEqual([0, -1, target]);
  });
  test(`${executor}: a descriptor that ends where the table ends is loaded`, () => {
    const { left, calls } = execute(executor, { limit: 0x37 });
    expect([calls, left.fault]).toEqual([0, -1]);
  });
}
