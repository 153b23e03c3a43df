/** The bare-metal SVM tests (cases.c, start.s; bare-metal/build.sh svm makes svm.elf). */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseCpu } from '../../src/cpu/cpuid.ts';
import type { Svm } from '../../src/svm/svm.ts';
import { deterministicMachine } from '../guest/deterministic.ts';

const kernel = { name: 'svm', data: new Uint8Array(readFileSync(new URL('./svm.elf', import.meta.url))) };
const cpu = 'x86-64-v2,+svm';

test.each([
  ['translator on', cpu, true, 150],
  ['translator off', cpu, false, 150],
  ['without nested paging and next RIPs', `${cpu},-npt,-nrip-save`, true, 130],
])(
  'VMRUN and its checks, intercepts, exceptions, injection, virtual interrupts, nested paging: %s',
  async (_name, model, translator, least) => {
    const bench = await deterministicMachine({ memoryMiB: 32, kernel, commandLine: '', cpu: model, translator });
    const end = bench.run(1_000_000);
    const lines = bench.output().trim().split('\n');
    expect(lines.filter((line) => line.startsWith('BAD'))).toEqual([]);
    expect(lines.filter((line) => line.startsWith('ok')).length).toBeGreaterThan(least);
    expect(lines.at(-1)).toMatch(/^done: .* 0 wrong$/);
    expect(end).toEqual({ kind: 'stopped', reason: { kind: 'exit', status: 1 } });
  },
);

test('a hypervisor that writes random values to VMCBs and nested page tables harms nobody but itself, seeds 1 to 12', {
  timeout: 60_000,
}, async () => {
  let exits = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const bench = await deterministicMachine({ memoryMiB: 32, kernel, commandLine: `hostile ${seed}`, cpu, seed: BigInt(seed) });
    bench.run(1000); // an exception would be a bug of ours
    exits += bench.machine.svm?.counts.total ?? 0;
  }
  expect(exits).toBeGreaterThan(1000);
});

test.each(['', 'hostile 2'])(
  'the state of SVM is complete in the machine\u2019s: made again after every exit and fault, the run is the same %s',
  async (commandLine) => {
    /** Every exit, with the instructions retired before it. */
    const exits = async (between: (svm: Svm) => void): Promise<readonly string[]> => {
      const { machine, run } = await deterministicMachine({ memoryMiB: 32, kernel, commandLine, cpu });
      const { svm } = machine;
      if (!svm) throw new Error('no SVM');
      const seen: string[] = [];
      svm.trace = (reason, line) => void (reason !== undefined && seen.push(`${machine.retired} ${line}`));
      for (let n = 0; n < 1000; n++) {
        run(1);
        between(svm);
      }
      return seen;
    };
    const once = await exits(() => {});
    let restored = 0;
    const again = await exits((svm) => {
      if (svm.inGuest) restored++;
      svm.vmcb.select(0);
      svm.host.select(0);
      svm.paging.use(0n);
      svm.p.paging.second = undefined;
      svm.restore();
    });
    expect(once.length).toBeGreaterThanOrEqual(100);
    expect(restored).toBeGreaterThan(40);
    expect(again).toEqual(once);
  },
);

test('a processor has VMX or SVM', () => {
  expect(() => parseCpu('x86-64-v2,+vmx,+svm')).toThrow("cpu feature 'svm': is AMD's, and vmx is Intel's; a processor has one of them");
  expect(() => parseCpu('x86-64-v2,+svm,+vmx')).toThrow("cpu feature 'vmx': is Intel's");
  expect(() => parseCpu('x86-64-v2,+npt')).toThrow('is a part of svm; write +svm before it');
});
