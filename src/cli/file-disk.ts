/** A raw disk image in a file. */
import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import type { DiskOption } from '../config/options.ts';
import { type BlockDevice, sectorBytes } from '../storage/block-device.ts';
import { reason } from './files.ts';

export class FileDisk implements BlockDevice {
  readonly id: string;
  readonly readOnly: boolean;
  readonly sectors: number;
  readonly #file: number;
  readonly #path: string;
  #reported = false;

  constructor({ path, readOnly, id }: DiskOption) {
    this.id = id;
    this.readOnly = readOnly;
    this.#path = path;
    try {
      this.#file = openSync(path, readOnly ? 'r' : 'r+');
    } catch (problem) {
      throw new Error(`--disk ${path}: ${reason(problem)}`);
    }
    const status = fstatSync(this.#file);
    if (status.isDirectory()) throw new Error(`--disk ${path}: is a directory`);
    const rest = status.size % sectorBytes;
    if (status.size === 0 || rest !== 0) {
      closeSync(this.#file);
      throw new Error(
        `--disk ${path}: ${status.size === 0 ? 'is empty' : `${rest} bytes after the last sector`}; a raw image is a multiple of ${sectorBytes} bytes`,
      );
    }
    this.sectors = status.size / sectorBytes;
  }

  /** When the file was written last. */
  get stamp(): string {
    return String(fstatSync(this.#file).mtimeMs);
  }
  read(sector: number, into: Uint8Array): boolean {
    return this.#guarded('read', () => {
      let at = 0;
      while (at < into.length) {
        const count = readSync(this.#file, into, at, into.length - at, sector * sectorBytes + at);
        if (count === 0) return false;
        at += count;
      }
      return true;
    });
  }
  write(sector: number, data: Uint8Array): boolean {
    return this.#guarded('write', () => {
      let at = 0;
      while (at < data.length) at += writeSync(this.#file, data, at, data.length - at, sector * sectorBytes + at);
      return true;
    });
  }
  flush(): boolean {
    return this.#guarded('flush', () => {
      fdatasyncSync(this.#file);
      return true;
    });
  }
  /** Raw files have no holes to give back portably: the sectors read as they did, which discard allows. */
  discard(): boolean {
    return true;
  }
  writeZeroes(sector: number, sectors: number): boolean {
    const chunk = new Uint8Array(Math.min(sectors, 2048) * sectorBytes);
    for (let done = 0; done < sectors; done += 2048) {
      if (!this.write(sector + done, chunk.subarray(0, Math.min(2048, sectors - done) * sectorBytes))) return false;
    }
    return true;
  }
  close(): void {
    if (!this.readOnly) this.flush();
    closeSync(this.#file);
  }
  /** A failing host is an I/O error to the guest and one line to the person. */
  #guarded(what: string, work: () => boolean): boolean {
    try {
      return work();
    } catch (problem) {
      if (!this.#reported)
        process.stderr.write(`\r\ntestudo: --disk ${this.#path}: ${what}: ${reason(problem)}; the guest sees an I/O error\r\n`);
      this.#reported = true;
      return false;
    }
  }
}
