/** PCI host bridge: configuration mechanism 1 at 0xCF8, ECAM, the reset register 0xCF9, and the memory window of the functions' BARs. */
import type { DeviceWindow, PortDevice } from '../device.ts';
import { type FunctionState, PciFunction } from './function.ts';

export const ecamBase = 0xb000_0000;
export const ecamBytes = 0x1000_0000;
export const pciWindowBase = 0xc000_0000;
export const pciWindowEnd = 0xfec0_0000;
/** Of bus 0; the first is the host bridge's. */
export const pciSlots = 32;

/** Neutral: a host bridge that Linux has no quirks for. */
const hostBridge = { vendor: 0x1b36, device: 0x0008, subsystem: 0x1100, classCode: 0x06_0000, revision: 0 };
const allOnes = (width: number): number => (width === 4 ? 0xffff_ffff : (1 << (8 * width)) - 1);

export class PciHost implements PortDevice {
  readonly name = 'pci';
  readonly ports = [{ base: 0xcf8, count: 8 }];
  readonly #functions = new Map<number, PciFunction>();
  readonly #reset: () => void;
  state = { address: 0, resetControl: 0, functions: [] as FunctionState[] };

  constructor(reset: () => void) {
    this.#reset = reset;
    this.plug(0, new PciFunction({ identity: hostBridge, bars: [], sendMessage: () => {} }));
  }
  /** Puts a function in a slot of bus 0. */
  plug(slot: number, pciFunction: PciFunction): void {
    this.#functions.set(slot, pciFunction);
    this.state.functions.push(pciFunction.state);
  }
  /** As firmware does before the kernel starts: one that knows nothing of the window would place the BARs elsewhere. */
  placeBars(): void {
    let next = pciWindowBase;
    for (const f of this.#functions.values()) next = f.placeBars(next);
  }
  /** Configuration address bits 23:8 to the function, which must be function 0 of a slot on bus 0. */
  #find(busDeviceFunction: number): PciFunction | undefined {
    return (busDeviceFunction & 7) === 0 && busDeviceFunction >> 8 === 0 ? this.#functions.get(busDeviceFunction >> 3) : undefined;
  }

  read(port: number, width: number): number {
    if (port === 0xcf9 && width === 1) return this.state.resetControl;
    if (port < 0xcfc) return width === 4 && port === 0xcf8 ? this.state.address >>> 0 : allOnes(width);
    if (this.state.address >= 0) return allOnes(width); // bit 31 clear: not enabled
    const target = this.#find((this.state.address >>> 8) & 0xffff);
    return target ? target.readConfig((this.state.address & 0xfc) | (port & 3), width) : allOnes(width);
  }
  write(port: number, width: number, value: number): void {
    if (port === 0xcf9 && width === 1) {
      this.state.resetControl = value & 0xe;
      if ((value & 4) !== 0) this.#reset();
    } else if (port === 0xcf8 && width === 4) this.state.address = (value & 0x80ff_fffc) | 0;
    else if (port >= 0xcfc && this.state.address < 0) this.#find((this.state.address >>> 8) & 0xffff)?.writeConfig((this.state.address & 0xfc) | (port & 3), width, value);
  }

  /** Enhanced configuration access, memory-mapped. */
  get ecam(): DeviceWindow {
    return {
      base: ecamBase,
      size: ecamBytes,
      read: (offset, width) => this.#find(offset >>> 12)?.readConfig(offset & 0xfff, width) ?? allOnes(width),
      write: (offset, width, value) => this.#find(offset >>> 12)?.writeConfig(offset & 0xfff, width, value),
    };
  }
  /** The window in which BARs are placed. */
  get memory(): DeviceWindow {
    const find = (offset: number) => {
      for (const f of this.#functions.values()) {
        const found = f.target(pciWindowBase + offset);
        if (found) return found;
      }
      return undefined;
    };
    return {
      base: pciWindowBase,
      size: pciWindowEnd - pciWindowBase,
      read: (offset, width) => {
        const found = find(offset);
        return found ? found.bar.read(found.offset, width) : allOnes(width);
      },
      write: (offset, width, value) => {
        const found = find(offset);
        found?.bar.write(found.offset, width, value);
      },
    };
  }
}
