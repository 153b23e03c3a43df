/** A bare multiboot program (modes.s) that walks through the processor's modes. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { buildMachine } from '../../src/domain/build.ts';

const program = new Uint8Array(readFileSync(new URL('./modes.bin', import.meta.url)));

async function run(data: Uint8Array, modules: readonly { name: string; arguments: string; data: Uint8Array }[] = []) {
  let output = '';
  let time = 0;
  const machine = await buildMachine(
    { memoryMiB: 32, kernel: { name: 'modes', data }, modules, commandLine: '', deterministic: true, seed: 1n },
    {
      hostMilliseconds: () => time++,
      epochMs: 0,
      serialOutput: (byte) => {
        output += String.fromCharCode(byte);
      },
      decompress: (packed) => Promise.resolve(packed),
    },
  );
  const end = machine.runSlice(() => time++, 1000);
  return { output, end };
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
