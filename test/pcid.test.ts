/** Process-context identifiers: translations of a process outlive the others' turns, until CR3, INVLPG or INVPCID says otherwise. SDM 3A, 4.10. */
import { expect, test, vi } from 'vitest';
import { readControl, writeControl } from '../src/cpu/control.ts';
import { Fault, Vector } from '../src/cpu/fault.ts';
import { systemRead } from '../src/cpu/page-walk.ts';
import { At, Cr4, tlbContexts } from '../src/cpu/state.ts';
import { Bench, kernelAddress } from './conformance/bench.ts';
import { makeCase, windowAddress } from './conformance/cases.ts';

const noFlush = 1n << 63n;
const [window, global] = [BigInt(windowAddress), BigInt(kernelAddress + 0x1000)];

function start() {
  const bench = new Bench();
  const { before } = makeCase(1) ?? {};
  if (!before) throw new Error('no case');
  bench.load({ code: new Uint8Array([0x90]), before });
  const p = bench.processor;
  p.v.set(At.cpl, 0);
  p.v.refreshMode();
  bench.makeKernelGlobal();
  const tables = readControl(p, 3);
  writeControl(p, 4, readControl(p, 4) | BigInt(Cr4.pcide | Cr4.pge));
  /** Whether a translation is there; it is afterwards. */
  const knows = (address: bigint): boolean => {
    const walk = vi.spyOn(p.paging, 'translate');
    p.paging.read(address, 8, systemRead);
    const walks = walk.mock.calls.length;
    walk.mockRestore();
    return walks === 0;
  };
  const use = (pcid: number, flags = noFlush): void => writeControl(p, 3, tables | BigInt(pcid) | flags);
  /** INVPCID. */
  const invalidate = (type: number, pcid = 0, address = 0n): void => {
    p.store(window, 8, BigInt(pcid));
    p.store(window + 8n, 8, address);
    p.helpers.invalidateContext(p, BigInt(type), window, 0n, 0n, 0n);
  };
  return { p, knows, use, invalidate };
}
/** Both addresses known to PCIDs 1 and 2, of which 2 is in use. */
function twoProcesses() {
  const bench = start();
  for (const pcid of [1, 2]) {
    bench.use(pcid);
    for (const address of [window, global]) bench.knows(address);
  }
  return bench;
}
const both = ({ use, knows }: ReturnType<typeof start>): boolean[] =>
  [1, 2].flatMap((pcid) => {
    use(pcid);
    return [knows(window), knows(global)];
  });

test('a process finds its translations again, and does not see those of another', () => {
  const bench = start();
  const { use, knows } = bench;
  use(1);
  expect(knows(window)).toBe(false);
  expect(knows(window)).toBe(true);
  use(2);
  expect(knows(window)).toBe(false);
  expect(both(bench)).toEqual([true, false, true, false]);
  expect(readControl(bench.p, 3) & noFlush).toBe(0n);
});
test('CR3 without bit 63 drops what is not global, of its own PCID', () => {
  const bench = twoProcesses();
  bench.use(1, 0n);
  expect(both(bench)).toEqual([false, true, true, true]);
});
test('INVLPG drops a page of the process, and a global one of all', () => {
  const bench = twoProcesses();
  bench.p.helpers.invalidatePage(bench.p, global, 0n, 0n, 0n, 0n);
  expect(both(bench)).toEqual([true, false, true, false]);
});
test.each([
  ['one address of a PCID', [0, 1, window], [false, true, true, true]],
  ['a PCID', [1, 1], [false, true, true, true]],
  ['all', [2], [false, false, false, false]],
  ['all but global pages', [3], [false, true, false, true]],
] as const)('INVPCID of %s', (_name, [type, pcid, address], left) => {
  const bench = twoProcesses();
  bench.invalidate(type, pcid, address);
  // the descriptor lies in the window, whose page PCID 2 then reads
  bench.use(1);
  const first = [bench.knows(window), bench.knows(global)];
  bench.use(2);
  expect([...first, bench.knows(window), bench.knows(global)]).toEqual(left);
});
test.each([
  ['an unknown type', 4, 0, 0n],
  ['a PCID of more than 12 bits', 1, 0x1000, 0n],
  ['an address that is not canonical', 0, 1, 1n << 62n],
])('INVPCID of %s faults', (_name, type, pcid, address) => {
  const { invalidate } = start();
  expect(() => invalidate(type, pcid, address)).toThrow(expect.objectContaining({ vector: Vector.protection }) as Fault);
});
test('INVPCID of another PCID than 0 faults without CR4.PCIDE', () => {
  const { p, invalidate } = start();
  writeControl(p, 4, readControl(p, 4) & ~BigInt(Cr4.pcide));
  expect(() => invalidate(1, 1)).toThrow(Fault);
  invalidate(1, 0);
});
test('a change of CR4 drops the translations of every process', () => {
  const bench = twoProcesses();
  const cr4 = readControl(bench.p, 4);
  writeControl(bench.p, 4, cr4 & ~BigInt(Cr4.pge));
  writeControl(bench.p, 4, cr4);
  expect(both(bench)).toEqual([false, false, false, false]);
});
test('there are more processes than contexts: what was not used for longest is forgotten, and nothing is mixed up', () => {
  const { use, knows } = start();
  for (let pcid = 1; pcid <= 3 * tlbContexts; pcid++) {
    use(pcid);
    expect(knows(window)).toBe(false);
  }
  use(3 * tlbContexts - 1);
  expect(knows(window)).toBe(true);
  use(1);
  expect(knows(window)).toBe(false);
});
