/** A virtual CPU: its state in machine memory, and the parts of the machine it reaches. What it does is in the files beside this one. */
import { present } from '../base/assert.ts';
import type { FramePool } from '../memory/pool.ts';
import type { GuestSpace } from '../memory/space.ts';
import type { CpuModel } from './cpuid.ts';
import { FilledEntries } from './filled.ts';
import { JumpEpochs } from './jump-epochs.ts';
import type { PageBits } from './large-pages.ts';
import type { LocalApic } from './local-apic.ts';
import {
  At, Cr0, Cr4, codeTlbOffset, Efer, emptyBankOffset, Flag, offsetOf, Rights, readTlbOffset, Segment, type StateField, secondPlaceOffset, stateLayout, tlbBankBytes, tlbContextBytes, tlbContexts, tlbPlaces, userCode,
  vcpuAreaBytes, writeTlbOffset,
} from './state.ts';

/** A VMCS pointer that points nowhere. */
export const noVmcs = 0xffff_ffff_ffff_ffffn;

export interface PortBus {
  readPort(port: number, width: number): number;
  writePort(port: number, width: number, value: number): void;
}

export interface VcpuClock {
  /** Guest time in TSC ticks. */
  tsc(): bigint;
  /** The same when the guest did not ask. */
  peekTsc(): bigint;
  /** Instructions retired. */
  retired(): number;
}

export interface VcpuParts {
  readonly id: number;
  readonly cpuCount: number;
  /** Byte address of this vCPU's area in machine memory. */
  readonly base: number;
  readonly pool: FramePool;
  readonly space: GuestSpace;
  readonly ports: PortBus;
  readonly clock: VcpuClock;
  readonly model: CpuModel;
  readonly apic: LocalApic;
  /** 64 random bits, for RDRAND. */
  readonly random: () => bigint;
  /** The run is to end after the instruction at hand. */
  readonly wake: () => void;
}

export class Vcpu {
  readonly id: number;
  readonly cpuCount: number;
  readonly base: number;
  readonly model: CpuModel;

  readonly pool: FramePool;
  readonly space: GuestSpace;
  readonly ports: PortBus;
  readonly clock: VcpuClock;
  readonly apic: LocalApic;
  readonly random: () => bigint;
  readonly wake: () => void;
  readonly words: Int32Array<ArrayBuffer>;
  /** Word indices of what every page walk reads. */
  readonly #at: { readonly cr0: number; readonly cr3: number; readonly cr4: number; readonly efer: number; readonly cpl: number; readonly flags: number; readonly debug: number };
  readonly quads: BigUint64Array<ArrayBuffer>;
  /** Entries of the software TLBs in use, by context. */
  readonly #filled: readonly FilledEntries[];
  /** The same, of the context in use. */
  filled: FilledEntries;
  readonly jumps: JumpEpochs;

  constructor(parts: VcpuParts) {
    this.id = parts.id;
    this.cpuCount = parts.cpuCount;
    this.base = parts.base;
    this.model = parts.model;
    this.pool = parts.pool;
    this.space = parts.space;
    this.ports = parts.ports;
    this.clock = parts.clock;
    this.apic = parts.apic;
    this.random = parts.random;
    this.wake = parts.wake;
    this.words = parts.pool.words;
    const at = (field: StateField, index = 0): number => (this.base + offsetOf(field, index)) >>> 2;
    this.#at = { cr0: at('cr0'), cr3: at('cr3'), cr4: at('cr4'), efer: at('efer'), cpl: at('cpl'), flags: at('systemFlags'), debug: at('debug', 7) };
    this.quads = new BigUint64Array(parts.pool.memory.buffer as ArrayBuffer);
    this.jumps = new JumpEpochs(this.words, this.base);
    this.#filled = Array.from({ length: tlbContexts }, (_, n) => new FilledEntries(this.words, n, tlbPlaces, (this.base + codeTlbOffset) >>> 2, (levels) => this.jumps.drop(levels)));
    this.filled = this.#filledOf(0);
    this.pool.bytes.fill(0xff, this.base + readTlbOffset, this.base + vcpuAreaBytes);
    this.powerOn();
  }

