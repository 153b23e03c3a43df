/** VM exits: information, saving of the guest's state, loading of the host's. SDM 3C, chapter 28. */
import { isBlockedByMovSs } from '../cpu/breakpoints.ts';
import { TripleFault, Vector } from '../cpu/fault.ts';
import { readFlags, writeFlags } from '../cpu/flags.ts';
import { EventType, type Interruption } from '../cpu/interrupts.ts';
import { pointerCount } from '../cpu/page-walk.ts';
import { setSegment } from '../cpu/segments.ts';
import { At, Efer, Flag, Rights, Segment } from '../cpu/state.ts';
import type { VmExit } from '../cpu/vm-exit.ts';
import { Activity, Blocking, EntryControl, ExitControl, Interruption as Information, Pin, Secondary } from './controls.ts';
import { entryFailure, Reason, reasonName } from './exit-reasons.ts';
import { F } from './fields.ts';
import { loadMsrs, storeMsrs } from './msr-lists.ts';
import { Operation } from './operation.ts';
import { ApicAccess } from './virtual-apic.ts';
import { raiseVirtualizationException } from './virtualization-exception.ts';
import type { Vmx } from './vmx.ts';

/** Codes of a VMX abort. SDM 3C, 28.7. */
const Abort = { savingMsrs: 1, hostPointers: 2, loadingMsrs: 4 } as const;
/** Bits of CR0 that an exit keeps: ET, CD, NW and reserved ones. */
const keptCr0 = 0x7ffa_ffd0n;
/** Of interruption information and qualifications: an IRET had ended the blocking of NMIs. */
const nmiUnblocking = 1 << 12;
/** Bits of the pending debug exceptions: a breakpoint that is enabled, and causes as `pendingDebug` has them. SDM 3C, table 25-4. */
const enabledBreakpoint = 0x1000;
export const debugCauses = 0x400f;
const flatLimit = 0xffff_ffff;

/** Leaves the guest for its hypervisor, or lets the guest handle its EPT violation. May throw what the delivery of that exception meets. */
export function leave(x: Vmx, exit: VmExit): void {
  const { v, vmcs } = x;
  if (x.monitor?.emulates(exit) === true) return;
  if (exit.details.convertible && raiseVirtualizationException(x, exit)) return;
  x.counts.left(x.current, exit.reason);
  writeInformation(x, exit);
  vmcs.set32(F.entryInterruption, vmcs.get32(F.entryInterruption) & ~Information.valid);
  saveGuest(x, exit);
  traceExit(x, exit);
  storeExitMsrs(x);
  x.spaces.leave();
  if (!x.monitor) loadHost(x);
  // a real NMI that exits leaves NMIs blocked; otherwise blocking is as it was for the hypervisor, whatever its guest's virtual NMIs
  const byNmi = exit.reason === Reason.exception && ((exit.details.interruption ?? 0) & 0x7ff) === ((EventType.nmi << 8) | 2);
  v.set(At.nmiBlocked, byNmi || (x.wantsPin(Pin.virtualNmis) ? v.get(At.hostNmiBlocked) : v.get(At.nmiBlocked)) !== 0 ? 1 : 0);
  x.monitor?.exited(exit);
}
/** To be called with the VMCS as the hypervisor will find it, and the guest's state still in the processor. */
export const traceExit = (x: Vmx, exit: VmExit): void =>
  x.trace?.(exit.reason, `vm exit ${reasonName(exit.reason)} at ${x.v.ip.toString(16)} qualification ${exit.qualification.toString(16)}`);
export function storeExitMsrs(x: Vmx): void {
  if (!storeMsrs(x, x.vmcs.get(F.exitMsrStore), x.vmcs.get32(F.exitMsrStoreCount))) abort(x, Abort.savingMsrs);
}
export function loadExitMsrs(x: Vmx): void {
  if (loadMsrs(x, x.vmcs.get(F.exitMsrLoad), x.vmcs.get32(F.exitMsrLoadCount)) !== 0) abort(x, Abort.loadingMsrs);
}

