/**
 * Machine memory: one WebAssembly memory, cut into 4 KiB frames. The lowest part holds vCPU areas and decoded code; the rest are frames,
 * handed out on first touch, so that a large guest costs only what it uses (the host commits pages of the memory when they are written).
 */
import { Bug } from '../base/assert.ts';

export const pageBytes = 4096;

/** The host's memory is used up; the domain stops with this message. */
export class OutOfMemory extends Error {}

export class FramePool {
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly words: Int32Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  readonly firstFrame: number;
  readonly frameCount: number;
  /** What belongs to a frame: its guest page + 1; 0 means free. The reverse map of a host with one domain. */
  readonly owner: Int32Array;
  /** One bit for each 64 bytes of a frame that hold decoded code (two words a frame). */
  readonly code: Int32Array;
  #next: number;
  readonly #free: number[] = [];

  /** `reservedBytes` at the start are not frames. Sizes in bytes; at most 4 GiB together. */
  constructor({ reservedBytes, frames }: { readonly reservedBytes: number; readonly frames: number }) {
    this.firstFrame = Math.ceil(reservedBytes / pageBytes);
    const pages = Math.min(65_536, Math.ceil((this.firstFrame + frames) / 16));
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const buffer = this.memory.buffer as ArrayBuffer;
    this.bytes = new Uint8Array(buffer);
    this.words = new Int32Array(buffer);
    this.view = new DataView(buffer);
    this.frameCount = pages * 16;
    this.owner = new Int32Array(this.frameCount);
    this.code = new Int32Array(this.frameCount * 2);
    this.#next = this.firstFrame;
  }

  /** A zeroed frame. */
  allocate(guestPage: number): number {
    const frame = this.#free.pop() ?? (this.#next < this.frameCount ? this.#next++ : undefined);
    if (frame === undefined) throw new OutOfMemory('machine memory is used up: start the guest with less --memory');
    this.owner[frame] = guestPage + 1;
    return frame;
  }
  release(frame: number): void {
    if (this.owner[frame] === 0) throw new Bug(`frame ${frame} is free already`);
    this.owner[frame] = 0;
    this.bytes.fill(0, frame * pageBytes, (frame + 1) * pageBytes);
    this.#free.push(frame);
  }
  /** Frames in use. */
  get used(): number {
    return this.#next - this.firstFrame - this.#free.length;
  }
}
