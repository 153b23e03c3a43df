/** Virtio entropy device: fills whatever buffers the driver gives. Virtio 1.2, 5.4. */
import { type Queue, writableBytes } from './queue.ts';
import type { VirtioDevice } from './transport.ts';

/** Bytes given to one request. */
const answerBytesMax = 65_536;

export class VirtioEntropy implements VirtioDevice {
  readonly name = 'virtio-rng';
  readonly type = 4;
  readonly classCode = 0x10_0000;
  readonly queueSizes = [64];
  readonly features = 0n;
  readonly config = new Uint8Array(0);
  state = {};
  readonly #random: (bytes: number) => Uint8Array;
  #interrupt: (queue: Queue) => void = () => {};

  constructor(random: (bytes: number) => Uint8Array) {
    this.#random = random;
  }
  start(): void {}
  connect(_queues: readonly Queue[], interrupt: (queue: Queue) => void): void {
    this.#interrupt = interrupt;
  }
  reset(): void {}
  notify(_index: number, queue: Queue): void {
    let wanted = false;
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const count = Math.min(writableBytes(chain), answerBytesMax);
      queue.scatter(chain, this.#random(count));
      wanted = queue.push(chain, count) || wanted;
    }
    if (wanted) this.#interrupt(queue);
  }
}
