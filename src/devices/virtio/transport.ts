/** Virtio over PCI, modern interface only. Virtio 1.2, 4.1. One BAR holds all structures and the MSI-X table. */
import type { Stateful } from '../../base/stateful.ts';
import type { BusMemory, Line } from '../device.ts';
import { type Bar, type MsiMessage, PciFunction } from '../pci/function.ts';
import { Queue } from './queue.ts';

export interface VirtioDevice extends Stateful {
  readonly name: string;
  /** Virtio 1.2, chapter 5. */
  readonly type: number;
  readonly classCode: number;
  readonly features: bigint;
  /** Sizes of the queues: powers of two. */
  readonly queueSizes: readonly number[];
  /** Device configuration space. */
  readonly config: Uint8Array;
  /** Gives the device its queues and its way to interrupt the driver; once, before anything else. */
  connect(queues: readonly Queue[], interrupt: (queue: Queue) => void): void;
  /** The driver rang: requests may wait in a queue. */
  notify(index: number, queue: Queue): void;
  /** The driver is ready; queues are as it set them up. */
  start(): void;
  reset(): void;
}

const Status = { driverOk: 4, featuresOk: 8, needsReset: 0x40 } as const;
const Feature = { indirect: 1n << 28n, eventIndex: 1n << 29n, version1: 1n << 32n } as const;
const Layout = { common: 0, isr: 0x1000, device: 0x2000, notify: 0x3000, table: 0x4000, pending: 0x5000, size: 0x8000 } as const;
const noVector = 0xffff;

export interface TransportParts {
  readonly device: VirtioDevice;
  readonly memory: BusMemory;
  readonly sendMessage: (message: MsiMessage) => void;
  readonly intx: Line;
}

const powerOn = () => ({ status: 0, deviceFeatureSelect: 0, driverFeatureSelect: 0, driverFeatures: 0n, queueSelect: 0, configVector: noVector, isr: 0, generation: 0 });

export class VirtioTransport {
  readonly function: PciFunction;
  readonly device: VirtioDevice;
  readonly queues: readonly Queue[];
  readonly #features: bigint;
  state = powerOn();

  constructor({ device, memory, sendMessage, intx }: TransportParts) {
    this.device = device;
    this.queues = device.queueSizes.map((size) => new Queue(memory, size));
    device.connect(this.queues, (queue) => this.interrupt(queue));
    this.#features = device.features | Feature.version1 | Feature.indirect | Feature.eventIndex;
    const bar: Bar = { index: 0, size: Layout.size, read: (o, w) => this.#read(o, w), write: (o, w, v) => this.#write(o, w, v) };
    this.function = new PciFunction({
      identity: { vendor: 0x1af4, device: 0x1040 + device.type, subsystem: 0x1100, classCode: device.classCode, revision: 1 },
      bars: [bar], msix: { vectors: device.queueSizes.length + 1, bar: 0, tableOffset: Layout.table, pendingOffset: Layout.pending }, sendMessage, intx,
    });
    this.#capability(1, Layout.common, 0x38);
    this.#capability(3, Layout.isr, 1);
    this.#capability(4, Layout.device, Math.max(4, device.config.length));
    this.#capability(2, Layout.notify, 4 * this.queues.length, 4);
  }
  #capability(type: number, offset: number, length: number, multiplier?: number): void {
    const body = new Uint8Array(multiplier === undefined ? 14 : 18);
    const view = new DataView(body.buffer);
    body[0] = body.length + 2;
    body[1] = type;
    view.setUint32(6, offset, true);
    view.setUint32(10, length, true);
    if (multiplier !== undefined) view.setUint32(14, multiplier, true);
    this.function.addCapability(9, body);
  }
  /** All that has state, but for the PCI function. */
  get parts(): readonly Stateful[] {
    return [this, this.device, ...this.queues];
  }
  reset(): void {
    this.state = powerOn();
    for (const queue of this.queues) queue.reset();
    this.device.reset();
    this.function.setInterrupt(false);
  }