/** An entry that failed after its controls and host state were found good: no state of the guest is saved. */
export function failEntry(x: Vmx, reason: number, qualification: number): void {
  if (x.monitor) return x.monitor.failed(reason, qualification);
  writeFailure(x, reason, qualification);
  if (!x.nonRoot) x.spaces.leave();
  loadHost(x);
}
export function writeFailure({ vmcs }: Vmx, reason: number, qualification: number): void {
  vmcs.set32(F.exitReason, (entryFailure | reason) >>> 0);
  vmcs.set(F.exitQualification, BigInt(qualification));
}

export function writeInformation(x: Vmx, exit: VmExit): void {
  const { v, vmcs } = x;
  const { details, during } = exit;
  vmcs.set32(F.exitReason, exit.reason);
  vmcs.set(F.exitQualification, qualificationOf(exit));
  vmcs.set32(F.exitInterruption, interruptionOf(exit));
  vmcs.set32(F.exitErrorCode, details.errorCode ?? 0);
  vmcs.set32(F.exitInstructionInformation, details.instruction ?? 0);
  if (details.physical !== undefined) vmcs.set(F.guestPhysical, details.physical);
  if (details.linear !== undefined) vmcs.set(F.guestLinear, details.linear);
  vmcs.set32(F.idtVectoring, during ? informationOf(during) : 0);
  vmcs.set32(F.idtVectoringErrorCode, during?.error ?? 0);
  const software = during !== undefined && during.type >= EventType.software;
  vmcs.set32(
    F.exitInstructionLength,
    software ? (during.length ?? instructionLength(x)) : details.length && v.get(At.record) !== 0 ? instructionLength(x) : 0,
  );
}
/** Accesses to the APIC's page while an event is delivered have types of their own. */
function qualificationOf(exit: VmExit): bigint {
  const { reason, during, qualification } = exit;
  if (reason === Reason.apicAccess && during) {
    const byWalk = qualification >> 12n === BigInt(ApicAccess.walk);
    return (qualification & 0xfffn) | BigInt((byWalk ? ApicAccess.walkForDelivery : ApicAccess.delivery) << 12);
  }
  const tells = reason === Reason.eptViolation || reason === Reason.pmlFull;
  return tells && unblockedNmis(exit) ? qualification | BigInt(nmiUnblocking) : qualification;
}
function interruptionOf(exit: VmExit): number {
  const interruption = exit.details.interruption ?? 0;
  const isDouble = (interruption & 0xff) === Vector.doubleFault;
  return unblockedNmis(exit) && exit.reason === Reason.exception && !isDouble ? (interruption | nmiUnblocking) >>> 0 : interruption;
}
/** SDM 3C, 28.2.3. */
export const unblockedNmis = (exit: VmExit): boolean => exit.unblockedNmis && exit.during === undefined;
const instructionLength = (x: Vmx): number => Number(BigInt.asUintN(8, x.v.nextIp - x.v.ip));
/** Interruption information of an event. SDM 3C, table 25-19. */
export const informationOf = (event: Interruption): number =>
  (Information.valid | (event.type << 8) | event.vector | (event.error === undefined ? 0 : Information.errorCode)) >>> 0;

