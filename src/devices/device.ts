/** What devices are made of: ports, register windows, interrupt lines. Everything outside a device is injected. */
export type { DeviceWindow } from '../memory/space.ts';

/** An interrupt line; level is what the device asserts. */
export interface Line {
  set(level: boolean): void;
}

export interface PortRange {
  readonly base: number;
  readonly count: number;
}

/** A device on the port bus. Widths in bytes: 1, 2 or 4. */
export interface PortDevice {
  readonly name: string;
  readonly ports: readonly PortRange[];
  read(port: number, width: number): number;
  write(port: number, width: number, value: number): void;
}

/** Where a device's output bytes go. */
export type ByteSink = (byte: number) => void;

/** Guest-physical memory as a bus master sees it. */
export interface BusMemory {
  read(address: number, length: number): Uint8Array;
  write(address: number, data: Uint8Array): void;
  read16(address: number): number;
  read32(address: number): number;
  read64(address: number): bigint;
  write16(address: number, value: number): void;
  write32(address: number, value: number): void;
}
