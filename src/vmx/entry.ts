/** VMLAUNCH and VMRESUME: checks, loading of the guest's state, injection of an event. SDM 3C, chapter 27. */
import { hasInstructionBreakpoints } from '../cpu/breakpoints.ts';
import { writeFlags } from '../cpu/flags.ts';
import { deliver, EventType, type Interruption } from '../cpu/interrupts.ts';
import { pointerCount } from '../cpu/page-walk.ts';
import { setSegment } from '../cpu/segments.ts';
import { At, Efer, Flag } from '../cpu/state.ts';
import { noVmcs } from '../cpu/vcpu.ts';
import { type Check, EntryContext } from './checks/context.ts';
import { controlChecks } from './checks/controls.ts';
import { guestChecks } from './checks/guest.ts';
import { hostChecks } from './checks/host.ts';
import { Activity, Blocking, EntryControl, Interruption as Information, Pin, Primary, Secondary } from './controls.ts';
import { debugCauses, failEntry } from './exit.ts';
import { Reason } from './exit-reasons.ts';
import { F } from './fields.ts';
import { loadMsrs } from './msr-lists.ts';
import { Operation, PendingExit } from './operation.ts';
import { fail, VmError } from './outcome.ts';
import type { Vmx } from './vmx.ts';

/** ET, CD, NW and reserved bits stay as they are. */
const keptCr0 = 0x7ffa_ffd0n;

/** Pending debug exceptions count when a breakpoint of theirs is enabled, or for a single step. */
const validTraps = 0x5000;

/** All checks of an area, and those that a VMCS that has passed them needs again. */
interface Rows {
  readonly all: readonly Check[];
  readonly always: readonly Check[];
}
const rowsOf = (all: readonly Check[]): Rows => ({ all, always: all.filter((check) => check.always) });
const rows = { controls: rowsOf(controlChecks), host: rowsOf(hostChecks), guest: rowsOf(guestChecks) };

/** What the checks of an entry say: it may go on, is refused with an error number, or fails with an exit. */
export type Examined =
  | { readonly kind: 'good'; readonly context: EntryContext }
  | { readonly kind: 'refused'; readonly error: number }
  | { readonly kind: 'failed'; readonly qualification: number };

export function examine(x: Vmx): Examined {
  const c = new EntryContext(x);
  const known = x.checked.has(x.current);
  const failing = (rows: Rows): Check | undefined => (known ? rows.always : rows.all).find((check) => !check.holds(c));
  const controls = failing(rows.controls);
  const refusal = controls ?? failing(rows.host);
  if (refusal) {
    x.trace?.(undefined, `vm entry refused: row ${refusal.row}`);
    x.counts.failedEntries++;
    return { kind: 'refused', error: controls ? VmError.invalidControls : VmError.invalidHostState };
  }
  const guest = failing(rows.guest);
  if (guest) {
    x.trace?.(Reason.invalidGuestState, `vm entry fails: row ${guest.row}`);
    x.counts.failedEntries++;
    return { kind: 'failed', qualification: guest.qualification ?? 0 };
  }
  x.checked.add(x.current);
  return { kind: 'good', context: c };
}

/** The next address and operation are set when this returns. May throw a VM exit that the injected event met. */
export function enter(x: Vmx): void {
  const examined = examine(x);
  switch (examined.kind) {
    case 'refused':
      fail(x, examined.error);
      return x.v.jump(x.v.nextIp);
    case 'failed':
      return failEntry(x, Reason.invalidGuestState, examined.qualification);
    case 'good':
      x.spaces.leave();
      proceed(x, examined.context);
  }
}
/** The entry after its checks. */
export function proceed(x: Vmx, c: EntryContext): void {
  loadGuest(x, c);
  x.setOperation(Operation.nonRoot);
  const failed = loadMsrs(x, c.vmcs.get(F.entryMsrLoad), c.vmcs.get32(F.entryMsrLoadCount));
  if (failed !== 0) {
    x.counts.failedEntries++;
    return failEntry(x, Reason.msrLoading, failed);
  }
  c.vmcs.launched = true;
  x.counts.entered(x.current);
  x.trace?.(undefined, `vm entry at ${c.vmcs.get(F.guestRip).toString(16)}`);
  begin(x, c);
  inject(x, c);
}

