/** Machines that are saved and restored: the run is the same, and what is not a saved machine is refused. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { stateText } from '../../src/base/stateful.ts';
import type { MachineConfig } from '../../src/domain/config.ts';
import type { Machine } from '../../src/domain/machine.ts';
import { saveMachine } from '../../src/domain/saved.ts';
import type { BlockDevice } from '../../src/storage/block-device.ts';
import { MemoryDisk } from '../devices/memory-disk.ts';
import { type Bench, deterministicMachine, restoredMachine } from './deterministic.ts';

const elf = (name: string) => ({ name, data: new Uint8Array(readFileSync(new URL(`../${name}/${name}.elf`, import.meta.url))) });
const saved = (machine: Machine): Uint8Array[] => [...saveMachine(machine)];
const joined = (chunks: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(chunks));

/** All that the guest could tell two machines apart by. */
function digest(machine: Machine): string {
  const hash = createHash('sha256');
  for (const [name, part] of machine.stateful) hash.update(name).update(stateText(part.state));
  for (const { page, bytes } of machine.processor.v.space.touched())
    if (bytes.some((byte) => byte !== 0)) hash.update(String(page)).update(bytes);
  return hash.digest('hex');
}
/** Every VM exit from now on, with the instructions retired before it. */
function exitsOf({ machine }: Bench): readonly string[] {
  const exits: string[] = [];
  const guests = machine.vmx ?? machine.svm;
  if (!guests) throw new Error('no guests');
  guests.trace = (reason, line) => void (reason !== undefined && exits.push(`${machine.retired} ${line}`));
  return exits;
}

test.each([
  ['vmx', 'x86-64-v2,+vmx', '', 12],
  ['svm', 'x86-64-v2,+svm', '', 6],
  ['svm', 'x86-64-v2,+svm', 'hostile 2', 6],
] as const)(
  'restored again and again while a hypervisor runs its tests, the machine does the same: %s',
  async (name, cpu, commandLine, times) => {
    const config: Partial<MachineConfig> = { memoryMiB: 32, kernel: elf(name), commandLine, cpu };
    const whole = await deterministicMachine(config);
    const wholeExits = exitsOf(whole);
    let bench = await deterministicMachine(config);
    const [outputs, exits]: [string[], (readonly string[])[]] = [[], []];
    let inGuests = 0;
    for (let n = 0; n <= times; n++) {
      exits.push(exitsOf(bench));
      const last = n === times;
      // slices of which some end while a guest runs
      for (let slices = 0; slices < (last ? 1000 : 37 * (n + 1)); slices++) {
        bench.run(last ? 100 : 1);
        whole.run(last ? 100 : 1);
        if (!last && slices > 20 && bench.machine.guests?.inGuest) break;
      }
      outputs.push(bench.output());
      if (last) break;
      if (bench.machine.guests?.inGuest) inGuests++;
      saved(whole.machine); // it forgets what it knows of tables, as the other does
      bench = await restoredMachine(saved(bench.machine));
    }
    expect(inGuests).toBeGreaterThan(times / 3);
    expect(exits.flat()).toEqual(wholeExits);
    expect(outputs.join('')).toEqual(whole.output());
    expect(bench.machine.stopReason).toEqual(whole.machine.stopReason);
    // a hypervisor that ends in a loop is stopped at any turn of it
    if (whole.machine.stopReason) expect(digest(bench.machine)).toBe(digest(whole.machine));
  },
);

function type({ machine, run }: Bench, text: string): void {
  for (const c of text) {
    machine.chips.uart.receive(c.charCodeAt(0));
    run(30);
  }
}
const sh = (b: Bench, text: string, until: RegExp): void => {
  type(b, text);
  for (let n = 0; n < 300 && !until.test(b.output()); n++) b.run(100);
  expect(b.output()).toMatch(until);
};

