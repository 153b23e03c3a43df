/**
 * APIC virtualization: the virtual-APIC page of a guest, its TPR, the APIC-access page in front of it, x2APIC MSRs that reach it, and virtual
 * interrupts that are delivered without the hypervisor. The page and the guest interrupt status are the truth; nothing is cached. SDM 3C, chapter 30.
 */
import { protection } from '../cpu/fault.ts';
import { EventType, type Interruption } from '../cpu/interrupts.ts';
import { ApicRegister } from '../cpu/local-apic.ts';
import type { GuardedPage } from '../cpu/page-walk.ts';
import { At, Flag } from '../cpu/state.ts';
import { VmExit } from '../cpu/vm-exit.ts';
import { Pin, Primary, Secondary } from './controls.ts';
import { Reason } from './exit-reasons.ts';
import { F } from './fields.ts';
import { PendingExit } from './operation.ts';
import type { Vmx } from './vmx.ts';

/** Access types of an exit qualification. SDM 3C, table 28-6. */
export const ApicAccess = { read: 0, write: 1, fetch: 2, delivery: 3, walkForDelivery: 10, walk: 15 } as const;

const { id, version, tpr, ppr, eoi, ldr, dfr, svr, isr, irr, esr, icrLow, icrHigh, lvtTimer, lvtError, initialCount, divide, self } =
  ApicRegister;
const laneBytes = 16;
const lanes = (from: number, to: number): number[] => Array.from({ length: (to - from) / laneBytes + 1 }, (_, n) => from + n * laneBytes);
/** Registers that APIC-register virtualization lets the guest write; and those that it also lets it read. SDM 3C, 30.4.2 and 30.4.3. */
const writable = new Set([id, tpr, eoi, ldr, dfr, svr, esr, icrLow, icrHigh, ...lanes(lvtTimer, lvtError), initialCount, divide]);
const readable = new Set([...writable, version, ...lanes(isr, irr + 7 * laneBytes)]);

const descriptorOutstanding = 32;
const x2apicFirst = 0x800;
const x2apicLast = 0x8ff;

export class VirtualApic implements GuardedPage {
  readonly #x: Vmx;
  /** The page number of the APIC-access page of the guest that runs; -1: none. */
  page = -1;
  /** Address of the virtual-APIC page. */
  #registers = 0;

  constructor(x: Vmx) {
    this.#x = x;
  }

