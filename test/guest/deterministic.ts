/** A deterministic machine on a bench: its clock counts calls, its serial output is a string; without other wishes it boots the default guest. Runs in the repository. */
import { readFileSync } from 'node:fs';
import { unpack } from '../../src/cli/unpack.ts';
import { buildMachine } from '../../src/domain/build.ts';
import type { MachineConfig, MachineWorld } from '../../src/domain/config.ts';
import type { Machine } from '../../src/domain/machine.ts';
import { restoreMachine } from '../../src/domain/saved.ts';

type SliceEnd = ReturnType<Machine['runSlice']>;

const file = (name: string) => ({ name, data: new Uint8Array(readFileSync(`guest/${name}`)) });

/** A machine that the maker gives, in the bench's world. */
async function onBench(make: (world: MachineWorld) => Promise<Machine>) {
  let output = '';
  let time = 0;
  const machine = await make({
    hostMilliseconds: () => time++,
    epochMs: 0,
    serialOutput: (byte) => {
      output += String.fromCharCode(byte);
    },
    decompress: unpack,
  });
  /** Runs until the clock has been asked `calls` times. */
  const run = (calls: number): SliceEnd => machine.runSlice(() => time++, time + calls);
  return { machine, output: () => output, run };
}
export type Bench = Awaited<ReturnType<typeof onBench>>;

export const deterministicMachine = (wishes: Partial<MachineConfig>): Promise<Bench> =>
  onBench((world) =>
    buildMachine(
      {
        memoryMiB: 128,
        commandLine: 'console=ttyS0 quiet',
        ...(wishes.kernel ? {} : { initrd: file('initramfs.cpio.gz') }),
        kernel: file('bzImage'),
        deterministic: true,
        seed: 1n,
        ...wishes,
      },
      world,
    ),
  );
export const restoredMachine = (saved: Iterable<Uint8Array>, parts: Parameters<typeof restoreMachine>[1] = {}): Promise<Bench> =>
  onBench((world) => restoreMachine(saved, parts, world));