/** The guest's state of the processor into the VMCS. */
export function saveGuest(x: Vmx, exit: VmExit): void {
  const { v, vmcs } = x;
  const controls = vmcs.get32(F.exitControls);
  vmcs.set(F.guestCr0, v.get64(At.cr0));
  vmcs.set(F.guestCr3, v.get64(At.cr3));
  vmcs.set(F.guestCr4, v.get64(At.cr4));
  if (v.usesPae && x.wantsSecondary(Secondary.ept))
    for (let n = 0; n < pointerCount; n++) vmcs.set(F.guestPdpte0 + n, v.get64(At.pdpte, n));
  if ((controls & ExitControl.saveDebug) !== 0) {
    vmcs.set(F.guestDr7, v.get64(At.debug, 7));
    vmcs.set(F.guestDebugControl, v.get64(At.debugControl));
  }
  vmcs.set(F.guestSysenterCs, v.get64(At.sysenterCs) & 0xffff_ffffn);
  vmcs.set(F.guestSysenterEsp, v.get64(At.sysenterEsp));
  vmcs.set(F.guestSysenterEip, v.get64(At.sysenterEip));
  if ((controls & ExitControl.savePat) !== 0) vmcs.set(F.guestPat, v.get64(At.pat));
  if ((controls & ExitControl.saveEfer) !== 0) vmcs.set(F.guestEfer, v.get64(At.efer));
  for (let n = 0; n < 8; n++) {
    vmcs.set32(F.guestEsSelector + n, v.get(At.segmentSelector, n) & 0xffff);
    vmcs.set(F.guestEsBase + n, v.get64(At.segmentBase, n));
    vmcs.set32(F.guestEsLimit + n, v.get(At.segmentLimit, n));
    vmcs.set32(F.guestEsRights + n, v.get(At.segmentRights, n));
  }
  vmcs.set(F.guestGdtrBase, v.get64(At.gdtBase));
  vmcs.set32(F.guestGdtrLimit, v.get(At.gdtLimit));
  vmcs.set(F.guestIdtrBase, v.get64(At.idtBase));
  vmcs.set32(F.guestIdtrLimit, v.get(At.idtLimit));
  const ip = v.ip;
  vmcs.set(F.guestRip, ip);
  vmcs.set(F.guestRsp, v.register(4));
  vmcs.set(F.guestRflags, BigInt((readFlags(v) | savedResume(exit)) >>> 0));
  saveBlocking(x, ip);
  vmcs.set(F.guestPendingDebug, BigInt(savedDebug(x, exit)));
  const entry = vmcs.get32(F.entryControls);
  vmcs.set32(F.entryControls, v.longActive ? entry | EntryControl.ia32e : entry & ~EntryControl.ia32e);
  if ((controls & ExitControl.savePreemptionTimer) !== 0) vmcs.set32(F.preemptionTimer, x.timer.left);
}
/** RF is set when the instruction is to be run again without meeting its breakpoint. */
function savedResume(exit: VmExit): number {
  if (exit.during) return 0;
  if (exit.reason === Reason.eptViolation || exit.reason === Reason.eptMisconfiguration || exit.reason === Reason.pmlFull)
    return Flag.resume;
  const information = exit.details.interruption ?? 0;
  const fault = exit.reason === Reason.exception && ((information >>> 8) & 7) === EventType.exception && (information & 0xff) !== 1;
  return fault ? Flag.resume : 0;
}
/** Debug traps that the exit comes before; SDM 3C, 28.3.4. */
function savedDebug({ v }: Vmx, exit: VmExit): number {
  const causes = v.get(At.pendingDebug);
  const isDebug = exit.reason === Reason.exception && ((exit.details.interruption ?? 0) & 0xff) === Vector.debug;
  if (causes === 0 || !(comesBeforeTraps.includes(exit.reason) || (isBlockedByMovSs(v) && !isDebug))) return 0;
  return causes | ((causes & 0xf) !== 0 ? enabledBreakpoint : 0);
}
const comesBeforeTraps: readonly number[] = [Reason.tprBelowThreshold, Reason.virtualizedEoi, Reason.apicWrite, Reason.monitorTrap];

function saveBlocking(x: Vmx, ip: bigint): void {
  const { v, vmcs } = x;
  const [any, stack] = [v.get64(At.interruptShadow), v.get64(At.stackShadow)];
  const movSs = stack !== 0n && stack === ip;
  // the place of an old shadow may be met again: with IF clear it cannot be STI's
  const sti = !movSs && any !== 0n && any === ip && (v.systemFlags & Flag.interrupt) !== 0;
  vmcs.set32(
    F.guestInterruptibility,
    (sti ? Blocking.sti : 0) | (movSs ? Blocking.movSs : 0) | (v.get(At.nmiBlocked) !== 0 ? Blocking.nmi : 0),
  );
  vmcs.set32(F.guestActivity, v.get(At.halted) !== 0 ? Activity.hlt : Activity.active);
}

