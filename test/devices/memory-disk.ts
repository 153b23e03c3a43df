/** A disk in memory that counts what is written to it. */
import { type BlockDevice, sectorBytes } from '../../src/storage/block-device.ts';

export class MemoryDisk implements BlockDevice {
  readonly id = 'disk0';
  readonly readOnly = false;
  readonly bytes: Uint8Array;
  #writes = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
  get sectors(): number {
    return this.bytes.length / sectorBytes;
  }
  get stamp(): string {
    return String(this.#writes);
  }
  copy(): MemoryDisk {
    const copy = new MemoryDisk(this.bytes.slice());
    copy.#writes = this.#writes;
    return copy;
  }
  read(sector: number, into: Uint8Array): boolean {
    into.set(this.bytes.subarray(sector * sectorBytes, sector * sectorBytes + into.length));
    return true;
  }
  write(sector: number, data: Uint8Array): boolean {
    this.#writes++;
    this.bytes.set(data, sector * sectorBytes);
    return true;
  }
  flush(): boolean {
    return true;
  }
  discard(): boolean {
    return true;
  }
  writeZeroes(sector: number, sectors: number): boolean {
    return this.write(sector, new Uint8Array(sectors * sectorBytes));
  }
}
