/**
 * A level-0 monitor as the Turtles project has it: the machine's software runs as its guest (VMCS01), every VMX instruction of it is trapped and
 * emulated, and a guest of that guest (VMCS12) runs on the processor by a third VMCS, VMCS02, that is merged of both. Nested virtualization with a
 * level of our own below, in place of VMX that is simply there. Off by default. Ben-Yehuda et al., The Turtles Project, OSDI 2010.
 */
import { present } from '../../base/assert.ts';
import type { TurtlesOptions } from '../../config/options.ts';
import { Fault, TripleFault, Vector } from '../../cpu/fault.ts';
import type { Helper, HelperTable } from '../../cpu/helpers/helper.ts';
import { EventType, type Interruption } from '../../cpu/interrupts.ts';
import type { Processor } from '../../cpu/processor.ts';
import { At } from '../../cpu/state.ts';
import { noVmcs } from '../../cpu/vcpu.ts';
import { VmExit } from '../../cpu/vm-exit.ts';
import { vmxFeatures } from '../../cpu/vmx-features.ts';
import type { HelperName } from '../../isa/helper-names.ts';
import { pageBytes } from '../../memory/pool.ts';
import type { RamRange } from '../../memory/space.ts';
import type { TimerQueue } from '../../time/timers.ts';
import { EntryContext } from '../checks/context.ts';
import { Interruption as Information, Primary, Secondary } from '../controls.ts';
import { examine, mayEnter, proceed } from '../entry.ts';
import { purposeOf } from '../ept.ts';
import {
  loadExitMsrs,
  loadHostState,
  saveGuest,
  storeExitMsrs,
  traceExit,
  unblockedNmis,
  writeFailure,
  writeInformation,
} from '../exit.ts';
import { Reason } from '../exit-reasons.ts';
import { F } from '../fields.ts';
import { common } from '../instructions.ts';
import { rootHelpers } from '../intercepts.ts';
import { Operation } from '../operation.ts';
import { fail } from '../outcome.ts';
import { switchedPointer } from '../vm-functions.ts';
import { Vmcs } from '../vmcs.ts';
import { type Keeper, type Monitor, processorsVmx, Vmx, virtualVmx } from '../vmx.ts';
import { MonitorMemory } from './memory.ts';
import { blockNmis, injectInto, isHot, isRareState, merge, sync, syncRare } from './merge.ts';
import { isHypervisors } from './routing.ts';
import { ComposedTables, identityTables, nobodysPage } from './tables.ts';
import { hideOwnView, prepareVmcs01, showOwnView } from './vmcs01.ts';

const vpid02 = 2;
const writeBackWalk = 0x1en;
const eptDirtyFlag = 0x40n;
/** Not offered to the guest of the monitor. */
const withheld: readonly string[] = ['mbec', 'ept-violation-ve'];
/** Helpers that leave the monitor's guest for the monitor. */
// biome-ignore format: names
const emulated: readonly HelperName[] = [
  'identify', 'invalidateCaches', 'writeExtendedControl', 'writeControl', 'readModelSpecific', 'writeModelSpecific',
  'vmCall', 'vmFunction', 'vmLaunch', 'vmxOff', 'vmxOn', 'vmClear', 'vmPointerLoad', 'vmPointerStore', 'vmRead', 'vmReadTo', 'vmWrite',
  'invalidateEpt', 'invalidateVpid',
];
const accesses = new Map<HelperName, number>([
  ['vmRead', Reason.vmread],
  ['vmReadTo', Reason.vmread],
  ['vmWrite', Reason.vmwrite],
]);

export class Turtles implements Monitor, Keeper {
  /** The processor's VMX, which the monitor uses. */
  readonly hardware: Vmx;
  /** The VMX that its guest has. */
  readonly inner: Vmx;
  readonly switches: TurtlesOptions;
  readonly #memory: MonitorMemory;
  readonly #tables: ComposedTables;
  readonly #emulator: HelperTable;
  readonly #vmcs01: Vmcs;
  readonly #vmcs02: Vmcs;
  readonly #pages: { readonly vmcs01: number; readonly vmcs02: number; readonly bitmap01: number; readonly bitmap02: number };
  readonly #ept01: bigint;
  /** Whose turn it is: 1 the guest, 2 its guest. */
  #level = 1;
  /** The instruction that may leave the guest: its helper and operands. */
  #call: { readonly name: HelperName; readonly operands: readonly bigint[] } | undefined;
  /** The pointer of VMCS12 that VMCS02 was merged of, and whether rare fields of it are in VMCS02 only. */
  #merged = noVmcs;
  #stale = false;
  #lastVpid = 0;
  #wasLaunched = false;

