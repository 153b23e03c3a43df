/**
 * The VMX state of a processor: which operation it is in, its current VMCS, and what the controls of the running guest say.
 * One level only: hypervisors build further levels out of this one. SDM 3C, chapters 24 to 28.
 */

import type { AddressSpaces } from '../cpu/address-spaces.ts';
import { ExitCounts } from '../cpu/exit-counts.ts';
import type { Processor } from '../cpu/processor.ts';
import { At } from '../cpu/state.ts';
import { noVmcs, type Vcpu } from '../cpu/vcpu.ts';
import type { VmExit } from '../cpu/vm-exit.ts';
import { pageBytes } from '../memory/pool.ts';
import type { TimerQueue } from '../time/timers.ts';
import { type Capabilities, capabilitiesOf } from './capabilities.ts';
import { CheckedRegions } from './checked.ts';
import { Primary, Secondary } from './controls.ts';
import { ExtendedPaging } from './ept.ts';
import { Reason, reasonName } from './exit-reasons.ts';
import { F, fieldDescriptions } from './fields.ts';
import { Operation } from './operation.ts';
import { PreemptionTimer } from './preemption-timer.ts';
import { VirtualApic } from './virtual-apic.ts';
import { Vmcs } from './vmcs.ts';

/** Where in the processor's state one VMX has its own: the processor's, or the one that a level-0 monitor makes for its guest. */
export interface VmxPlaces {
  readonly operation: number;
  readonly vmxon: number;
  readonly current: number;
}
export const processorsVmx: VmxPlaces = { operation: At.vmxOperation, vmxon: At.vmxonPointer, current: At.vmcsPointer };
export const virtualVmx: VmxPlaces = { operation: At.virtualVmxOperation, vmxon: At.virtualVmxonPointer, current: At.virtualVmcsPointer };

/** What is not the processor's own, in a VMX that is used by a level-0 monitor or made by one. */
export interface VmxParts {
  readonly features: ReadonlySet<string>;
  readonly places: VmxPlaces;
  /** Of the guests of VMCSs that software at its root enters. */
  readonly firstLevel: number;
}

/** Who made this VMX for a guest, and must follow what the guest does with it. */
export interface Keeper {
  /** Another VMCS becomes the current one, or one is cleared. */
  leavesVmcs(): void;
  /** VMREAD or VMWRITE is about to reach a field of the current VMCS. */
  accesses(encoding: number, write: boolean): void;
  droppedEpt(test: (eptPointer: bigint) => boolean): void;
  droppedVpid(): void;
}

/** A hypervisor of our own in root operation: its exits go to it instead of to the host state of the VMCS. */
export interface Monitor {
  /** It lets its guest switch tasks. */
  readonly switchesTasks: boolean;
  /** An exit that the monitor deals with while the guest's state stays in the processor; false: `exited` is to follow. */
  emulates(exit: VmExit): boolean;
  /** The guest's state is saved, and still in the processor. */
  exited(exit: VmExit): void;
  /** An entry failed while MSRs were loaded. */
  failed(reason: number, qualification: number): void;
}

export class Vmx {
  readonly p: Processor;
  readonly v: Vcpu;
  readonly #places: VmxPlaces;
  readonly capabilities: Capabilities;
  /** The current VMCS; without a frame when there is none. */
  readonly vmcs: Vmcs;
  readonly #offered: readonly boolean[];
  /** The VMCS that the link pointer names, while VMCS shadowing is used. */
  readonly shadow: Vmcs;
  readonly ept: ExtendedPaging;
  readonly checked = new CheckedRegions();
  readonly timer: PreemptionTimer;
  readonly apic: VirtualApic;
  readonly counts: ExitCounts;
  monitor: Monitor | undefined;
  keeper: Keeper | undefined;
  /** Tells of entries (reason undefined) and exits, when somebody wants to know. */
  trace: ((reason: number | undefined, line: string) => void) | undefined;
  /** Controls of the guest that runs, as they were at its entry (secondary: 0 when not activated). */
  pin = 0;
  primary = 0;
  secondary = 0;
  exceptionBitmap = 0;

  constructor(p: Processor, timers: TimerQueue, parts?: VmxParts) {
    const { features, places, firstLevel } = parts ?? { features: p.v.model.features, places: processorsVmx, firstLevel: 2 };
    this.p = p;
    this.v = p.v;
    this.#places = places;
    this.counts = new ExitCounts(() => p.v.clock.retired(), firstLevel, { name: reasonName, entries: [Reason.vmlaunch, Reason.vmresume] });
    this.capabilities = capabilitiesOf(p.v.model, features);
    this.#offered = fieldDescriptions.map((f) => f.gate === undefined || this.capabilities.has(f.gate));
    this.vmcs = new Vmcs(p.v.pool, p.v.quads);
    this.shadow = new Vmcs(p.v.pool, p.v.quads);
    this.ept = new ExtendedPaging(p, this.vmcs);
    this.timer = new PreemptionTimer(p.v, timers);
    this.apic = new VirtualApic(this);
  }