  /** To be called at an entry, with the guest's controls loaded. */
  begin(): void {
    const x = this.#x;
    this.attach();
    if (this.#deliversInterrupts) this.#updatePriority();
    else if (this.page >= 0 && x.wants(Primary.tprShadow)) this.#compareThreshold();
  }
  /** Uses the guest's pages. */
  attach(): void {
    const x = this.#x;
    this.#registers = Number(x.vmcs.get(F.virtualApic) & 0xff_ffff_f000n);
    this.page = x.wantsSecondary(Secondary.apicAccesses) ? Number((x.vmcs.get(F.apicAccess) & 0xff_ffff_f000n) >> 12n) : -1;
    x.p.paging.guard(this.page < 0 ? undefined : this);
  }
  end(): void {
    this.page = -1;
    this.#x.p.paging.guard(undefined);
  }

  // --- the page's registers
  get #deliversInterrupts(): boolean {
    return this.#x.wantsSecondary(Secondary.virtualInterrupts);
  }
  #get(register: number): number {
    return this.#x.v.space.read32(this.#registers + register);
  }
  #set(register: number, value: number): void {
    this.#x.v.space.write32(this.#registers + register, value);
  }
  /** Bit `vector` of the request or service register. */
  #setBit(register: number, vector: number, on: boolean): void {
    const word = register + (vector >> 5) * laneBytes;
    const bit = 1 << (vector & 31);
    this.#set(word, on ? this.#get(word) | bit : this.#get(word) & ~bit);
  }
  /** The highest vector of a register, 0 when there is none. */
  #highest(register: number): number {
    for (let n = 7; n >= 0; n--) {
      const word = this.#get(register + n * laneBytes);
      if (word !== 0) return n * 32 + 31 - Math.clz32(word);
    }
    return 0;
  }
  /** RVI and SVI. */
  get #requested(): number {
    return this.#x.vmcs.get32(F.guestInterruptStatus) & 0xff;
  }
  get #inService(): number {
    return this.#x.vmcs.get32(F.guestInterruptStatus) >> 8;
  }
  #setStatus(requested: number, inService: number): void {
    this.#x.vmcs.set32(F.guestInterruptStatus, requested | (inService << 8));
  }

  // --- task priority
  get taskPriority(): number {
    return this.#get(tpr) & 0xff;
  }
  /** Writes the TPR and does what follows. SDM 3C, 30.1.2. */
  setTaskPriority(value: number): void {
    this.#set(tpr, value);
    if (this.#deliversInterrupts) this.#updatePriority();
    else this.#compareThreshold();
  }
  #compareThreshold(): void {
    const x = this.#x;
    if (this.taskPriority >> 4 >= (x.vmcs.get32(F.tprThreshold) & 15)) return;
    x.setPending(PendingExit.tprBelowThreshold);
    x.v.wake();
  }

  // --- virtual interrupts. SDM 3C, 30.1.3 to 30.2
  /** The processor's priority follows from its task's and from what is in service; a virtual interrupt may be recognized then. */
  #updatePriority(): void {
    const [task, service] = [this.taskPriority, this.#inService];
    this.#set(ppr, task >> 4 >= service >> 4 ? task : service & 0xf0);
    this.#evaluate();
  }
  #evaluate(): void {
    if (this.recognizes) this.#x.v.wake();
  }
  /** Whether a virtual interrupt waits whose priority suffices. */
  get recognizes(): boolean {
    return this.#deliversInterrupts && this.#requested >> 4 > (this.#get(ppr) & 0xff) >> 4;
  }
  /** The interrupt that the guest takes between two instructions now, if any; it is in service from then on. */
  take(): Interruption | undefined {
    if (!this.recognizes || (this.#x.v.systemFlags & Flag.interrupt) === 0) return undefined;
    const vector = this.#requested;
    this.#setBit(isr, vector, true);
    this.#set(ppr, vector & 0xf0);
    this.#setBit(irr, vector, false);
    this.#setStatus(this.#highest(irr), vector);
    return { type: EventType.external, vector };
  }
  #endInterrupt(): void {
    const x = this.#x;
    const vector = this.#inService;
    this.#setBit(isr, vector, false);
    this.#setStatus(this.#requested, this.#highest(isr));
    this.#updatePriority();
    const bitmap = x.vmcs.get(F.eoiExitBitmap0 + (vector >> 6));
    if (((bitmap >> BigInt(vector & 63)) & 1n) !== 0n) this.#trap(PendingExit.virtualizedEoi, vector);
  }
  #request(vector: number): void {
    this.#setBit(irr, vector, true);
    this.#setStatus(Math.max(this.#requested, vector), this.#inService);
    this.#evaluate();
  }
  /** A notification of posted interrupts: true when the vector is one, and its requests are taken over. SDM 3C, 30.6. */
  takePosted(vector: number): boolean {
    const x = this.#x;
    if (!x.wantsPin(Pin.postedInterrupts) || vector !== x.vmcs.get32(F.postedVector)) return false;
    const { space, apic } = x.v;
    const descriptor = Number(x.vmcs.get(F.postedDescriptor) & 0xff_ffff_ffc0n);
    space.write32(descriptor + descriptorOutstanding, space.read32(descriptor + descriptorOutstanding) & ~1);
    apic.write(eoi, 0);
    for (let n = 0; n < 8; n++) {
      const posted = space.read32(descriptor + 4 * n);
      if (posted === 0) continue;
      space.write32(descriptor + 4 * n, 0);
      this.#set(irr + n * laneBytes, this.#get(irr + n * laneBytes) | posted);
    }
    this.#setStatus(Math.max(this.#requested, this.#highest(irr)), this.#inService);
    this.#evaluate();
    return true;
  }
  /** An exit after the instruction at hand. */
  #trap(what: number, qualification: number): void {
    this.#x.setPending(what, qualification);
    this.#x.v.wake();
  }

  // --- the APIC-access page. SDM 3C, 30.4
  #exit(offset: number, type: number): VmExit {
    return new VmExit(Reason.apicAccess, BigInt(offset | (type << 12)), { length: true });
  }
  refuse(offset: number, kind: 'fetch' | 'walk'): never {
    throw this.#exit(offset, ApicAccess[kind]);
  }
  #lies(offset: number, size: number): boolean {
    return size <= 4 && (offset & 15) + size <= 4 && this.#x.wants(Primary.tprShadow);
  }
  read(offset: number, size: number): number {
    const x = this.#x;
    const register = offset & ~15;
    const allowed = register === tpr || (x.wantsSecondary(Secondary.apicRegisters) && readable.has(register));
    if (!allowed || !this.#lies(offset, size)) throw this.#exit(offset, ApicAccess.read);
    const value = this.#get(register) >>> ((offset & 3) * 8);
    return size === 4 ? value >>> 0 : value & (2 ** (size * 8) - 1);
  }
  write(offset: number, size: number, value: number): void {
    const x = this.#x;
    const register = offset & ~15;
    const all = x.wantsSecondary(Secondary.apicRegisters) && writable.has(register);
    const interrupts = this.#deliversInterrupts && (register === eoi || register === icrLow);
    if (!(register === tpr || all || interrupts) || !this.#lies(offset, size)) throw this.#exit(offset, ApicAccess.write);
    const shift = (offset & 3) * 8;
    const mask = size === 4 ? -1 : (2 ** (size * 8) - 1) << shift;
    this.#set(register, (this.#get(register) & ~mask) | ((value << shift) & mask));
    this.#written(register);
  }
  /** What follows a write: the register's own effect, or an exit that tells the hypervisor. SDM 3C, 30.4.3.3. */
  #written(register: number): void {
    switch (register) {
      case tpr:
        return this.setTaskPriority(this.taskPriority);
      case icrHigh:
        return this.#set(icrHigh, this.#get(icrHigh) & 0xff00_0000);
      case eoi:
        if (!this.#deliversInterrupts) break;
        this.#set(eoi, 0);
        return this.#endInterrupt();
      case icrLow: {
        const command = this.#get(icrLow);
        if (this.#deliversInterrupts && isCommandToSelf(command)) return this.#request(command & 0xff);
      }
    }
    this.#trap(PendingExit.apicWrite, register);
  }

  // --- x2APIC MSRs, when the bitmap lets them through. SDM 3C, 30.5
  /** The value; undefined: RDMSR works as usual. */
  readMsr(number: number): bigint | undefined {
    const x = this.#x;
    if (!x.wantsSecondary(Secondary.x2apic) || number < x2apicFirst || number > x2apicLast) return undefined;
    const register = (number - x2apicFirst) * laneBytes;
    if (register !== tpr && !x.wantsSecondary(Secondary.apicRegisters)) return undefined;
    return x.v.space.read64(this.#registers + register);
  }
  /** True when the write is done; false: WRMSR works as usual. */
  writeMsr(number: number, value: bigint): boolean {
    const x = this.#x;
    if (!x.wantsSecondary(Secondary.x2apic)) return false;
    const register = (number - x2apicFirst) * laneBytes;
    if (register === tpr) {
      if (value > 0xffn) throw protection(0);
      this.setTaskPriority(Number(value));
    } else if (register === eoi && this.#deliversInterrupts) {
      if (value !== 0n) throw protection(0);
      this.#endInterrupt();
    } else if (register === self && this.#deliversInterrupts) {
      if (value > 0xffn) throw protection(0);
      x.v.space.write32(this.#registers + self, Number(value));
      if (value < 16n) this.#trap(PendingExit.apicWrite, self);
      else this.#request(Number(value));
    } else return false;
    return true;
  }
  /** The qualification of the exit that waits after a write. */
  get pendingQualification(): bigint {
    return BigInt(this.#x.v.get(At.vmxPendingQualification));
  }
}

/** A fixed, edge-triggered interrupt to the processor itself, with a vector that can be delivered. */
const isCommandToSelf = (command: number): boolean =>
  (command & 0xfff3_b700) === 0 && (command & 0xc_0000) === 0x4_0000 && (command & 0xf0) !== 0;