  constructor(p: Processor, timers: TimerQueue, range: RamRange, switches: TurtlesOptions) {
    const { v } = p;
    this.switches = switches;
    const { features } = v.model;
    this.hardware = new Vmx(p, timers, { features: new Set([...features, ...vmxFeatures]), places: processorsVmx, firstLevel: 1 });
    this.hardware.monitor = this;
    const offered = new Set([...features].filter((f) => !withheld.includes(f)));
    this.inner = new Vmx(p, timers, { features: offered, places: virtualVmx, firstLevel: 2 });
    this.inner.keeper = this;
    this.#memory = new MonitorMemory(v.space, range);
    const page = (): number => this.#memory.allocate();
    this.#pages = { vmcs01: page(), vmcs02: page(), bitmap01: page(), bitmap02: page() };
    this.#ept01 = BigInt(identityTables(v.space, this.#memory) * pageBytes) | writeBackWalk;
    this.#tables = new ComposedTables(v.space, this.#memory, () => this.#dropComposed());
    const region = (at: number): Vmcs => {
      const vmcs = new Vmcs(v.pool, v.quads);
      vmcs.select(v.space.frameOf(at));
      return vmcs;
    };
    this.#vmcs01 = region(this.#pages.vmcs01);
    this.#vmcs02 = region(this.#pages.vmcs02);
    prepareVmcs01(this.hardware, this.#vmcs01, { eptPointer: this.#ept01, bitmap: this.#pages.bitmap01 });
    this.#emulator = rootHelpers(this.inner, p.helpers);
  }

  /** The helpers that remember what the guest's instruction was about, in front of those of the processor. */
  attach(p: Processor): void {
    const traps = Object.fromEntries(emulated.map((name) => [name, this.#trapped(name, p.helpers[name])]));
    p.helpers = { ...p.helpers, ...traps };
  }
  #trapped(name: HelperName, hardware: Helper): Helper {
    const reason = accesses.get(name);
    return (p, a, b, c, d, e) => {
      if (this.#level !== 1) return hardware(p, a, b, c, d, e);
      if (reason !== undefined && this.inner.operation === Operation.root)
        return this.#access(reason, () => this.#emulator[name](p, a, b, c, d, e));
      this.#call = { name, operands: [a, b, c, d, e] };
      return hardware(p, a, b, c, d, e);
    };
  }
  /** VMREAD and VMWRITE are so many that the exit, and the entry behind it, are made where they stand: nothing that runs them is left. */
  #access<T>(reason: number, emulate: () => T): T {
    if (this.switches.direct) return emulate();
    this.#leaveGuest(new VmExit(reason));
    try {
      return emulate();
    } finally {
      this.#enterGuest();
    }
  }

  get switchesTasks(): boolean {
    return this.#level === 1;
  }

  // --- level 1
  /** Runs the guest from the processor's state as it is. `fault`: for the guest to handle first. */
  runGuest(fault?: Fault): void {
    const { hardware: x } = this;
    const { v } = x;
    this.#level = 1;
    x.setCurrent(BigInt(this.#pages.vmcs01 * pageBytes));
    const vmcs = this.#vmcs01;
    hideOwnView(v, this.#vmcs01);
    saveGuest(x, new VmExit(Reason.vmcall));
    vmcs.set32(F.entryInterruption, 0);
    if (fault) {
      if (fault.address !== undefined && fault.vector === Vector.page) v.set64(At.cr2, fault.address);
      injectInto(vmcs, { type: EventType.exception, vector: fault.vector, error: fault.error });
    }
    proceed(x, new EntryContext(x));
  }
  exited(exit: VmExit): void {
    this.hardware.setOperation(Operation.root);
    this.inner.counts.machineLeft();
    this.#route(exit);
  }
  /**
   * An instruction of the guest that the monitor carries out for it. The monitor needs none of the processor's registers: what a level 0 on hardware
   * would save and load stays where it is.
   */
  emulates(exit: VmExit): boolean {
    if (this.#level !== 1) return false;
    const { hardware: x } = this;
    const { v } = x;
    this.#leaveGuest(exit);
    if (exit.reason === Reason.tripleFault) throw new TripleFault('of the guest of the monitor');
    const { name, operands } = present(this.#call, 'an instruction that left the guest');
    this.#call = undefined;
    const [at, next] = [v.ip, v.nextIp];
    try {
      if (name === 'vmLaunch') {
        this.#launch(operands[0] !== 0n, next);
        return true;
      }
      const [a = 0n, b = 0n, c = 0n, d = 0n, e = 0n] = operands;
      this.#emulator[name](x.p, a, b, c, d, e);
      if (v.ip === at) v.jump(next);
    } catch (problem) {
      if (!(problem instanceof Fault)) throw problem;
      v.jump(at);
      x.spaces.leave();
      this.runGuest(problem);
      return true;
    }
    this.#enterGuest();
    return true;
  }
  #leaveGuest(exit: VmExit): void {
    const { hardware: x } = this;
    x.counts.left(x.current, exit.reason);
    traceExit(x, exit);
    this.inner.counts.machineLeft();
    x.setOperation(Operation.root);
    showOwnView(x.v, this.#vmcs01);
  }
  #enterGuest(): void {
    const { hardware: x } = this;
    hideOwnView(x.v, this.#vmcs01);
    x.setOperation(Operation.nonRoot);
    x.counts.entered(x.current);
  }

  // --- VMLAUNCH and VMRESUME
  #launch(resume: boolean, next: bigint): void {
    const { inner } = this;
    const { v } = inner;
    const goOn = (): void => {
      v.jump(next);
      this.runGuest();
    };
    common(inner, () => new VmExit(Reason.vmlaunch));
    this.hardware.spaces.leave();
    this.syncRareState();
    if (!mayEnter(inner, resume)) return goOn();
    const examined = examine(inner);
    if (examined.kind === 'refused') {
      fail(inner, examined.error);
      return goOn();
    }
    if (examined.kind === 'failed') return this.#returnWithFailure(Reason.invalidGuestState, examined.qualification);
    this.#merge(examined.context);
    this.#wasLaunched = inner.vmcs.launched;
    inner.vmcs.launched = true;
    inner.counts.entered(inner.current);
    this.#runNested();
  }
  #merge(c: EntryContext): void {
    const { hardware: x, inner, switches } = this;
    inner.loadControls();
    const usesEpt = c.usesEpt;
    const pointer = inner.vmcs.get(F.eptPointer);
    if (usesEpt) inner.ept.use(pointer, c.secondary);
    const vpid = inner.wantsSecondary(Secondary.vpid) ? inner.vmcs.get32(F.vpid) : 0;
    if (vpid === 0 || vpid !== this.#lastVpid) this.#flushNested();
    this.#lastVpid = vpid;
    merge(inner, c, x, {
      vmcs02: this.#vmcs02,
      eptPointer02: this.#composedPointer(),
      vpid02: switches.vpid02 ? vpid02 : 0,
      full: !switches.dirty || this.#merged !== inner.current,
    });
    this.#merged = inner.current;
    if (inner.wants(Primary.msrBitmaps)) this.#mergeBitmaps();
  }
  /** An MSR exits when either asks for it. */
  #mergeBitmaps(): void {
    const { v } = this.inner;
    const { space, words } = v;
    const wordOf = (page: number): number => (space.frameOf(page) * pageBytes) >>> 2;
    const [mine, theirs] = [wordOf(this.#pages.bitmap01), wordOf(Number(this.inner.vmcs.get(F.msrBitmap) >> 12n))];
    const both = wordOf(this.#pages.bitmap02);
    // a page that is not RAM reads as ones
    for (let n = 0; n < pageBytes / 4; n++) words[both + n] = theirs === 0 ? -1 : (words[mine + n] ?? 0) | (words[theirs + n] ?? 0);
    this.#vmcs02.set(F.msrBitmap, BigInt(this.#pages.bitmap02 * pageBytes));
  }
  /** EPT02 for the guest's EPT12; without EPT12 the guest shadows page tables itself, and EPT01 is below them. */
  #composedPointer(): bigint {
    const { inner } = this;
    if (!inner.wantsSecondary(Secondary.ept)) return this.#ept01;
    const pointer = inner.vmcs.get(F.eptPointer);
    return BigInt(this.#tables.rootOf(pointer) * pageBytes) | writeBackWalk | (pointer & eptDirtyFlag);
  }
  #runNested(): void {
    const { hardware: x } = this;
    this.#level = 2;
    x.setCurrent(BigInt(this.#pages.vmcs02 * pageBytes));
    proceed(x, new EntryContext(x));
  }

  // --- level 2
  #route(exit: VmExit): void {
    const { inner } = this;
    if (isHypervisors(inner, exit.reason)) return this.#reflect(exit);
    switch (exit.reason) {
      case Reason.eptViolation:
      case Reason.eptMisconfiguration:
        return this.#compose(exit);
      case Reason.vmfunc:
        inner.vmcs.set(F.eptPointer, switchedPointer(inner) ?? 0n);
        inner.ept.use(inner.vmcs.get(F.eptPointer), inner.secondary);
        return this.#resumeNested(undefined, true);
      default:
        return this.#emulateMsr(exit.reason === Reason.rdmsr ? 'readModelSpecific' : 'writeModelSpecific');
    }
  }
  /** The guest's guest accesses a capability MSR that its hypervisor leaves to it: it is the hypervisor's own, not the processor's. */
  #emulateMsr(name: HelperName): void {
    const { p } = this.hardware;
    try {
      this.#emulator[name](p, 0n, 0n, 0n, 0n, 0n);
    } catch (problem) {
      if (!(problem instanceof Fault)) throw problem;
      return this.#resumeNested({ type: EventType.exception, vector: problem.vector, error: problem.error });
    }
    this.#resumeNested(undefined, true);
  }
  /** EPT02 has no such page, or not this right: EPT12 decides. */
  #compose(exit: VmExit): void {
    const { inner } = this;
    const physical = exit.details.physical ?? 0n;
    const linear = exit.details.linear ?? 0n;
    const q = exit.reason === Reason.eptViolation ? Number(exit.qualification) : 0x101;
    const page = Number(physical >> 12n);
    const [low, high] = [Number(BigInt.asIntN(32, linear)), Number(BigInt.asIntN(32, linear >> 32n))];
    try {
      const found = inner.ept.page(page, Number(physical & 0xfffn), (q & 2) !== 0, (q & 4) !== 0, purposeOf(q), low, high);
      const below = this.#memory.contains(found) ? nobodysPage : found;
      this.#tables.fill(inner.vmcs.get(F.eptPointer), page, below, inner.ept.granted);
    } catch (problem) {
      if (!(problem instanceof VmExit)) throw problem;
      problem.inPlaceOf(exit);
      return this.#reflect(problem);
    }
    if (unblockedNmis(exit)) blockNmis(this.#vmcs02);
    this.#resumeNested(exit.during);
  }
  /** Back to the guest's guest, without its hypervisor. `event`: what was being delivered. */
  #resumeNested(event: Interruption | undefined, skip = false): void {
    const vmcs = this.#vmcs02;
    if (skip) vmcs.set(F.guestRip, this.hardware.v.nextIp);
    vmcs.set32(F.entryInterruption, 0);
    vmcs.set32(F.entryMsrLoadCount, 0);
    vmcs.set(F.eptPointer, this.#composedPointer());
    if (event) injectInto(vmcs, event);
    this.#runNested();
  }

  // --- exits that the guest's hypervisor sees
  #reflect(exit: VmExit): void {
    const { hardware: x, inner } = this;
    inner.counts.left(inner.current, exit.reason);
    sync(inner, this.#vmcs02, !this.switches.dirty);
    this.#stale = this.switches.dirty;
    writeInformation(inner, exit);
    inner.vmcs.set32(F.entryInterruption, inner.vmcs.get32(F.entryInterruption) & ~Information.valid);
    traceExit(inner, exit);
    storeExitMsrs(inner);
    x.timer.stop();
    x.v.set(At.vmxPending, 0);
    this.#returnToGuest();
  }
  failed(reason: number, qualification: number): void {
    this.hardware.setOperation(Operation.root);
    this.inner.vmcs.launched = this.#wasLaunched;
    this.#returnWithFailure(reason, qualification);
  }
  #returnWithFailure(reason: number, qualification: number): void {
    writeFailure(this.inner, reason, qualification);
    this.#returnToGuest();
  }
  #returnToGuest(): void {
    const { v } = this.hardware;
    v.set64(At.vmxTscOffset, 0n);
    v.set64(At.vmxTscMultiplier, 0n);
    loadHostState(this.inner);
    v.refreshMode();
    loadExitMsrs(this.inner);
    this.runGuest();
  }

  // --- what the guest's VMX asks of the monitor
  /** Rare fields of VMCS12 that are only in VMCS02 come back. */
  syncRareState(): void {
    if (!this.#stale) return;
    this.#stale = false;
    syncRare(this.inner.vmcs, this.#vmcs02);
  }
  leavesVmcs(): void {
    this.syncRareState();
    this.#merged = noVmcs;
  }
  accesses(encoding: number, write: boolean): void {
    if (isRareState(encoding)) this.syncRareState();
    if (write && !isHot(encoding)) this.#merged = noVmcs;
  }
  droppedEpt(test: (eptPointer: bigint) => boolean): void {
    this.#tables.drop(test);
  }
  droppedVpid(): void {
    this.#flushNested();
  }
  #dropComposed(): void {
    this.hardware.dropEpt((pointer) => pointer !== this.#ept01);
  }
  #flushNested(): void {
    this.hardware.dropVpid((vpid) => vpid === vpid02);
  }
}
