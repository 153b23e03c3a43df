/**
 * Split virtqueues. Virtio 1.2, 2.7. Everything in guest memory is untrusted: chains are at most as long as the queue, a request's bytes are
 * bounded, and a ring that makes no sense breaks the queue (the device then wants a reset), never the host.
 */
import type { BusMemory } from '../device.ts';

const Flag = { next: 1, write: 2, indirect: 4 } as const;
const noInterrupt = 1;
/** Bytes of one request: more than any driver sends. */
const requestBytesMax = 16 * 2 ** 20;

export interface Buffer {
  readonly address: number;
  readonly length: number;
}
/** A request: what the driver gives, and where the device may answer. */
export interface Chain {
  readonly head: number;
  readonly readable: readonly Buffer[];
  readonly writable: readonly Buffer[];
}

export interface QueueState {
  size: number;
  enabled: boolean;
  vector: number;
  descriptors: number;
  driver: number;
  device: number;
  next: number;
  used: number;
  broken: boolean;
  /** EVENT_IDX was negotiated. */
  eventIndex: boolean;
}

export class Queue {
  readonly sizeMax: number;
  readonly #memory: BusMemory;
  state: QueueState;

  constructor(memory: BusMemory, sizeMax: number) {
    this.#memory = memory;
    this.sizeMax = sizeMax;
    this.state = Queue.powerOn(sizeMax);
  }
  static powerOn(size: number): QueueState {
    return { size, enabled: false, vector: 0xffff, descriptors: 0, driver: 0, device: 0, next: 0, used: 0, broken: false, eventIndex: false };
  }
  reset(): void {
    this.state = Queue.powerOn(this.sizeMax);
  }

  /** The next request, or undefined when there is none (or the queue is broken). */
  pop(): Chain | undefined {
    const s = this.state;
    if (!s.enabled || s.broken) return undefined;
    const available = this.#memory.read16(s.driver + 2);
    const waiting = (available - s.next) & 0xffff;
    if (waiting === 0) {
      if (s.eventIndex) this.#memory.write16(s.device + 4 + 8 * s.size, s.next); // tell me at the next one
      return this.#memory.read16(s.driver + 2) === s.next ? undefined : this.pop();
    }
    if (waiting > s.size) return this.#break();
    const head = this.#memory.read16(s.driver + 4 + 2 * (s.next % s.size));
    s.next = (s.next + 1) & 0xffff;
    return this.#chain(head);
  }
  #break(): undefined {
    this.state.broken = true;
    return undefined;
  }
  #chain(head: number): Chain | undefined {
    const s = this.state;
    const readable: Buffer[] = [];
    const writable: Buffer[] = [];
    let table = s.descriptors;
    let count = s.size;
    let index = head;
    let total = 0;
    for (let steps = 0; ; steps++) {
      if (index >= count || steps > s.size) return this.#break();
      const at = table + 16 * index;
      const address = Number(this.#memory.read64(at));
      const length = this.#memory.read32(at + 8);
      const flags = this.#memory.read16(at + 12);
      if (!Number.isSafeInteger(address + requestBytesMax)) return this.#break();
      if ((flags & Flag.indirect) !== 0) {
        if (table !== s.descriptors || length === 0 || length % 16 !== 0 || length / 16 > s.size || (flags & Flag.next) !== 0) return this.#break();
        table = address;
        count = length / 16;
        index = 0;
        continue;
      }
      total += length;
      if (total > requestBytesMax) return this.#break();
      if ((flags & Flag.write) !== 0) writable.push({ address, length });
      else if (writable.length > 0) return this.#break(); // readable ones come first
      else readable.push({ address, length });
      if ((flags & Flag.next) === 0) return { head, readable, writable };
      index = this.#memory.read16(at + 14);
    }
  }

  /** Gives a request back with the number of bytes written into it. Returns whether the driver wants an interrupt. */
  push(chain: Chain, written: number): boolean {
    const s = this.state;
    const slot = s.device + 4 + 8 * (s.used % s.size);
    this.#memory.write32(slot, chain.head);
    this.#memory.write32(slot + 4, written);
    const before = s.used;
    s.used = (s.used + 1) & 0xffff;
    this.#memory.write16(s.device + 2, s.used);
    if (!s.eventIndex) return (this.#memory.read16(s.driver) & noInterrupt) === 0;
    const event = this.#memory.read16(s.driver + 4 + 2 * s.size);
    return ((s.used - event - 1) & 0xffff) < ((s.used - before) & 0xffff);
  }

  /** All readable bytes of a request. */
  gather(chain: Chain): Uint8Array {
    const out = new Uint8Array(chain.readable.reduce((sum, b) => sum + b.length, 0));
    let at = 0;
    for (const { address, length } of chain.readable) {
      out.set(this.#memory.read(address, length), at);
      at += length;
    }
    return out;
  }
  /** Writes into the writable part, from `start` bytes into it. */
  scatter(chain: Chain, data: Uint8Array, start = 0): void {
    let skip = start;
    let at = 0;
    for (const { address, length } of chain.writable) {
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const count = Math.min(length - skip, data.length - at);
      this.#memory.write(address + skip, data.subarray(at, at + count));
      at += count;
      skip = 0;
      if (at === data.length) return;
    }
  }
}
export const writableBytes = (chain: Chain): number => chain.writable.reduce((sum, b) => sum + b.length, 0);
