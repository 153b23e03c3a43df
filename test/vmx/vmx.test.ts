/** The bare-metal VMX tests (cases.c, start.s; build.sh makes vmx.elf), and the default guest running itself. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { nestedInitrd, withVmx } from '../../src/cli/nested.ts';
import { memory } from '../../src/cli/prompt.ts';
import { defaultCpu } from '../../src/cpu/cpuid.ts';
import { describeTranslation, describeVmcs } from '../../src/vmx/inspect.ts';
import { deterministicMachine } from '../guest/deterministic.ts';

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
    expect(lines.filter((line) => line.startsWith('ok')).length).toBeGreaterThan(600);
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
test('the default guest runs itself under its own KVM: a shell at level 2', { timeout: 120_000 }, async () => {
  const [kernel, initrd] = [file('bzImage'), file('initramfs.cpio.zst')];
  const bench = await deterministicMachine({
    memoryMiB: 512,
    kernel: { name: 'bzImage', data: kernel },
    initrd: { name: 'initramfs', data: nestedInitrd(kernel, initrd) },
    commandLine: 'console=ttyS0 quiet nested=1',
    cpu: withVmxCpu,
  });
  let looks = 0;
  for (let n = 0; n < 1000 && !/level 2[\s\S]*# /.test(bench.output()); n++) {
    bench.run(100);
    if (!bench.machine.vmx?.nonRoot) continue;
    looks++;
    memory(bench.machine, 0xffff_8880_0d00_0000n, 16); // of level 2's memory, not touched yet: a look there is no exit
    expect(describeTranslation(bench.machine.processor.v, bench.machine.vmx, 0xffff_8880_0d00_0000n, undefined)).toMatch(/mapped|EPT/);
    expect(describeVmcs(bench.machine.vmx, undefined)).toMatch(/in non-root operation[\s\S]*681e guestRip/);
  }
  expect(looks).toBeGreaterThan(0);
  for (const c of 'echo $((6*7)) turtles; poweroff\n') {
    bench.machine.chips.uart.receive(c.charCodeAt(0));
    bench.run(30);
  }
  for (let n = 0; n < 1000 && bench.run(100).kind !== 'stopped'; n++);
  expect(bench.output()).toMatch(/42 turtles/);
  expect(bench.run(1)).toEqual({ kind: 'stopped', reason: { kind: 'power-off' } });
  expect(bench.machine.vmx?.counts.total).toBeGreaterThan(5000);
});