function loadHost(x: Vmx): void {
  const { v } = x;
  x.setOperation(Operation.root);
  x.timer.stop();
  x.apic.end();
  v.set64(At.vmxTscOffset, 0n);
  v.set64(At.vmxTscMultiplier, 0n);
  loadHostState(x);
  v.set(At.vmxPending, 0);
  x.spaces.enterRoot(x.flushesRoot);
  v.refreshMode();
  loadExitMsrs(x);
  v.wake();
}
/** The registers that an exit loads from the host-state area. */
export function loadHostState(x: Vmx): void {
  const { p, v, vmcs } = x;
  const controls = vmcs.get32(F.exitControls);
  const long = (controls & ExitControl.host64) !== 0;
  v.set64(At.cr0, (v.get64(At.cr0) & keptCr0) | (vmcs.get(F.hostCr0) & ~keptCr0));
  v.set64(At.cr3, vmcs.get(F.hostCr3));
  v.set64(At.cr4, vmcs.get(F.hostCr4));
  v.set64(At.debug, 0x400n, 7);
  v.set64(At.debugControl, 0n);
  v.set64(At.sysenterCs, vmcs.get(F.hostSysenterCs));
  v.set64(At.sysenterEsp, vmcs.get(F.hostSysenterEsp));
  v.set64(At.sysenterEip, vmcs.get(F.hostSysenterEip));
  const bits = BigInt(Efer.lma | Efer.lme);
  v.set64(At.efer, (controls & ExitControl.loadEfer) !== 0 ? vmcs.get(F.hostEfer) : (v.get64(At.efer) & ~bits) | (long ? bits : 0n));
  if ((controls & ExitControl.loadPat) !== 0) v.set64(At.pat, vmcs.get(F.hostPat));
  p.paging.second = undefined;
  if (v.usesPae && !p.paging.loadPointers(v.cr3)) abort(x, Abort.hostPointers);

  const data = (n: number, selector: number, base: bigint): void =>
    setSegment(v, n, selector, {
      base,
      limit: flatLimit,
      rights: selector === 0 && n !== Segment.ss ? Rights.unusable : 0x93 | Rights.big | Rights.granular,
    });
  setSegment(v, Segment.cs, vmcs.get32(F.hostCsSelector), {
    base: 0n,
    limit: flatLimit,
    rights: 0x9b | Rights.granular | (long ? Rights.long : Rights.big),
  });
  data(Segment.es, vmcs.get32(F.hostEsSelector), 0n);
  data(Segment.ss, vmcs.get32(F.hostSsSelector), 0n);
  data(Segment.ds, vmcs.get32(F.hostDsSelector), 0n);
  data(Segment.fs, vmcs.get32(F.hostFsSelector), vmcs.get(F.hostFsBase));
  data(Segment.gs, vmcs.get32(F.hostGsSelector), vmcs.get(F.hostGsBase));
  setSegment(v, Segment.tr, vmcs.get32(F.hostTrSelector), { base: vmcs.get(F.hostTrBase), limit: 0x67, rights: 0x8b });
  setSegment(v, Segment.ldtr, 0, { base: 0n, limit: 0, rights: Rights.unusable });
  v.set64(At.gdtBase, vmcs.get(F.hostGdtrBase));
  v.set(At.gdtLimit, 0xffff);
  v.set64(At.idtBase, vmcs.get(F.hostIdtrBase));
  v.set(At.idtLimit, 0xffff);
  v.set(At.cpl, 0);
  writeFlags(v, 2);
  v.setRegister(4, vmcs.get(F.hostRsp));
  v.jump(vmcs.get(F.hostRip));
  v.set64(At.interruptShadow, 0n);
  v.set64(At.stackShadow, 0n);
  v.set(At.halted, 0);
  v.set(At.debugHits, 0);
  v.set(At.pendingDebug, 0);
}

/** The processor shuts down: with one processor that is the machine's end. */
function abort(x: Vmx, code: number): never {
  x.vmcs.abort = code;
  x.setOperation(Operation.root);
  throw new TripleFault(`VMX abort ${code}`);
}