function loadGuest(x: Vmx, c: EntryContext): void {
  const { v } = x;
  const { vmcs } = c;
  const cr0 = (v.get64(At.cr0) & keptCr0) | (vmcs.get(F.guestCr0) & ~keptCr0);
  v.set64(At.cr0, cr0);
  v.set64(At.cr3, vmcs.get(F.guestCr3));
  v.set64(At.cr4, vmcs.get(F.guestCr4));
  if ((c.entry & EntryControl.loadDebug) !== 0) {
    v.set64(At.debug, (vmcs.get(F.guestDr7) & 0xffff_2bffn) | 0x400n, 7);
    v.set64(At.debugControl, vmcs.get(F.guestDebugControl));
  }
  v.set64(At.sysenterCs, vmcs.get(F.guestSysenterCs));
  v.set64(At.sysenterEsp, vmcs.get(F.guestSysenterEsp));
  v.set64(At.sysenterEip, vmcs.get(F.guestSysenterEip));
  if ((c.entry & EntryControl.loadPat) !== 0) v.set64(At.pat, vmcs.get(F.guestPat));
  v.set64(At.efer, guestEfer(x, c, cr0));

  loadPointers(x, c);
  for (let n = 0; n < 8; n++) {
    setSegment(v, n, vmcs.get32(F.guestEsSelector + n), {
      base: vmcs.get(F.guestEsBase + n),
      limit: vmcs.get32(F.guestEsLimit + n),
      rights: vmcs.get32(F.guestEsRights + n) & 0x1_f0ff,
    });
  }
  v.set64(At.gdtBase, vmcs.get(F.guestGdtrBase));
  v.set(At.gdtLimit, vmcs.get32(F.guestGdtrLimit));
  v.set64(At.idtBase, vmcs.get(F.guestIdtrBase));
  v.set(At.idtLimit, vmcs.get32(F.guestIdtrLimit));
  const rflags = vmcs.get32(F.guestRflags);
  // it would be gone after one instruction, and nothing but a breakpoint can tell
  writeFlags(v, hasInstructionBreakpoints(v) ? rflags : rflags & ~Flag.resume);
  v.set(At.cpl, (rflags & Flag.virtual8086) !== 0 ? 3 : (vmcs.get32(F.guestSsRights) >> 5) & 3);
  v.setRegister(4, vmcs.get(F.guestRsp));
  v.jump(vmcs.get(F.guestRip));
}
/** Those of PAE paging: of the fields under EPT, otherwise of memory, where the checks found them good. */
function loadPointers({ p, v }: Vmx, { vmcs, usesEpt }: EntryContext): void {
  if (!v.usesPae) return;
  if (!usesEpt) {
    p.paging.second = undefined;
    p.paging.loadPointers(v.cr3);
    return;
  }
  for (let n = 0; n < pointerCount; n++) v.set64(At.pdpte, vmcs.get(F.guestPdpte0 + n), n);
}
export function guestEfer(x: Vmx, c: EntryContext, cr0: bigint): bigint {
  if ((c.entry & EntryControl.loadEfer) !== 0) return c.vmcs.get(F.guestEfer);
  const before = x.v.get64(At.efer);
  const long = c.ia32e ? BigInt(Efer.lma) : 0n;
  const efer = (before & ~BigInt(Efer.lma)) | long;
  if ((cr0 & 0x8000_0000n) === 0n) return efer;
  return (efer & ~BigInt(Efer.lme)) | (c.ia32e ? BigInt(Efer.lme) : 0n);
}

/** Address spaces, time and blocking of the guest that is to run now. */
function begin(x: Vmx, c: EntryContext): void {
  const { v } = x;
  const { vmcs } = c;
  x.loadControls();
  x.link();
  x.useTables();
  const shiftsTime = x.wants(Primary.tscOffsetting);
  v.set64(At.vmxTscOffset, shiftsTime ? vmcs.get(F.tscOffset) : 0n);
  v.set64(At.vmxTscMultiplier, shiftsTime && x.wantsSecondary(Secondary.tscScaling) ? vmcs.get(F.tscMultiplier) : 0n);
  v.set(At.hostNmiBlocked, v.get(At.nmiBlocked));
  const blocking = vmcs.get32(F.guestInterruptibility);
  const ip = vmcs.get(F.guestRip);
  const [sti, movSs] = [(blocking & Blocking.sti) !== 0, (blocking & Blocking.movSs) !== 0];
  v.set64(At.interruptShadow, sti || movSs ? ip : 0n);
  v.set64(At.stackShadow, movSs ? ip : 0n);
  v.set(At.nmiBlocked, (blocking & Blocking.nmi) !== 0 ? 1 : 0);
  const traps = Number(vmcs.get(F.guestPendingDebug) & 0xffffn);
  v.set(At.pendingDebug, (traps & validTraps) !== 0 ? traps & debugCauses : 0);
  v.set(At.halted, vmcs.get32(F.guestActivity) === Activity.active ? 0 : 1);
  x.apic.begin();
  if (x.wantsPin(Pin.preemptionTimer)) x.timer.start(vmcs.get32(F.preemptionTimer));
  v.refreshMode();
  v.wake();
}
function inject(x: Vmx, c: EntryContext): void {
  const { v, vmcs } = x;
  if ((c.interruption & Information.valid) !== 0) {
    const type = (c.interruption >>> 8) & 7;
    if (type === 7) {
      x.setPending(PendingExit.monitorTrap);
      return;
    }
    const event: Interruption = {
      type: type as EventType,
      vector: c.interruption & 0xff,
      error: (c.interruption & Information.errorCode) !== 0 ? vmcs.get32(F.entryErrorCode) : undefined,
      injected: true,
      length: vmcs.get32(F.entryInstructionLength),
    };
    const keepsTraps = (type === EventType.software || type === EventType.softwareException) && v.get64(At.stackShadow) !== 0n;
    if (!keepsTraps) v.set(At.pendingDebug, 0);
    v.set(At.halted, 0);
    v.set64(At.interruptShadow, 0n);
    v.set64(At.stackShadow, 0n);
    if (type === EventType.nmi) v.set(At.nmiBlocked, 1);
    deliver(x.p, event);
  }
}

/** The checks before those of the VMCS's fields; true when the entry may go on. */
export function mayEnter(x: Vmx, resume: boolean): boolean {
  const { v } = x;
  if (x.current === noVmcs || x.vmcs.frame === 0 || x.vmcs.isShadow) {
    fail(x, undefined);
    return false;
  }
  const blocked = v.get64(At.stackShadow);
  if (blocked !== 0n && blocked === v.ip) fail(x, VmError.entryBlockedByMovSs);
  else if (!resume && x.vmcs.launched) fail(x, VmError.launchOfLaunched);
  else if (resume && !x.vmcs.launched) fail(x, VmError.resumeOfClear);
  else return true;
  return false;
}