  /** A queue has something for the driver. */
  interrupt(queue: Queue): void {
    this.#raise(queue.state.vector, 1);
  }
  #raise(vector: number, isr: number): void {
    if (this.function.msixEnabled) {
      if (vector !== noVector) this.function.signal(vector);
      return;
    }
    this.state.isr |= isr;
    this.function.setInterrupt(true);
  }

  #read(offset: number, width: number): number {
    if (offset >= Layout.pending) return this.function.readPending(offset - Layout.pending);
    if (offset >= Layout.table) return this.function.readTable(offset - Layout.table);
    if (offset >= Layout.notify) return 0;
    if (offset >= Layout.device) {
      let value = 0;
      for (let n = 0; n < width; n++) value |= (this.device.config[offset - Layout.device + n] ?? 0) << (8 * n);
      return value >>> 0;
    }
    if (offset >= Layout.isr) {
      const { isr } = this.state;
      this.state.isr = 0;
      this.function.setInterrupt(false);
      return isr;
    }
    return this.#readCommon(offset);
  }
  #readCommon(offset: number): number {
    const s = this.state;
    const queue = this.queues[s.queueSelect];
    const q = queue?.state;
    const low = (n: number): number => n >>> 0;
    const high = (n: number): number => Math.floor(n / 2 ** 32);
    switch (offset) {
      case 0x00: return s.deviceFeatureSelect;
      case 0x04: return s.deviceFeatureSelect > 1 ? 0 : Number((this.#features >> BigInt(32 * s.deviceFeatureSelect)) & 0xffff_ffffn);
      case 0x08: return s.driverFeatureSelect;
      case 0x0c: return s.driverFeatureSelect > 1 ? 0 : Number((s.driverFeatures >> BigInt(32 * s.driverFeatureSelect)) & 0xffff_ffffn);
      case 0x10: return s.configVector;
      case 0x12: return this.queues.length;
      case 0x14: return s.status | (this.queues.some((x) => x.state.broken) ? Status.needsReset : 0);
      case 0x15: return s.generation;
      case 0x16: return s.queueSelect;
      case 0x18: return q?.size ?? 0;
      case 0x1a: return q?.vector ?? noVector;
      case 0x1c: return q?.enabled ? 1 : 0;
      case 0x1e: return s.queueSelect;
      case 0x20: return low(q?.descriptors ?? 0);
      case 0x24: return high(q?.descriptors ?? 0);
      case 0x28: return low(q?.driver ?? 0);
      case 0x2c: return high(q?.driver ?? 0);
      case 0x30: return low(q?.device ?? 0);
      case 0x34: return high(q?.device ?? 0);
      default: return 0;
    }
  }

  #write(offset: number, _width: number, value: number): void {
    if (offset >= Layout.pending) return;
    if (offset >= Layout.table) return this.function.writeTable(offset - Layout.table, value);
    if (offset >= Layout.notify) {
      const index = (offset - Layout.notify) >> 2;
      const queue = this.queues[index];
      if (queue && (this.state.status & Status.driverOk) !== 0) this.device.notify(index, queue);
      return;
    }
    if (offset < Layout.isr) this.#writeCommon(offset, value);
  }
  #vector(value: number): number {
    return (value & 0xffff) < this.function.vectors ? value & 0xffff : noVector;
  }
  #writeCommon(offset: number, value: number): void {
    const s = this.state;
    switch (offset) {
      case 0x00: s.deviceFeatureSelect = value; return;
      case 0x08: s.driverFeatureSelect = value; return;
      case 0x0c: {
        if (s.driverFeatureSelect > 1) return;
        const shift = BigInt(32 * s.driverFeatureSelect);
        s.driverFeatures = (s.driverFeatures & ~(0xffff_ffffn << shift)) | (BigInt(value >>> 0) << shift);
        return;
      }
      case 0x10: s.configVector = this.#vector(value); return;
      case 0x14: return this.#setStatus(value & 0xff);
      case 0x16: s.queueSelect = value & 0xffff; return;
    }
    const queue = this.queues[s.queueSelect];
    if (queue) this.#writeQueue(queue, offset, value);
  }
  #writeQueue(queue: Queue, offset: number, value: number): void {
    const q = queue.state;
    if (q.enabled && offset !== 0x1a) return; // fixed once enabled: the addresses have been checked
    const halves = (old: number, upper: boolean): number => (upper ? (old % 2 ** 32) + value * 2 ** 32 : Math.floor(old / 2 ** 32) * 2 ** 32 + value);
    switch (offset) {
      case 0x18: {
        const size = value & 0xffff;
        if (size !== 0 && (size & (size - 1)) === 0 && size <= queue.sizeMax) q.size = size;
        return;
      }
      case 0x1a: q.vector = this.#vector(value); return;
      case 0x1c:
        if ((value & 1) !== 0) {
          q.enabled = true;
          q.broken = !addressable(queue);
        }
        return;
      case 0x20: case 0x24: q.descriptors = halves(q.descriptors, offset === 0x24); return;
      case 0x28: case 0x2c: q.driver = halves(q.driver, offset === 0x2c); return;
      case 0x30: case 0x34: q.device = halves(q.device, offset === 0x34); return;
    }
  }
  #setStatus(status: number): void {
    if (status === 0) return this.reset();
    const s = this.state;
    const rises = status & ~s.status;
    s.status = status;
    const refused = (s.driverFeatures & ~this.#features) !== 0n || (s.driverFeatures & Feature.version1) === 0n;
    if ((rises & Status.featuresOk) !== 0 && refused) s.status &= ~Status.featuresOk;
    if ((rises & Status.driverOk) === 0) return;
    for (const queue of this.queues) queue.state.eventIndex = (s.driverFeatures & Feature.eventIndex) !== 0n;
    this.device.start();
  }
}

const addressable = (queue: Queue): boolean => [queue.state.descriptors, queue.state.driver, queue.state.device].every((a) => Number.isSafeInteger(a) && a < 2 ** 52);
