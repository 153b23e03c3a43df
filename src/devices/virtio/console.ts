/** Virtio console with one port. Virtio 1.2, 5.3. Queue 0 receives, queue 1 transmits. */
import type { ByteSink } from '../device.ts';
import { type Queue, writableBytes } from './queue.ts';
import type { VirtioDevice } from './transport.ts';

/** Bytes that wait for the guest to give buffers. */
const backlogMax = 65_536;

interface State {
  /** What waits for the guest to give buffers. */
  input: number[];
  /** There is a driver. */
  ready: boolean;
}

export class VirtioConsole implements VirtioDevice {
  readonly name = 'virtio-console';
  readonly type = 3;
  readonly classCode = 0x07_8000;
  readonly queueSizes = [64, 64];
  readonly features = 0n;
  readonly config = new Uint8Array(12);
  readonly #output: ByteSink;
  #interrupt: (queue: Queue) => void = () => {};
  /** The queue that receives. */
  #receiver: Queue | undefined;
  state: State = { input: [], ready: false };

  constructor(output: ByteSink) {
    this.#output = output;
  }
  start(): void {
    this.state.ready = true;
    this.#deliver();
  }
  connect([receiver]: readonly Queue[], interrupt: (queue: Queue) => void): void {
    this.#receiver = receiver;
    this.#interrupt = interrupt;
  }
  reset(): void {
    this.state.ready = false; // input stays: it is for the next driver
  }
  /** A byte from the other side; false when the guest does not read and the backlog is full. */
  receive(byte: number): boolean {
    if (this.state.input.length >= backlogMax) return false;
    this.state.input.push(byte & 0xff);
    this.#deliver();
    return true;
  }
  notify(index: number, queue: Queue): void {
    if (index === 0) return this.#deliver();
    let wanted = false;
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      for (const byte of queue.gather(chain)) this.#output(byte);
      wanted = queue.push(chain, 0) || wanted;
    }
    if (wanted) this.#interrupt(queue);
  }
  #deliver(): void {
    const queue = this.#receiver;
    if (!queue || !this.state.ready) return;
    let wanted = false;
    while (this.state.input.length > 0) {
      const chain = queue.pop();
      if (!chain) break;
      const count = Math.min(writableBytes(chain), this.state.input.length);
      queue.scatter(chain, Uint8Array.from(this.state.input.splice(0, count)));
      wanted = queue.push(chain, count) || wanted;
    }
    if (wanted) this.#interrupt(queue);
  }
}
