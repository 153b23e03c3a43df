/** A PCI function: configuration space with BARs and capabilities, MSI-X, INTx. PCI Local Bus 3.0, chapter 6. */
import type { Line } from '../device.ts';

const ConfigOffset = { vendor: 0, device: 2, command: 4, status: 6, revision: 8, class: 9, header: 14, bar0: 0x10, subsystem: 0x2c, capabilities: 0x34, interruptLine: 0x3c, interruptPin: 0x3d } as const;
export const Command = { io: 1, memory: 2, busMaster: 4, interruptDisable: 0x400 } as const;

export interface FunctionIdentity {
  readonly vendor: number;
  readonly device: number;
  readonly subsystem: number;
  /** 24 bits: class, subclass, interface. */
  readonly classCode: number;
  readonly revision: number;
}

/** A memory BAR; windows of one function lie in it. */
export interface Bar {
  readonly index: number;
  /** Power of two, at least 4096. */
  readonly size: number;
  read(offset: number, width: number): number;
  write(offset: number, width: number, value: number): void;
}

export interface MsiMessage {
  readonly address: number;
  readonly data: number;
}

export interface MsixParts {
  readonly vectors: number;
  readonly bar: number;
  readonly tableOffset: number;
  readonly pendingOffset: number;
}

export interface FunctionParts {
  readonly identity: FunctionIdentity;
  readonly bars: readonly Bar[];
  readonly msix?: MsixParts;
  readonly sendMessage: (message: MsiMessage) => void;
  readonly intx?: Line;
}

export interface FunctionState {
  readonly config: Uint8Array<ArrayBuffer>;
  msixControl: number;
  /** MSI-X: the vectors' messages, four words each, and those that wait to be sent. */
  readonly table: Uint32Array;
  readonly pending: Uint32Array;
  /** What the device asserts on its INTx pin. */
  intx: boolean;
}

const invalidLength = (width: number): number => (width === 4 ? 0xffff_ffff : (1 << (8 * width)) - 1);

export class PciFunction {
  readonly #bars: readonly Bar[];
  readonly #msix: MsixParts | undefined;
  readonly #sendMessage: (message: MsiMessage) => void;
  readonly #intx: Line | undefined;
  readonly #view: DataView;
  /** Which bits of configuration space the guest may change. */
  readonly #writable = new Uint8Array(256);
  #nextCapability = 0x40;
  #lastCapability = 0;
  /** Offset of the MSI-X capability. */
  #msixAt = 0;
  readonly state: FunctionState;

  constructor({ identity, bars, msix, sendMessage, intx }: FunctionParts) {
    this.#bars = bars;
    this.#msix = msix;
    this.#sendMessage = sendMessage;
    this.#intx = intx;
    const vectors = msix?.vectors ?? 0;
    const config = new Uint8Array(256);
    this.state = { config, msixControl: 0, table: new Uint32Array(vectors * 4), pending: new Uint32Array(Math.ceil(vectors / 32)), intx: false };
    this.#view = new DataView(config.buffer);
    const v = this.#view;
    v.setUint16(ConfigOffset.vendor, identity.vendor, true);
    v.setUint16(ConfigOffset.device, identity.device, true);
    v.setUint32(ConfigOffset.revision, ((identity.classCode << 8) | identity.revision) >>> 0, true);
    v.setUint16(ConfigOffset.subsystem, identity.vendor, true);
    v.setUint16(ConfigOffset.subsystem + 2, identity.subsystem, true);
    this.#writable[ConfigOffset.command] = 7;
    this.#writable[ConfigOffset.command + 1] = 4;
    this.#writable[ConfigOffset.interruptLine] = 0xff;
    if (intx) this.state.config[ConfigOffset.interruptPin] = 1;
    for (const bar of bars) {
      const mask = ~(bar.size - 1) >>> 0;
      for (let n = 0; n < 4; n++) this.#writable[ConfigOffset.bar0 + bar.index * 4 + n] = (mask >>> (8 * n)) & 0xff;
    }
    if (msix) this.#addMsix(msix);
    this.reset();
  }

