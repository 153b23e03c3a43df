/**
 * A domain's guest-physical space: RAM and read-only pages map to frames (the p2m), other pages belong to devices or to nobody.
 * Reads of nobody's addresses give all ones, writes are ignored, as on a PC.
 */
import { Bug } from '../base/assert.ts';
import { type FramePool, pageBytes } from './pool.ts';

/** A window of device registers. Widths in bytes, 1 to 8; values up to 32 bits wide are plain, 64-bit accesses come as two of 32. */
export interface DeviceWindow {
  readonly base: number;
  readonly size: number;
  read(offset: number, width: number): number;
  write(offset: number, width: number, value: number): void;
}

/** Who must know that code was written: the engine drops what it decoded there. */
export interface CodeWatch {
  written(frame: number, start: number, end: number): void;
}

export interface RamRange {
  /** Page-aligned byte addresses. */
  readonly base: number;
  readonly size: number;
}

const noFrame = 0;
/** What a guest page is. */
const PageKind = { absent: 0, ram: 1, rom: 2 } as const;

export class GuestSpace {
  readonly pool: FramePool;
  readonly #ram: readonly RamRange[];
  readonly #p2m: Int32Array;
  readonly #kinds: Uint8Array;
  #windows: readonly DeviceWindow[] = [];
  #watch: CodeWatch | undefined;

  constructor(pool: FramePool, ram: readonly RamRange[]) {
    this.pool = pool;
    this.#ram = ram;
    const top = Math.max(...ram.map((r) => r.base + r.size));
    this.#p2m = new Int32Array(Math.ceil(top / pageBytes));
    this.#kinds = new Uint8Array(this.#p2m.length);
    for (const r of ram) this.#kinds.fill(PageKind.ram, r.base / pageBytes, (r.base + r.size) / pageBytes);
  }

  get ram(): readonly RamRange[] {
    return this.#ram;
  }
  attach(windows: readonly DeviceWindow[]): void {
    this.#windows = windows;
  }
  watchCode(watch: CodeWatch): void {
    this.#watch = watch;
  }

  /** Makes pages of RAM read-only: later writes, by the processor or by devices, are ignored. */
  seal(base: number, size: number): void {
    this.#kinds.fill(PageKind.rom, base / pageBytes, (base + size) / pageBytes);
  }
  // pages may have any number: with the length compared first V8 keeps code that it made for small ones
  isReadOnly(page: number): boolean {
    return page < this.#kinds.length && this.#kinds[page] === PageKind.rom;
  }

