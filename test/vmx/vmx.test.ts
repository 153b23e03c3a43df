/** The bare-metal VMX tests (cases.c, start.s; bare-metal/build.sh vmx makes vmx.elf), and the default guest running itself. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { nestedInitrd, withVmx } from '../../src/cli/nested.ts';
import { memory } from '../../src/cli/prompt.ts';
import { defaultCpu } from '../../src/cpu/cpuid.ts';
import { At } from '../../src/cpu/state.ts';
import type { Machine } from '../../src/domain/machine.ts';
import { saveMachine } from '../../src/domain/saved.ts';
import { describeTranslation, describeVmcs } from '../../src/vmx/inspect.ts';
import type { Vmx } from '../../src/vmx/vmx.ts';
import { type Bench, deterministicMachine, restoredMachine } from '../guest/deterministic.ts';

const program = new Uint8Array(readFileSync(new URL('./vmx.elf', import.meta.url)));
const withVmxCpu = withVmx(defaultCpu);

for (const translator of [true, false]) {
  test(`VMX instructions, entry checks, exits, injection, windows and EPT, translator ${translator ? 'on' : 'off'}`, async () => {
    const bench = await deterministicMachine({
      memoryMiB: 32,
      kernel: { name: 'vmx', data: program },
      commandLine: '',
      cpu: withVmxCpu,
      translator,
    });
    const end = bench.run(1_000_000);
    const lines = bench.output().trim().split('\n');
    expect(lines.filter((line) => line.startsWith('BAD'))).toEqual([]);
    expect(lines.filter((line) => line.startsWith('ok')).length).toBeGreaterThan(620);
    expect(lines.at(-1)).toMatch(/^done: .* 0 wrong$/);
    expect(end).toEqual({ kind: 'stopped', reason: { kind: 'exit', status: 1 } });
  });
}
test('without VMX the capability MSRs do not exist', async () => {
  const bench = await deterministicMachine({ memoryMiB: 32, kernel: { name: 'vmx', data: program }, commandLine: '' });
  // the program reads the capability MSRs first: #GP without a place to go on, again and again
  expect(bench.run(1000).kind).toBe('slice');
  expect(bench.output()).toBe('');
  expect(bench.machine.counts.faults).toBeGreaterThan(10);
});

test('a hypervisor that writes random values to VMCSs and EPT tables harms nobody but itself, seeds 1 to 12', {
  timeout: 60_000,
}, async () => {
  let exits = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const kernel = { name: 'vmx', data: program };
    const bench = await deterministicMachine({
      memoryMiB: 32,
      kernel,
      commandLine: `hostile ${seed}`,
      cpu: withVmxCpu,
      seed: BigInt(seed),
    });
    bench.run(1000); // an exception would be a bug of ours; again: npm run fuzz:vmx -- SEED 1
    exits += bench.machine.vmx?.counts.total ?? 0;
  }
  expect(exits).toBeGreaterThan(1000);
});

const file = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(`../../guest/${name}`, import.meta.url)));
function nestedMachine() {
  const [kernel, initrd] = [file('bzImage'), file('initramfs.cpio.gz')];
  return deterministicMachine({
    memoryMiB: 512,
    kernel: { name: 'bzImage', data: kernel },
    initrd: { name: 'initramfs', data: nestedInitrd(kernel, initrd) },
    commandLine: 'console=ttyS0 quiet nested=1',
    cpu: withVmxCpu,
  });
}
/** Runs to the shell at level 2. Every exit on the way, with the instructions retired before it. */
function exitsToShell(
  { machine, run, output }: Bench,
  between: (machine: Machine, exits: readonly string[]) => void = () => {},
): readonly string[] {
  const { vmx } = machine;
  if (!vmx) throw new Error('no VMX');
  const exits: string[] = [];
  vmx.trace = (reason, line) => void (reason !== undefined && exits.push(`${machine.retired} ${line}`));
  for (let n = 0; n < 1000 && !/level 2[\s\S]*# /.test(output()); n++) {
    run(100);
    between(machine, exits);
  }
  return exits;
}
/** Makes wrong what is only in objects. */
function forget(vmx: Vmx): void {
  vmx.pin = vmx.primary = vmx.secondary = vmx.exceptionBitmap = -1;
  vmx.vmcs.select(0);
  vmx.shadow.select(0);
  vmx.apic.end();
  vmx.p.paging.second = undefined;
  vmx.ept.use(0n, 0);
  const deadline = vmx.v.get64(At.preemptionDeadline);
  vmx.timer.stop();
  vmx.v.set64(At.preemptionDeadline, deadline);
}
test('the state of VMX is complete in the machine\u2019s: made again after every return to the run loop, the cases run the same', async () => {
  const run = async (between: (vmx: Vmx) => void): Promise<readonly string[]> => {
    const { machine, run, output } = await deterministicMachine({
      memoryMiB: 32,
      kernel: { name: 'vmx', data: program },
      commandLine: '',
      cpu: withVmxCpu,
    });
    const { vmx } = machine;
    if (!vmx) throw new Error('no VMX');
    const exits: string[] = [];
    vmx.trace = (reason, line) => void (reason !== undefined && exits.push(`${machine.retired} ${line}`));
    for (let n = 0; n < 50_000 && run(0).kind !== 'stopped'; n++) {
      machine.wake();
      between(vmx);
    }
    expect(output()).toMatch(/ 0 wrong/);
    return exits;
  };
  const once = await run(() => {});
  let restored = 0;
  const again = await run((vmx) => {
    if (vmx.nonRoot) restored++;
    forget(vmx);
    vmx.v.flushAllTlbs(); // here nobody looks at accessed flags
    vmx.restore();
  });
  expect(once.length).toBeGreaterThan(300);
  expect(restored).toBeGreaterThan(200);
  expect(again).toEqual(once);
});
test('the default guest runs itself under its own KVM: a shell at level 2; saved on the way, it goes the same way', {
  timeout: 200_000,
}, async () => {
  const bench = await nestedMachine();
  for (const c of 'echo $((6*7)) turtles; poweroff\n') bench.machine.chips.uart.receive(c.charCodeAt(0)); // long before anybody reads it
  let looks = 0;
  let saved: Uint8Array[] = [];
  let first = 0;
  const exits = exitsToShell(bench, (machine, so) => {
    const { vmx, processor } = machine;
    if (!vmx?.nonRoot || saved.length > 0) return;
    looks++;
    memory(machine, 0xffff_8880_0d00_0000n, 16); // of level 2's memory, not touched yet: a look there is no exit
    expect(describeTranslation(processor.v, vmx, 0xffff_8880_0d00_0000n, undefined)).toMatch(/mapped|EPT/);
    expect(describeVmcs(vmx, undefined)).toMatch(/in non-root operation[\s\S]*681e guestRip/);
    if (so.length < 1000) return;
    saved = [...saveMachine(machine)];
    first = so.length;
  });
  expect(looks).toBeGreaterThan(0);
  for (let n = 0; n < 1000 && bench.run(100).kind !== 'stopped'; n++);
  expect(bench.output()).toMatch(/42 turtles/);
  expect(bench.run(1)).toEqual({ kind: 'stopped', reason: { kind: 'power-off' } });

  // the machine that was saved while level 2 booted goes the same way, to the same end
  const again = exitsToShell(await restoredMachine(saved));
  const both = Math.min(exits.length - first, again.length);
  expect(both).toBeGreaterThan(1000);
  expect(again.slice(0, both).find((exit, n) => exit !== exits[first + n])).toBeUndefined();
});