test('a guest at work, with a disk, goes on as if nothing had been; what does not fit is refused', { timeout: 120_000 }, async () => {
  const disk = new MemoryDisk(new Uint8Array(2 ** 20));
  const bench = await deterministicMachine({ disks: [disk] });
  for (let n = 0; n < 300 && !bench.output().includes('# '); n++) bench.run(100);
  sh(
    bench,
    'echo kept on disk > /dev/vda; sync; n=0; while [ $n -lt 60 ]; do n=$((n+1)); echo "turn $n"; done; poweroff -f\n',
    /turn 20\r/,
  );
  const chunks = saved(bench.machine);
  const copy = disk.copy();
  const again = await restoredMachine(chunks, { disks: [copy] });
  const interpreted = await restoredMachine(chunks, { disks: [disk.copy()], translator: false });
  const before = bench.output().length;
  for (const b of [bench, again, interpreted]) for (let n = 0; n < 300 && b.run(100).kind !== 'stopped'; n++);
  expect(bench.machine.stopReason).toEqual({ kind: 'power-off' });
  expect(bench.output().slice(before)).toMatch(/^[\sturn]*2\d\r[\s\S]*turn 60\r/);
  for (const other of [again, interpreted]) {
    expect(other.output()).toBe(bench.output().slice(before));
    expect(other.machine.retired).toBe(bench.machine.retired);
    expect(digest(other.machine)).toBe(digest(bench.machine));
  }
  const reader = await restoredMachine(chunks, { disks: [copy] });
  reader.machine.chips.uart.receive(3); // Ctrl-C
  sh(reader, 'head -c 12 /dev/vda; echo $((6*7))\n', /kept on disk42/);

  copy.write(1, new Uint8Array(512));
  const refusal = async (bytes: Iterable<Uint8Array>, disks: BlockDevice[]): Promise<string> =>
    restoredMachine(bytes, { disks }).then(
      () => 'restored',
      (problem: Error) => problem.message,
    );
  expect(await refusal(chunks, [copy])).toMatch(/^disk disk0 was written after the machine was saved/);
  expect(await refusal(chunks, [])).toBe('has the disks disk0 (2048 sectors): give them in this order');
  expect(await refusal(chunks, [new MemoryDisk(new Uint8Array(512))])).toMatch(/^disk 1 is not as it was/);
  const bytes = joined(chunks);
  const text = new TextDecoder('latin1').decode(bytes.subarray(0, 40_000));
  const changed = (from: string, to: string): Uint8Array[] => [
    new Uint8Array(Buffer.from(text.slice(0, text.indexOf('}}\n')).replace(from, to), 'latin1')),
    bytes.subarray(text.indexOf('}}\n')),
  ];
  expect(text).toContain('"halted"');
  const damages: readonly [Iterable<Uint8Array>, RegExp][] = [
    [[], /damaged: it ends too early/],
    [[new TextEncoder().encode('#!/bin/sh\necho this is a script\n')], /is not a saved machine/],
    [[new TextEncoder().encode('Testudo saved machine 9\n{}\n')], /another version/],
    [[bytes.subarray(0, 1000)], /ends too early/],
    [[bytes.subarray(0, bytes.length - 4)], /ends too early/],
    [[bytes.subarray(0, 200_000)], /ends too early/],
    [changed('"memoryMiB":128', '"memoryMiB":99999999'), /header lacks parts/],
    [changed('"memoryMiB":128', '"memoryMiB":16'), /a page that the machine does not have/],
    [changed('"halted":[', '"halted":["x",'), /processor.halted does not fit/],
    [changed('"deadlines":[', '"deadlines":[1,'), /timers.deadlines does not fit/],
    [changed('"segmentLimit":[', '"segmentLimit":[1,'), /processor.segmentLimit does not fit/],
    [changed('"halted"', '"holted"'), /processor.halted does not fit/],
    [changed('"value":"', '"value":"z'), /random.value does not fit/],
  ];
  for (const [damage, message] of damages) expect(await refusal(damage, [disk])).toMatch(message);
});
