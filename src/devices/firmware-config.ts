/** fw_cfg at ports 0x510 and 0x511 as QEMU lays it out: signature, processor count, memory size. QEMU docs/specs/fw_cfg. */
import type { PortDevice } from './device.ts';

const Key = { signature: 0, id: 1, memory: 3, cpuCount: 5, maxCpus: 0x0f, directory: 0x19 } as const;

export class FirmwareConfig implements PortDevice {
  readonly name = 'fw_cfg';
  readonly ports = [{ base: 0x510, count: 2 }];
  readonly #items: ReadonlyMap<number, Uint8Array>;
  state = { key: 0, offset: 0 };

  constructor({ cpuCount, memoryBytes }: { readonly cpuCount: number; readonly memoryBytes: number }) {
    const number = (bytes: number, value: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, n) => Math.floor(value / 256 ** n) & 0xff);
    this.#items = new Map([
      [Key.signature, new TextEncoder().encode('QEMU')], [Key.id, number(4, 1)], [Key.memory, number(8, memoryBytes)],
      [Key.cpuCount, number(2, cpuCount)], [Key.maxCpus, number(2, cpuCount)], [Key.directory, number(4, 0)],
    ]);
  }
  read(port: number, width: number): number {
    if (port !== 0x511) return width === 2 ? this.state.key : 0;
    let value = 0;
    for (let n = 0; n < width; n++) value |= (this.#items.get(this.state.key)?.[this.state.offset++] ?? 0) << (8 * n);
    return value >>> 0;
  }
  write(port: number, width: number, value: number): void {
    if (port === 0x510 && width === 2) this.state = { key: value & 0x3fff, offset: 0 };
  }
}
