/** A disk as devices see it: sectors of 512 bytes. Every call answers whether it worked; a failure becomes the guest's I/O error. */
export const sectorBytes = 512;

export interface BlockDevice {
  /** What the guest reads as the disk's serial number, at most 20 bytes. */
  readonly id: string;
  readonly readOnly: boolean;
  readonly sectors: number;
  /** Another one when the contents have changed, as far as can be known: a saved machine belongs to the contents of then. */
  readonly stamp: string;
  /** Lengths are multiples of the sector size; ranges lie inside the disk (the device has checked). */
  read(sector: number, into: Uint8Array): boolean;
  write(sector: number, data: Uint8Array): boolean;
  /** Everything written before is on stable storage afterwards. */
  flush(): boolean;
  discard(sector: number, sectors: number): boolean;
  writeZeroes(sector: number, sectors: number): boolean;
}
