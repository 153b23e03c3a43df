/** Bare multiboot programs: one walks through the processor's modes (modes.s), one writes random values to every device (hostile.s). */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { deterministicMachine } from './deterministic.ts';

const file = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(`./${name}`, import.meta.url)));
const program = file('modes.bin');

async function run(data: Uint8Array) {
  const bench = await deterministicMachine({ memoryMiB: 32, kernel: { name: 'modes', data }, commandLine: '' });
  const end = bench.run(1_000_000);
  return { output: bench.output(), end };
}

test('protected, real, virtual-8086, a called task, long and compatibility mode work in turn, and port 0xF4 ends with QEMU’s status', async () => {
  const { output, end } = await run(program);
  expect(output).toBe('PRVTKLC');
  expect(end).toEqual({ kind: 'stopped', reason: { kind: 'exit', status: 0x21 } });
});
test('a triple fault stops the machine, not the program', async () => {
  const broken = program.slice();
  broken.set([0x0f, 0x0b], 32); // UD2 at the entry, with an empty IDT
  expect((await run(broken)).end).toMatchObject({ kind: 'stopped', reason: { kind: 'triple-fault' } });
});
test('a halted guest whose timers keep firing gives the time back to its host', async () => {
  // CLI; PIT counter 0 in mode 2 with a reload of 2; HLT
  const halted = program.slice();
  halted.set([0xfa, 0xb0, 0x14, 0xe6, 0x43, 0xb0, 0x02, 0xe6, 0x40, 0xf4, 0xeb, 0xfd], 32);
  expect((await run(halted)).end).toEqual({ kind: 'slice' });
});
test('500,000 random writes and reads of ports and device registers leave the machine running', { timeout: 30_000 }, async () => {
  const { end } = await run(file('hostile.bin'));
  expect(end).toEqual({ kind: 'stopped', reason: { kind: 'exit', status: 0x21 } });
});
