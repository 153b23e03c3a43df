/** The SVM state of a processor. One level only: hypervisors build further levels out of this one. APM 2, chapter 15. */
import type { AddressSpaces } from '../cpu/address-spaces.ts';
import { ExitCounts } from '../cpu/exit-counts.ts';
import type { Processor } from '../cpu/processor.ts';
import { At, Flag } from '../cpu/state.ts';
import type { Vcpu } from '../cpu/vcpu.ts';
import { GuestOperation } from '../isa/state-names.ts';
import { pageBytes } from '../memory/pool.ts';
import { ExitCode, exitName } from './exit-codes.ts';
import { NestedPaging } from './nested-paging.ts';
import { Control, nestedPagingBit, Save, Vmcb } from './vmcb.ts';

export class Svm {
  readonly p: Processor;
  readonly v: Vcpu;
  /** The VMCB of the guest that runs. */
  readonly vmcb: Vmcb;
  readonly host: Vmcb;
  readonly paging: NestedPaging;
  readonly counts: ExitCounts;
  /** Tells of entries (reason undefined) and exits, when somebody wants to know. */
  trace: ((reason: number | undefined, line: string) => void) | undefined;

  constructor(p: Processor) {
    this.p = p;
    this.v = p.v;
    this.vmcb = new Vmcb(p.v.pool);
    this.host = new Vmcb(p.v.pool);
    this.paging = new NestedPaging(p);
    this.counts = new ExitCounts(() => p.v.clock.retired(), 2, { name: exitName, entries: [ExitCode.vmrun] });
  }
  get spaces(): AddressSpaces {
    return this.p.spaces;
  }
  get inGuest(): boolean {
    return this.v.get(At.vmxOperation) === GuestOperation.svm;
  }
  setInGuest(on: boolean): void {
    this.v.set(At.vmxOperation, on ? GuestOperation.svm : 0);
  }
  /** The global interrupt flag. APM 2, 15.17. */
  get interruptsHeld(): boolean {
    return this.v.get(At.interruptsHeld) !== 0;
  }
  holdInterrupts(on: boolean): void {
    this.v.set(At.interruptsHeld, on ? 1 : 0);
    if (!on) this.v.wake();
  }
  /** Physical address of the VMCB that runs. */
  get current(): bigint {
    return this.v.get64(At.vmcb);
  }
  /** The frame at a guest-physical address; 0 when it is not RAM. */
  frameAt(address: bigint): number {
    return this.v.space.frameOf(Number(address / BigInt(pageBytes)));
  }
  /** Whether the hypervisor's own RFLAGS.IF lets interrupts leave the guest. */
  get hostInterruptible(): boolean {
    return (this.host.get32(Save.rflags) & Flag.interrupt) !== 0;
  }
  /** Uses the tables of the guest, under its own tags. */
  useTables(): void {
    const { vmcb } = this;
    this.spaces.enterGuest(vmcb.get32(Control.asid), this.#attachTables(), 0n);
  }
  #attachTables(): bigint {
    const { vmcb } = this;
    const nested = (vmcb.get64(Control.nested) & nestedPagingBit) !== 0n;
    const cr3 = vmcb.get64(Control.nestedCr3);
    if (nested) this.paging.use(cr3);
    this.p.paging.second = nested ? this.paging : undefined;
    return nested ? cr3 | nestedPagingBit : 0n;
  }
  /** Makes everything again that follows from the processor's state and the VMCB in memory: for a machine that was saved. */
  restore(): void {
    this.vmcb.select(this.frameAt(this.current));
    this.host.select(this.frameAt(this.v.get64(At.hostSaveArea)));
    if (this.inGuest) this.#attachTables();
    else this.p.paging.second = undefined;
  }
  intercepts(code: number): boolean {
    return ((this.vmcb.get32(Control.intercepts + (code >> 5) * 4) >>> (code & 31)) & 1) !== 0;
  }
}
