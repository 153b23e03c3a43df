/** Virtio block device. Virtio 1.2, 5.2. */
import { type BlockDevice, sectorBytes } from '../../storage/block-device.ts';
import { type Chain, type Queue, writableBytes } from './queue.ts';
import type { VirtioDevice } from './transport.ts';

const Request = { read: 0, write: 1, flush: 4, id: 8, discard: 11, writeZeroes: 13 } as const;
const Status = { ok: 0, error: 1, unsupported: 2 } as const;
const Feature = { segments: 1n << 2n, readOnly: 1n << 5n, blockSize: 1n << 6n, flush: 1n << 9n, discard: 1n << 13n, writeZeroes: 1n << 14n } as const;
const segmentsMax = 126;
const discardSectorsMax = 1 << 22;

export class VirtioBlock implements VirtioDevice {
  readonly name: string;
  readonly type = 2;
  readonly classCode = 0x01_0000;
  readonly queueSizes = [128];
  readonly features: bigint;
  readonly config: Uint8Array;
  state = {};
  readonly #disk: BlockDevice;
  #interrupt: (queue: Queue) => void = () => {};

  constructor(disk: BlockDevice) {
    this.name = `virtio-blk ${disk.id}`;
    this.#disk = disk;
    const changes = disk.readOnly ? Feature.readOnly : Feature.discard | Feature.writeZeroes;
    this.features = Feature.segments | Feature.blockSize | Feature.flush | changes;
    this.config = new Uint8Array(60);
    const view = new DataView(this.config.buffer);
    view.setBigUint64(0, BigInt(disk.sectors), true);
    view.setUint32(12, segmentsMax, true);
    view.setUint32(20, sectorBytes, true);
    view.setUint32(36, discardSectorsMax, true);
    view.setUint32(40, 1, true);
    view.setUint32(44, 1, true);
    view.setUint32(48, discardSectorsMax, true);
    view.setUint32(52, 1, true);
  }
  start(): void {}
  connect(_queues: readonly Queue[], interrupt: (queue: Queue) => void): void {
    this.#interrupt = interrupt;
  }
  reset(): void {}

  notify(_index: number, queue: Queue): void {
    let wanted = false;
    for (let chain = queue.pop(); chain; chain = queue.pop()) wanted = queue.push(chain, this.#serve(queue, chain)) || wanted;
    if (wanted) this.#interrupt(queue);
  }

  /** Returns the bytes written, the status byte included. */
  #serve(queue: Queue, chain: Chain): number {
    const room = writableBytes(chain);
    if (room === 0) return 0; // no place for a status: nothing can be said
    const request = queue.gather(chain);
    if (request.length < 16) return this.#answer(queue, chain, room, Status.error);
    const view = new DataView(request.buffer);
    const type = view.getUint32(0, true);
    const sector = Number(view.getBigUint64(8, true));
    const data = request.subarray(16);
    switch (type) {
      case Request.read: return this.#read(queue, chain, sector, room);
      case Request.write: return this.#answer(queue, chain, room, this.#write(sector, data));
      case Request.flush: return this.#answer(queue, chain, room, this.#disk.flush() ? Status.ok : Status.error);
      case Request.id: {
        const id = new Uint8Array(20);
        new TextEncoder().encodeInto(this.#disk.id, id);
        queue.scatter(chain, id.subarray(0, room - 1));
        return this.#answer(queue, chain, room, Status.ok);
      }
      case Request.discard: case Request.writeZeroes: return this.#answer(queue, chain, room, this.#clear(type, data));
      default: return this.#answer(queue, chain, room, Status.unsupported);
    }
  }
  #answer(queue: Queue, chain: Chain, room: number, status: number): number {
    queue.scatter(chain, Uint8Array.of(status), room - 1);
    return room;
  }
  #inside(sector: number, bytes: number): boolean {
    return bytes % sectorBytes === 0 && Number.isSafeInteger(sector) && sector + bytes / sectorBytes <= this.#disk.sectors;
  }
  #read(queue: Queue, chain: Chain, sector: number, room: number): number {
    const data = new Uint8Array(room - 1);
    if (!this.#inside(sector, data.length) || !this.#disk.read(sector, data)) return this.#answer(queue, chain, room, Status.error);
    queue.scatter(chain, data);
    return this.#answer(queue, chain, room, Status.ok);
  }
  #write(sector: number, data: Uint8Array): number {
    if (this.#disk.readOnly || !this.#inside(sector, data.length)) return Status.error;
    return this.#disk.write(sector, data) ? Status.ok : Status.error;
  }
  #clear(type: number, data: Uint8Array): number {
    if (this.#disk.readOnly) return Status.error;
    if (data.length !== 16) return Status.unsupported;
    const view = new DataView(data.buffer, data.byteOffset, 16);
    const sector = Number(view.getBigUint64(0, true));
    const sectors = view.getUint32(8, true);
    if (sectors > discardSectorsMax || !this.#inside(sector, sectors * sectorBytes)) return Status.error;
    return (type === Request.discard ? this.#disk.discard(sector, sectors) : this.#disk.writeZeroes(sector, sectors)) ? Status.ok : Status.error;
  }
}