  /** Appends a capability (without its id and next bytes) and returns its offset. */
  addCapability(id: number, body: Uint8Array): number {
    const at = this.#nextCapability;
    this.state.config[at] = id;
    this.state.config.set(body, at + 2);
    if (this.#lastCapability === 0) {
      this.state.config[ConfigOffset.capabilities] = at;
      this.state.config[ConfigOffset.status] = 0x10;
    } else this.state.config[this.#lastCapability + 1] = at;
    this.#lastCapability = at;
    this.#nextCapability = (at + 2 + body.length + 3) & ~3;
    return at;
  }
  #addMsix(msix: MsixParts): void {
    const body = new Uint8Array(10);
    const view = new DataView(body.buffer);
    view.setUint16(0, msix.vectors - 1, true);
    view.setUint32(2, msix.tableOffset | msix.bar, true);
    view.setUint32(6, msix.pendingOffset | msix.bar, true);
    this.#msixAt = this.addCapability(0x11, body);
  }
  reset(): void {
    this.#view.setUint16(ConfigOffset.command, 0, true);
    for (const bar of this.#bars) this.#view.setUint32(ConfigOffset.bar0 + bar.index * 4, 0, true);
    this.state.msixControl = 0;
    this.state.table.fill(0);
    for (let n = 3; n < this.state.table.length; n += 4) this.state.table[n] = 1;
    this.state.pending.fill(0);
    this.setInterrupt(false);
  }
  /** Gives its BARs addresses from `next` on, and returns the first one behind them. */
  placeBars(next: number): number {
    for (const { index, size } of this.#bars) {
      const base = Math.ceil(next / size) * size;
      this.#view.setUint32(ConfigOffset.bar0 + index * 4, base, true);
      next = base + size;
    }
    return next;
  }
  get command(): number {
    return this.#view.getUint16(ConfigOffset.command, true);
  }

  readConfig(offset: number, width: number): number {
    if (offset + width > 256) return width === 4 && offset < 4096 ? 0 : invalidLength(width);
    let value = 0;
    for (let n = 0; n < width; n++) value |= this.#configByte(offset + n) << (8 * n);
    return value >>> 0;
  }
  #configByte(offset: number): number {
    if (this.#msixAt !== 0 && offset === this.#msixAt + 3) return ((this.state.config[offset] ?? 0) & 0x3f) | (this.state.msixControl >> 8);
    if (offset === ConfigOffset.status) return (this.state.config[offset] ?? 0) | (this.state.intx ? 8 : 0);
    return this.state.config[offset] ?? 0;
  }
  writeConfig(offset: number, width: number, value: number): void {
    for (let n = 0; n < width; n++) {
      const at = offset + n;
      const byte = (value >>> (8 * n)) & 0xff;
      if (this.#msixAt !== 0 && at === this.#msixAt + 3) {
        this.state.msixControl = (byte & 0xc0) << 8;
        this.#flushPending();
        continue;
      }
      if (at >= 256) continue;
      const mask = this.#writable[at] ?? 0;
      this.state.config[at] = ((this.state.config[at] ?? 0) & ~mask) | (byte & mask);
    }
    if (offset <= ConfigOffset.command + 1 && offset + width > ConfigOffset.command) this.#driveLine();
  }

  /** Where BAR `index` lies now; undefined while memory decoding is off or nothing was assigned. */
  barAddress(index: number): number | undefined {
    if ((this.command & Command.memory) === 0) return undefined;
    const address = (this.#view.getUint32(ConfigOffset.bar0 + index * 4, true) & ~0xf) >>> 0;
    return address === 0 ? undefined : address;
  }
  /** What answers at a physical address. */
  target(address: number): { readonly bar: Bar; readonly offset: number } | undefined {
    for (const bar of this.#bars) {
      const base = this.barAddress(bar.index);
      if (base !== undefined && address >= base && address < base + bar.size) return { bar, offset: address - base };
    }
    return undefined;
  }
  // --- MSI-X: the device's BAR passes table and pending bits here
  get msixEnabled(): boolean {
    return (this.state.msixControl & 0x8000) !== 0;
  }
  readTable(offset: number): number {
    return this.state.table[offset >> 2] ?? 0xffff_ffff;
  }
  writeTable(offset: number, value: number): void {
    const index = offset >> 2;
    if (index >= this.state.table.length) return;
    this.state.table[index] = (index & 3) === 3 ? value & 1 : value;
    this.#flushPending();
  }
  readPending(offset: number): number {
    return this.state.pending[offset >> 2] ?? 0;
  }
  get vectors(): number {
    return this.#msix?.vectors ?? 0;
  }
  signal(vector: number): void {
    if (!this.msixEnabled || vector >= this.vectors) return;
    this.state.pending[vector >> 5] = (this.state.pending[vector >> 5] ?? 0) | (1 << (vector & 31));
    this.#flushPending();
  }
  #flushPending(): void {
    if (!this.msixEnabled || (this.state.msixControl & 0x4000) !== 0 || (this.command & Command.busMaster) === 0) return;
    for (let vector = 0; vector < this.vectors; vector++) {
      const [word, bit] = [vector >> 5, 1 << (vector & 31)];
      if (((this.state.pending[word] ?? 0) & bit) === 0 || ((this.state.table[vector * 4 + 3] ?? 1) & 1) !== 0) continue;
      this.state.pending[word] = (this.state.pending[word] ?? 0) & ~bit;
      this.#sendMessage({ address: this.state.table[vector * 4] ?? 0, data: this.state.table[vector * 4 + 2] ?? 0 });
    }
  }

  // --- INTx
  setInterrupt(level: boolean): void {
    this.state.intx = level;
    this.#driveLine();
  }
  #driveLine(): void {
    this.#intx?.set(this.state.intx && (this.command & Command.interruptDisable) === 0 && !this.msixEnabled);
  }
}