  // --- the struct: fields by their place in it (`At`), elements of 4 or 8 bytes
  get(at: number, index = 0): number {
    return (this.words[((this.base + at) >>> 2) + index] ?? 0) | 0;
  }
  set(at: number, value: number, index = 0): void {
    this.words[((this.base + at) >>> 2) + index] = value;
  }
  get64(at: number, index = 0): bigint {
    return this.quads[((this.base + at) >>> 3) + index] ?? 0n;
  }
  set64(at: number, value: bigint, index = 0): void {
    this.quads[((this.base + at) >>> 3) + index] = value;
  }
  /** Low 32 bits of a 64-bit field. */
  low(at: number, index = 0): number {
    return (this.words[((this.base + at) >>> 2) + 2 * index] ?? 0) >>> 0;
  }
  register(n: number): bigint {
    return this.get64(At.gpr, n);
  }
  setRegister(n: number, value: bigint): void {
    this.set64(At.gpr, BigInt.asUintN(64, value), n);
  }
  /** Writes 32 bits and clears the upper half. */
  setRegister32(n: number, value: number): void {
    this.set64(At.gpr, BigInt(value >>> 0), n);
  }

  // --- what is read most
  get cr0(): number {
    return (this.words[this.#at.cr0] ?? 0) >>> 0;
  }
  /** Low 32 bits. */
  get cr3(): number {
    return (this.words[this.#at.cr3] ?? 0) >>> 0;
  }
  get cr4(): number {
    return (this.words[this.#at.cr4] ?? 0) >>> 0;
  }
  get efer(): number {
    return (this.words[this.#at.efer] ?? 0) >>> 0;
  }
  get cpl(): number {
    return this.words[this.#at.cpl] ?? 0;
  }
  get systemFlags(): number {
    return this.words[this.#at.flags] ?? 0;
  }
  /** Low 32 bits of DR7. */
  get dr7(): number {
    return this.words[this.#at.debug] ?? 0;
  }

  // --- modes
  get longActive(): boolean {
    return (this.efer & Efer.lma) !== 0;
  }
  /** 64-bit mode: long mode with CS.L. */
  get long(): boolean {
    return this.longActive && (this.get(At.segmentRights, Segment.cs) & Rights.long) !== 0;
  }
  /** PAE paging: three levels, of which the outermost is in the processor. */
  get usesPae(): boolean {
    return (this.cr0 & Cr0.pg) !== 0 && (this.cr4 & Cr4.pae) !== 0 && !this.longActive;
  }
  get protectedMode(): boolean {
    return (this.cr0 & Cr0.pe) !== 0;
  }
  get virtual8086(): boolean {
    return (this.systemFlags & Flag.virtual8086) !== 0;
  }
  get codeSize(): 16 | 32 | 64 {
    const rights = this.get(At.segmentRights, Segment.cs);
    if (this.longActive && (rights & Rights.long) !== 0) return 64;
    return (rights & Rights.big) !== 0 ? 32 : 16;
  }
  /** Whether x87, MMX and SSE instructions run without a look at CR0 and CR4. */
  get floatRestricted(): boolean {
    return (this.cr0 & (Cr0.em | Cr0.ts)) !== 0 || (this.cr4 & Cr4.osfxsr) === 0;
  }

  /** Unaligned accesses fault: CPL 3 with CR0.AM and EFLAGS.AC. */
  get checksAlignment(): boolean {
    return this.cpl === 3 && (this.systemFlags & Flag.alignment) !== 0 && (this.cr0 & Cr0.am) !== 0;
  }
  /** To be called after any change of CPL, code segment, CR0, CR4, EFER or AC: picks TLB banks and the key of decoded code. */
  refreshMode(): void {
    const cpl = this.cpl;
    const lifted = (this.systemFlags & Flag.alignment) !== 0 && (this.cr4 & Cr4.smap) !== 0;
    const bank = cpl === 3 ? 0 : lifted ? 2 : 1;
    const checked = this.checksAlignment;
    const context = this.get(At.tlbContext);
    this.set(At.tlbRead, this.base + (checked ? emptyBankOffset : readTlbOffset + context + bank * tlbBankBytes));
    this.set(At.tlbWrite, this.base + (checked ? emptyBankOffset : writeTlbOffset + context + bank * tlbBankBytes));
    const size = this.codeSize;
    const mode = (size === 64 ? 2 : size === 32 ? 1 : 0) | (this.floatRestricted ? 4 : 0) | (cpl === 3 ? userCode : 0) | ((context / tlbContextBytes) << 4);
    this.set64(At.codeMode, BigInt(mode));
    this.jumps.refresh();
  }
  /** Drops every translation of data and code addresses of the context in use. */
  flushTlb(): void {
    this.filled.flush();
  }
  get currentTlbContext(): number {
    return this.get(At.tlbContext) / tlbContextBytes;
  }
  /** Translations of different contexts stay apart; `refreshMode` is to be called after. */
  useTlbContext(context: number): void {
    this.set(At.tlbContext, context * tlbContextBytes);
    this.filled = this.#filledOf(context);
  }
  /** `local`: global pages stay. */
  flushTlbContext(context: number, which: 'all' | 'local' = 'all'): void {
    if (which === 'all') this.#filledOf(context).flush();
    else this.#filledOf(context).flushLocal();
  }
  /** What goes with an address when INVLPG drops its translation. */
  pageBitsAt(low: number, high: number, context: number): PageBits {
    return this.#filledOf(context).pageBitsAt(low, high);
  }
  /** Drops every translation of every context. */
  flushAllTlbs(): void {
    for (const filled of this.#filled) filled.flush();
  }
  /** A frame cannot be written any more without the slow path's notice. */
  dropWriteTlb(frame: number): void {
    for (let n = 0; n < tlbContexts; n++) {
      const start = this.base + writeTlbOffset + n * tlbContextBytes;
      this.#filledOf(n).dropFrame(frame, start >>> 2, (start + 3 * tlbBankBytes) >>> 2, secondPlaceOffset >>> 2);
    }
  }
  #filledOf(context: number): FilledEntries {
    return present(this.#filled[context], 'TLB context');
  }

  // --- the instruction pointer (offset in CS)
  get ip(): bigint {
    const record = this.get(At.record) >>> 0;
    if (record === 0) return this.get64(At.ip);
    const mask = this.long ? 64 : 32;
    return BigInt.asUintN(mask, this.get64(At.codePage) + BigInt(this.pool.view.getUint16(record + 32, true)));
  }
  get nextIp(): bigint {
    const record = this.get(At.record) >>> 0;
    const length = record === 0 ? this.get(At.length) : (this.pool.bytes[record + 10] ?? 0);
    const size = this.codeSize;
    return BigInt.asUintN(size === 64 ? 64 : size, this.ip + BigInt(length));
  }
  /** Continues there; no record is current any more. */
  jump(ip: bigint): void {
    this.set64(At.ip, ip);
    this.set(At.record, 0);
  }

  /** Reset values: SDM 3A, table 10-1. */
  powerOn(): void {
    const start = this.base >>> 2;
    this.words.fill(0, start, start + (stateLayout.size >>> 2));
    this.set(At.systemFlags, 0);
    this.set64(At.flagResult, 1n);
    this.set64(At.cr0, 0x6000_0010n);
    this.set64(At.ip, 0xfff0n);
    for (let n = 0; n < 8; n++) {
      this.set(At.segmentLimit, 0xffff, n);
      this.set(At.segmentRights, n < 6 ? 0x93 : n === 6 ? 0x82 : 0x8b, n);
    }
    this.set(At.segmentRights, 0x9b, Segment.cs);
    this.set(At.segmentSelector, 0xf000, Segment.cs);
    this.set64(At.segmentBase, 0xffff_0000n, Segment.cs);
    this.set(At.gdtLimit, 0xffff);
    this.set(At.idtLimit, 0xffff);
    this.set64(At.xcr0, 1n);
    this.set64(At.debug, 0xffff_0ff0n, 6);
    this.set64(At.debug, 0x400n, 7);
    this.set(At.mxcsr, 0x1f80);
    this.set(At.floatControl, 0x40);
    this.set64(At.pat, 0x0007_0406_0007_0406n);
    this.set64(At.apicBase, 0xfee0_0800n | (this.id === 0 ? 0x100n : 0n));
    this.set64(At.miscEnable, 1n);
    this.set64(At.gpr, BigInt(this.model.signature), 2);
    this.set64(At.featureControl, this.model.features.has('vmx') ? 5n : 1n); // locked; VMXON outside SMX
    this.set64(At.vmxonPointer, noVmcs);
    this.set64(At.vmcsPointer, noVmcs);
    this.set64(At.virtualVmxonPointer, noVmcs);
    this.set64(At.virtualVmcsPointer, noVmcs);
    this.useTlbContext(0);
    this.flushAllTlbs();
    this.refreshMode();
  }
}