  get operation(): number {
    return this.v.get(this.#places.operation);
  }
  setOperation(operation: number): void {
    this.v.set(this.#places.operation, operation);
  }
  get nonRoot(): boolean {
    return this.v.get(this.#places.operation) === Operation.nonRoot;
  }
  /** Physical address of the VMXON region. */
  get region(): bigint {
    return this.v.get64(this.#places.vmxon);
  }
  setRegion(pointer: bigint): void {
    this.v.set64(this.#places.vmxon, pointer);
  }
  get spaces(): AddressSpaces {
    return this.p.spaces;
  }
  isPending(what: number): boolean {
    return (this.v.get(At.vmxPending) & what) !== 0;
  }
  setPending(what: number, qualification?: number): void {
    this.v.set(At.vmxPending, this.v.get(At.vmxPending) | what);
    if (qualification !== undefined) this.v.set(At.vmxPendingQualification, qualification);
  }
  get current(): bigint {
    return this.v.get64(this.#places.current);
  }
  setCurrent(pointer: bigint): void {
    this.keeper?.leavesVmcs();
    this.v.set64(this.#places.current, pointer);
    this.vmcs.select(pointer === noVmcs ? 0 : this.frameAt(pointer));
  }
  /** The frame at a guest-physical address; 0 when it is not RAM. */
  frameAt(address: bigint): number {
    return this.v.space.frameOf(Number(address / BigInt(pageBytes)));
  }
  /** Uses the tables of the guest, under its own tags. To be called with its controls loaded. */
  useTables(): void {
    const { vmcs } = this;
    const pointer = this.attachTables();
    const guarded = this.wantsSecondary(Secondary.apicAccesses) ? vmcs.get(F.apicAccess) : 0n;
    this.spaces.enterGuest(this.wantsSecondary(Secondary.vpid) ? vmcs.get32(F.vpid) : 0, pointer, guarded);
  }
  /** The guest's EPT pointer, 0 without EPT. */
  attachTables(): bigint {
    const usesEpt = this.wantsSecondary(Secondary.ept);
    const pointer = usesEpt ? this.vmcs.get(F.eptPointer) : 0n;
    this.p.paging.second = usesEpt ? this.ept : undefined;
    if (usesEpt) this.ept.use(pointer, this.secondary);
    return pointer;
  }
  /** Makes everything again that follows from the processor's state and the VMCSs in memory: for a machine that was saved. */
  restore(): void {
    this.setCurrent(this.current);
    this.checked.clear();
    this.ept.drop(() => true);
    this.timer.restore();
    if (this.nonRoot) {
      this.loadControls();
      this.link();
      this.attachTables();
      this.apic.attach();
    } else {
      this.p.paging.second = undefined;
      this.apic.end();
    }
  }
  /** Reads the controls that matter while the guest runs. */
  loadControls(): void {
    const { vmcs } = this;
    this.pin = vmcs.get32(F.pinControls);
    this.primary = vmcs.get32(F.primaryControls);
    this.secondary = (this.primary & Primary.secondary) !== 0 ? vmcs.get32(F.secondaryControls) : 0;
    this.exceptionBitmap = vmcs.get32(F.exceptionBitmap);
  }
  /** Without VPIDs nothing outlives a switch, on either side. */
  get flushesRoot(): boolean {
    return (this.secondary & Secondary.vpid) === 0;
  }
  /** Whether the processor has the field at a place. */
  offers(place: number): boolean {
    return this.#offered[place] ?? false;
  }
  /** Finds the VMCS behind the link pointer, which the running guest reads and writes while VMCS shadowing is on. */
  link(): void {
    const pointer = (this.secondary & Secondary.vmcsShadowing) !== 0 ? this.vmcs.get(F.linkPointer) : noVmcs;
    this.shadow.select(pointer === noVmcs ? 0 : this.frameAt(pointer));
  }
  /** Physical address of the bitmap that says which fields the guest may not reach by itself. */
  bitmapOf(kind: 'read' | 'write'): bigint {
    return this.vmcs.get(kind === 'read' ? F.vmreadBitmap : F.vmwriteBitmap);
  }
  /** VMREAD or VMWRITE is about to reach a field of the current VMCS. */
  accessed(encoding: number, write: boolean): void {
    this.keeper?.accesses(encoding, write);
    if (write) this.checked.written(this.current, encoding & ~1);
  }
  /** VMCLEAR's effect on a region, which need not be the current one. */
  markClear(pointer: bigint): void {
    this.keeper?.leavesVmcs();
    const region = new Vmcs(this.v.pool, this.v.quads);
    region.select(this.frameAt(pointer));
    region.launched = false;
    this.checked.forget(pointer);
  }
  /** Forgets translations of EPT pointers, with what was composed from them. */
  dropEpt(test: (eptPointer: bigint) => boolean): void {
    this.ept.drop(test);
    if (this.keeper) return this.keeper.droppedEpt(test);
    this.spaces.drop((_vpid, eptPointer) => eptPointer !== 0n && test(eptPointer));
  }
  dropVpid(test: (vpid: number) => boolean): void {
    if (this.keeper) return this.keeper.droppedVpid();
    this.spaces.drop(test);
  }
  /** The translations of one linear address. */
  dropPage(vpid: number, linear: bigint): void {
    if (this.keeper) return this.keeper.droppedVpid();
    for (const context of this.spaces.of(vpid)) this.p.paging.invalidatePage(linear, context);
  }
  wantsPin(bit: number): boolean {
    return (this.pin & bit) !== 0;
  }
  wants(bit: number): boolean {
    return (this.primary & bit) !== 0;
  }
  wantsSecondary(bit: number): boolean {
    return (this.secondary & bit) !== 0;
  }
}
