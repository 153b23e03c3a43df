/** The I/O ports: 65,536 bytes of them, each of one device or nobody's. Reads of nobody's ports give all ones. */
import { Bug } from '../base/assert.ts';
import type { PortDevice } from './device.ts';

const allOnes = (width: number): number => (width === 4 ? 0xffff_ffff : (1 << (width * 8)) - 1);

export class PortBus {
  readonly #devices: readonly PortDevice[];
  /** Index + 1 in `#devices`. */
  readonly #owner = new Uint8Array(0x1_0000);

  constructor(devices: readonly PortDevice[]) {
    this.#devices = devices;
    devices.forEach((device, n) => {
      for (const { base, count } of device.ports) {
        for (let port = base; port < base + count; port++) {
          const other = devices[(this.#owner[port] ?? 0) - 1];
          if (other) throw new Bug(`port 0x${port.toString(16)} belongs to ${other.name} and ${device.name}`);
          this.#owner[port] = n + 1;
        }
      }
    });
  }
  readPort(port: number, width: number): number {
    const device = this.#devices[(this.#owner[port] ?? 0) - 1];
    return device ? device.read(port, width) : allOnes(width);
  }
  writePort(port: number, width: number, value: number): void {
    this.#devices[(this.#owner[port] ?? 0) - 1]?.write(port, width, value);
  }
}

/** A device whose registers are single bytes: wider accesses are made of bytes, low port first. */
export abstract class ByteDevice implements PortDevice {
  abstract readonly name: string;
  abstract readonly ports: PortDevice['ports'];
  abstract readByte(port: number): number;
  abstract writeByte(port: number, value: number): void;
  read(port: number, width: number): number {
    let value = 0;
    for (let n = 0; n < width; n++) value |= this.readByte(port + n) << (8 * n);
    return value >>> 0;
  }
  write(port: number, width: number, value: number): void {
    for (let n = 0; n < width; n++) this.writeByte(port + n, (value >>> (8 * n)) & 0xff);
  }
}
