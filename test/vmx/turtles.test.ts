/** The level-0 monitor: what runs above it finds the same VMX as without it. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { TurtlesOptions } from '../../src/config/options.ts';
import { Reason } from '../../src/vmx/exit-reasons.ts';
import { fieldDescriptions } from '../../src/vmx/fields.ts';

import { deterministicMachine } from '../guest/deterministic.ts';

const program = { name: 'vmx', data: new Uint8Array(readFileSync(new URL('./vmx.elf', import.meta.url))) };
/** What the monitor does not offer is off in both. */
const cpu = 'x86-64-v2,+vmx,-mbec,-ept-violation-ve';
const trapping: TurtlesOptions = { direct: false, dirty: false, vpid02: true };
const direct: TurtlesOptions = { direct: true, dirty: true, vpid02: true };
const untagged: TurtlesOptions = { direct: false, dirty: true, vpid02: false };
/** It counts time, which the monitor's work does not stop at the same instruction. */
const compared = fieldDescriptions.map((f, place) => ({ ...f, place })).filter((f) => f.name !== 'preemptionTimer');

/** Runs the program; every exit that its hypervisor sees with the whole VMCS it finds. */
async function exitsOf(commandLine: string, turtles: TurtlesOptions | undefined, calls: number) {
  const bench = await deterministicMachine({
    memoryMiB: 32,
    kernel: program,
    commandLine,
    cpu,
    ...(turtles ? { turtles } : {}),
  });
  const { machine } = bench;
  const vmx = machine.turtles?.inner ?? machine.vmx;
  if (!vmx) throw new Error('no VMX');
  const exits: string[] = [];
  vmx.trace = (reason) => {
    if (reason === undefined) return;
    machine.turtles?.syncRareState();
    exits.push(`${reason}: ${compared.map((f) => `${f.name}=${vmx.vmcs.get(f.place).toString(16)}`).join(' ')}`);
  };
  const end = bench.run(calls);
  return { exits, end, output: bench.output() };
}

/** The first exit that differs, with the fields that do. */
function expectSame(exits: readonly string[], wanted: readonly string[]): void {
  const n = exits.findIndex((exit, at) => exit !== wanted[at]);
  if (n < 0) return;
  const other = new Set(wanted[n]?.split(' '));
  const differing = exits[n]?.split(' ').filter((field) => !other.has(field)) ?? [];
  const mine = new Set(exits[n]?.split(' '));
  expect.fail(
    `exit ${n} of ${exits.length}: ${differing.join(' ')} instead of ${[...other].filter((field) => !mine.has(field)).join(' ')}`,
  );
}

test.each([
  ['trapping', trapping],
  ['direct access and merges of what was written', direct],
  ['untagged', untagged],
])('the VMX tests pass above the monitor, and every exit shows the same VMCS: %s', async (_name, switches) => {
  const flat = await exitsOf('', undefined, 1_000_000);
  const turtles = await exitsOf('', switches, 1_000_000);
  expect(turtles.output.split('\n').filter((line) => line.startsWith('BAD'))).toEqual([]);
  expect(turtles.output).toMatch(/done: .* 0 wrong/);
  expect(turtles.end).toEqual(flat.end);
  expect(flat.exits.length).toBeGreaterThan(200);
  expectSame(turtles.exits, flat.exits);
});

/** Up to the first exit of the preemption timer: that comes a few instructions earlier or later. */
const upToTimer = (exits: readonly string[]): readonly string[] => {
  const first = exits.findIndex((exit) => exit.startsWith(`${Reason.preemptionTimer}:`));
  return first < 0 ? exits : exits.slice(0, first);
};
test.each([4, 5, 7, 9, 12, 15])(
  'a hypervisor with random VMCSs and EPT tables sees the same exits above the monitor: seed %i',
  async (seed) => {
    const flat = upToTimer((await exitsOf(`hostile ${seed}`, undefined, 4000)).exits);
    const turtles = upToTimer((await exitsOf(`hostile ${seed}`, seed % 2 === 0 ? trapping : direct, 4000)).exits);
    const both = Math.min(flat.length, turtles.length);
    expect(both).toBeGreaterThan(20);
    expectSame(turtles.slice(0, both), flat.slice(0, both));
  },
);
