/** A deterministic machine on a bench: its clock counts calls, its serial output is a string; without other wishes it boots the default guest. Runs in the repository. */
import { readFileSync } from 'node:fs';
import { unpack } from '../../src/cli/unpack.ts';
import { buildMachine } from '../../src/domain/build.ts';
import type { MachineConfig } from '../../src/domain/config.ts';
import type { Machine } from '../../src/domain/machine.ts';

type SliceEnd = ReturnType<Machine['runSlice']>;

const file = (name: string) => ({ name, data: new Uint8Array(readFileSync(`guest/${name}`)) });

export async function deterministicMachine(wishes: Partial<MachineConfig>) {
  let output = '';
  let time = 0;
  const machine = await buildMachine(
    {
      memoryMiB: 128,
      commandLine: 'console=ttyS0 quiet',
      ...(wishes.kernel ? {} : { initrd: file('initramfs.cpio.gz') }),
      kernel: file('bzImage'),
      deterministic: true,
      seed: 1n,
      ...wishes,
    },
    {
      hostMilliseconds: () => time++,
      epochMs: 0,
      serialOutput: (byte) => {
        output += String.fromCharCode(byte);
      },
      decompress: unpack,
    },
  );
  /** Runs until the clock has been asked `calls` times. */
  const run = (calls: number): SliceEnd => machine.runSlice(() => time++, time + calls);
  return { machine, output: () => output, run };
}
