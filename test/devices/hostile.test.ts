/** A guest that writes random values to every port and device register gets the hardware's answers: nothing is thrown, nothing grows. */
import { expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { deterministicMachine } from '../guest/deterministic.ts';
import { MemoryDisk } from './memory-disk.ts';

const interesting = [0, 1, 2, 3, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x8000_0000, 0xffff_ffff];
const windows = [
  [0xfee0_0000, 0x1000],
  [0xfec0_0000, 0x100],
  [0xfed0_0000, 0x400],
  [0xb000_0000, 0x6000],
  [0xc000_0000, 0x18000],
] as const;

for (const seed of [1n, 2n, 3n]) {
  test(`100,000 random accesses to ports and device memory, seed ${seed}`, { timeout: 60_000 }, async () => {
    const random = new SeededRandom(seed);
    const { machine } = await deterministicMachine({ memoryMiB: 64, commandLine: '', disks: [new MemoryDisk(new Uint8Array(2 ** 20))] });
    const { v } = machine.processor;
    const value = (): number =>
      random.below(2) === 0 ? (interesting[random.below(interesting.length)] ?? 0) : Number(random.next64() & 0xffff_ffffn);
    // give the three virtio functions their place and turn decoding and bus mastering on
    for (let slot = 1; slot <= 3; slot++) {
      v.space.writeDevice(0xb000_0000 + (slot << 15) + 0x10, 4, 0xc000_0000 + (slot - 1) * 0x8000);
      v.space.writeDevice(0xb000_0000 + (slot << 15) + 4, 2, 6);
    }
    for (let n = 0; n < 100_000; n++) {
      const width = [1, 2, 4][random.below(3)] ?? 1;
      if (random.below(2) === 0) {
        const port =
          random.below(4) === 0
            ? random.below(0x1_0000)
            : ([0x20, 0x40, 0x60, 0x70, 0xa0, 0x3f8, 0x4d0, 0x510, 0x600, 0x620, 0xcf8][random.below(11)] ?? 0) + random.below(8);
        if (random.below(2) === 0) v.ports.readPort(port, width);
        else v.ports.writePort(port, width, value());
      } else {
        const [base, size] = windows[random.below(windows.length)] ?? windows[0];
        const address = base + random.below(size);
        if (random.below(2) === 0) v.space.readDevice(address, width);
        else v.space.writeDevice(address, width, value());
      }
    }
    expect(machine.chips.uart.backlog).toBeLessThanOrEqual(65_536);
    expect(v.pool.used).toBeLessThanOrEqual((64 * 2 ** 20) / 4096);
  });
}