  /** The frame behind a guest page, allocated when it is RAM not touched before; 0 when the page is not RAM. */
  frameOf(page: number): number {
    if (page >= this.#p2m.length) return noFrame;
    const frame = this.#p2m[page] as number;
    if (frame !== noFrame) return frame;
    if (this.#kinds[page] === PageKind.absent) return noFrame;
    const fresh = this.pool.allocate(page);
    this.#p2m[page] = fresh;
    return fresh;
  }
  /** Like `frameOf`, but leaves untouched RAM alone: 0 for it too. */
  frameIfPresent(page: number): number {
    return this.#p2m[page] ?? noFrame;
  }

  /** The RAM and read-only pages that were touched. */
  *touched(): Generator<{ readonly page: number; readonly bytes: Uint8Array<ArrayBuffer> }> {
    for (let page = 0; page < this.#p2m.length; page++) {
      const frame = this.#p2m[page] as number;
      if (frame !== noFrame) yield { page, bytes: this.pool.bytes.subarray(frame * pageBytes, (frame + 1) * pageBytes) };
    }
  }

  window(address: number): DeviceWindow | undefined {
    for (const w of this.#windows) if (address >= w.base && address < w.base + w.size) return w;
    return undefined;
  }

  /** Device or nobody's memory, at most 4 bytes. */
  readDevice(address: number, width: number): number {
    const w = this.window(address);
    return w ? w.read(address - w.base, width) >>> 0 : width === 4 ? 0xffff_ffff : (1 << (width * 8)) - 1;
  }
  writeDevice(address: number, width: number, value: number): void {
    const w = this.window(address);
    if (w) w.write(address - w.base, width, value >>> 0);
  }

  /** Copies guest memory out; what is not RAM reads as all ones. Devices (DMA), loaders and inspection use this. */
  read(address: number, length: number): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(length);
    this.#each(address, length, (page, offset, at, count) => {
      const frame = this.frameOf(page);
      if (frame === noFrame) out.fill(0xff, at, at + count);
      else out.set(this.pool.bytes.subarray(frame * pageBytes + offset, frame * pageBytes + offset + count), at);
    });
    return out;
  }
  /** Copies into guest memory; bytes that fall outside RAM are dropped. */
  write(address: number, data: Uint8Array): void {
    this.#each(address, data.length, (page, offset, at, count) => {
      const frame = this.frameOf(page);
      if (frame === noFrame || this.isReadOnly(page)) return;
      this.pool.bytes.set(data.subarray(at, at + count), frame * pageBytes + offset);
      this.noteWrite(frame, offset, offset + count);
    });
  }
  zero(address: number, length: number): void {
    this.#each(address, length, (page, offset, _at, count) => {
      const frame = this.frameIfPresent(page);
      if (frame === noFrame || this.isReadOnly(page)) return;
      this.pool.bytes.fill(0, frame * pageBytes + offset, frame * pageBytes + offset + count);
      this.noteWrite(frame, offset, offset + count);
    });
  }
  read16(address: number): number {
    const b = this.read(address, 2);
    return (b[0] ?? 0) | ((b[1] ?? 0) << 8);
  }
  read32(address: number): number {
    const at = this.#alignedIn(address, 4);
    return at === 0 ? new DataView(this.read(address, 4).buffer).getUint32(0, true) : this.pool.view.getUint32(at, true);
  }
  read64(address: number): bigint {
    const at = this.#alignedIn(address, 8);
    return at === 0 ? new DataView(this.read(address, 8).buffer).getBigUint64(0, true) : this.pool.view.getBigUint64(at, true);
  }
  write16(address: number, value: number): void {
    this.write(address, new Uint8Array([value & 0xff, (value >> 8) & 0xff]));
  }
  write32(address: number, value: number): void {
    const at = this.#alignedIn(address, 4);
    if (at === 0 || this.isReadOnly(Math.floor(address / pageBytes))) {
      const data = new Uint8Array(4);
      new DataView(data.buffer).setUint32(0, value >>> 0, true);
      return this.write(address, data);
    }
    this.pool.view.setUint32(at, value, true);
    this.noteWrite(Math.floor(at / pageBytes), at % pageBytes, (at % pageBytes) + 4);
  }
  write64(address: number, value: bigint): void {
    const at = this.#alignedIn(address, 8);
    if (at === 0 || this.isReadOnly(Math.floor(address / pageBytes))) {
      const data = new Uint8Array(8);
      new DataView(data.buffer).setBigUint64(0, value, true);
      return this.write(address, data);
    }
    this.pool.view.setBigUint64(at, value, true);
    this.noteWrite(Math.floor(at / pageBytes), at % pageBytes, (at % pageBytes) + 8);
  }
  /** Where in the pool an aligned number lies; 0 when it is not aligned, or not in RAM. */
  #alignedIn(address: number, bytes: number): number {
    if (address % bytes !== 0 || address < 0) return 0;
    const frame = this.frameOf(Math.floor(address / pageBytes));
    return frame === noFrame ? 0 : frame * pageBytes + (address % pageBytes);
  }

  /** To be called after any write to a frame that may hold code. */
  noteWrite(frame: number, start: number, end: number): void {
    if ((this.pool.code[frame * 2] ?? 0) !== 0 || (this.pool.code[frame * 2 + 1] ?? 0) !== 0) this.#watch?.written(frame, start, end);
  }

  #each(address: number, length: number, visit: (page: number, offset: number, at: number, count: number) => void): void {
    if (!Number.isSafeInteger(address) || address < 0) throw new Bug(`guest-physical address ${address}`);
    let at = 0;
    while (at < length) {
      const current = address + at;
      const offset = current % pageBytes;
      const count = Math.min(length - at, pageBytes - offset);
      visit((current - offset) / pageBytes, offset, at, count);
      at += count;
    }
  }
}
