/** The virtio block device on a bench: a queue in fake memory, a disk that can fail. */
import { expect, test } from 'vitest';
import { VirtioBlock } from '../../src/devices/virtio/block.ts';
import { Queue } from '../../src/devices/virtio/queue.ts';
import type { BlockDevice } from '../../src/storage/block-device.ts';

class FakeMemory {
  readonly bytes = new Uint8Array(65_536);
  readonly #view = new DataView(this.bytes.buffer);
  read = (address: number, length: number): Uint8Array => this.bytes.slice(address, address + length);
  write = (address: number, data: Uint8Array): void => this.bytes.set(data, address);
  read16 = (address: number): number => this.#view.getUint16(address, true);
  read32 = (address: number): number => this.#view.getUint32(address, true);
  read64 = (address: number): bigint => this.#view.getBigUint64(address, true);
  write16 = (address: number, value: number): void => this.#view.setUint16(address, value, true);
  write32 = (address: number, value: number): void => this.#view.setUint32(address, value >>> 0, true);
  write64 = (address: number, value: bigint): void => this.#view.setBigUint64(address, value, true);
}

function bench(disk: Partial<BlockDevice> = {}) {
  const memory = new FakeMemory();
  const content = new Uint8Array(16 * 512).map((_, n) => n >> 9);
  const whole: BlockDevice = {
    id: 'serial-1',
    readOnly: false,
    sectors: 16,
    stamp: '',
    flush: () => true,
    discard: () => true,
    writeZeroes: () => true,
    read: (sector, into) => {
      into.set(content.subarray(sector * 512, sector * 512 + into.length));
      return true;
    },
    write: (sector, data) => {
      content.set(data, sector * 512);
      return true;
    },
    ...disk,
  };
  let interrupts = 0;
  const device = new VirtioBlock(whole);
  device.connect([], () => interrupts++);
  const queue = new Queue(memory, 128);
  Object.assign(queue.state, { size: 8, enabled: true, descriptors: 0x1000, driver: 0x2000, device: 0x3000 });
  /** A request of header, data and status; returns the status byte and what lies in the data buffer. */
  const request = (type: number, sector: bigint, data: Uint8Array, deviceWrites: boolean): { status: number; data: Uint8Array } => {
    memory.write32(0x4000, type);
    memory.write64(0x4008, sector);
    memory.write(0x5000, data);
    memory.bytes[0x6000] = 0xee;
    const descriptor = (n: number, address: number, length: number, flags: number, next: number): void => {
      memory.write64(0x1000 + 16 * n, BigInt(address));
      memory.write32(0x1008 + 16 * n, length);
      memory.write16(0x100c + 16 * n, flags);
      memory.write16(0x100e + 16 * n, next);
    };
    descriptor(0, 0x4000, 16, 1, data.length > 0 ? 1 : 2);
    descriptor(1, 0x5000, data.length, deviceWrites ? 3 : 1, 2);
    descriptor(2, 0x6000, 1, 2, 0);
    const available = memory.read16(0x2002);
    memory.write16(0x2004 + 2 * (available % 8), 0);
    memory.write16(0x2002, available + 1);
    device.notify(0, queue);
    return { status: memory.bytes[0x6000] ?? 0, data: memory.read(0x5000, data.length) };
  };
  return { memory, device, queue, request, content, interrupts: () => interrupts };
}

test('a read gives the sectors, raises an interrupt and fills the used ring', () => {
  const b = bench();
  const { status, data } = b.request(0, 3n, new Uint8Array(1024), true);
  expect(status).toBe(0);
  expect([data[0], data[512]]).toEqual([3, 4]);
  expect(b.interrupts()).toBe(1);
  expect(b.memory.read32(0x3008)).toBe(1025);
});
test('a write changes the disk, and the serial number can be read', () => {
  const b = bench();
  expect(b.request(1, 5n, new Uint8Array(512).fill(0xab), false).status).toBe(0);
  expect(b.content[5 * 512]).toBe(0xab);
  expect(new TextDecoder().decode(b.request(8, 0n, new Uint8Array(20), true).data)).toMatch(/^serial-1/);
});
test('beyond the end, on a full host, or read-only: an I/O error; an unknown type: unsupported', () => {
  expect(bench().request(0, 16n, new Uint8Array(512), true).status).toBe(1);
  expect(bench().request(0, 2n ** 60n, new Uint8Array(512), true).status).toBe(1);
  expect(bench({ write: () => false }).request(1, 0n, new Uint8Array(512), false).status).toBe(1);
  expect(bench({ flush: () => false }).request(4, 0n, new Uint8Array(0), false).status).toBe(1);
  expect(bench({ readOnly: true }).request(1, 0n, new Uint8Array(512), false).status).toBe(1);
  expect(bench().request(77, 0n, new Uint8Array(512), true).status).toBe(2);
});
test('a descriptor loop breaks the queue instead of hanging', () => {
  const b = bench();
  b.memory.write16(0x100c, 1);
  b.memory.write16(0x100e, 0); // descriptor 0 points to itself
  b.memory.write16(0x2004, 0);
  b.memory.write16(0x2002, 1);
  b.device.notify(0, b.queue);
  expect(b.queue.state.broken).toBe(true);
});
test('a table of descriptors at no possible address breaks the queue', () => {
  const b = bench();
  b.memory.write64(0x1000, 2n ** 60n);
  b.memory.write32(0x1008, 32);
  b.memory.write16(0x100c, 4); // descriptor 0 is an indirect table
  b.memory.write16(0x2004, 0);
  b.memory.write16(0x2002, 1);
  b.device.notify(0, b.queue);
  expect(b.queue.state.broken).toBe(true);
});
