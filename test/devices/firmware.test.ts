/** What a kernel finds before it has drivers: the table of processors and interrupts, BARs, and the limit of slots. */
import { expect, test } from 'vitest';
import { PciHost } from '../../src/devices/pci/host.ts';
import { mpAddress, mpTable } from '../../src/firmware/mp-table.ts';
import { deterministicMachine } from '../guest/deterministic.ts';
import { MemoryDisk } from './memory-disk.ts';

const sum = (data: Uint8Array): number => data.reduce((a, b) => (a + b) & 0xff, 0);

test('the MultiProcessor table adds up, and routes every line of the machine', () => {
  const data = mpTable(0x106ca);
  const view = new DataView(data.buffer);
  const ascii = (at: number): string => String.fromCharCode(...data.subarray(at, at + 4));
  expect([ascii(0), ascii(16), view.getUint32(4, true)]).toEqual(['_MP_', 'PCMP', mpAddress + 16]);
  const length = view.getUint16(16 + 4, true);
  expect([sum(data.subarray(0, 16)), sum(data.subarray(16, 16 + length)), 16 + length]).toEqual([0, 0, data.length]);
  expect(data.length).toBeLessThan(1024 - 16); // of the area's KiB

  const kinds: number[] = [];
  const routes = new Map<string, number>();
  let at = 16 + 44;
  for (let n = 0; n < view.getUint16(16 + 34, true); n++) {
    const kind = data[at] ?? -1;
    kinds.push(kind);
    if (kind === 3) routes.set(`${data[at + 4]}:${data[at + 5]}`, data[at + 7] ?? -1);
    at += kind === 0 ? 20 : 8;
  }
  expect(at).toBe(data.length);
  expect(kinds.filter((kind) => kind < 3)).toEqual([0, 1, 1, 2]);
  expect([routes.get('1:0'), routes.get('1:4'), routes.get('0:4'), routes.get('0:12')]).toEqual([2, 4, 17, 19]);
});

test('virtio functions have their BARs in the window, one behind the other, before a kernel places them', async () => {
  const { machine } = await deterministicMachine({ disks: [new MemoryDisk(new Uint8Array(512))] });
  const pci = machine.chips.portDevices.find((device) => device instanceof PciHost);
  const bar = (slot: number): number => {
    pci?.write(0xcf8, 4, 0x8000_0010 + (slot << 11));
    return pci?.read(0xcfc, 4) ?? 0;
  };
  expect([1, 2, 3].map(bar)).toEqual([0xc000_0000, 0xc000_8000, 0xc001_0000]);
});

test('more disks than there are slots are refused', async () => {
  const disks = Array.from({ length: 30 }, () => new MemoryDisk(new Uint8Array(512)));
  await expect(deterministicMachine({ disks })).rejects.toThrow('30 disks: there are slots for 29');
});
