/** What may leave the guest between two instructions, and which exceptions do. SDM 3C, 26.2 and 26.5. */
import { dueDebugTrap } from '../cpu/breakpoints.ts';
import { Vector } from '../cpu/fault.ts';
import type { GuestMode, PendingInterrupts } from '../cpu/guest-mode.ts';
import { deliver, EventType, type Interruption } from '../cpu/interrupts.ts';
import { At, Flag } from '../cpu/state.ts';
import { type Virtualization, VmExit } from '../cpu/vm-exit.ts';
import { ExitControl, Pin, Primary } from './controls.ts';
import { informationOf, leave } from './exit.ts';
import { Reason } from './exit-reasons.ts';
import { F } from './fields.ts';
import { PendingExit } from './operation.ts';
import type { Vmx } from './vmx.ts';

/**
 * Does what is due now, in the manual's order of priority: an exit, a virtual interrupt, or taking over posted ones. True when something was done;
 * a debug trap that comes before the rest is left to the run loop. SDM 3C, 26.2 and 26.5.2; SDM 3A, table 6-2.
 * `shadowed`: STI or MOV SS blocks. May throw a VM exit that the delivery of an interrupt met.
 */
function act(x: Vmx, waiting: PendingInterrupts, shadowed: boolean): boolean {
  const trapLike = trapLikeExit(x);
  const comesFirst = trapLike === undefined && dueDebugTrap(x.v) !== 0;
  const exit = comesFirst ? undefined : (trapLike ?? dueExit(x, waiting, shadowed));
  if (exit) leave(x, exit);
  if (exit || shadowed || comesFirst) return exit !== undefined;
  return takesVirtualInterrupt(x) || takesExternalInterrupt(x, waiting);
}
function takesVirtualInterrupt(x: Vmx): boolean {
  const event = x.apic.take();
  if (!event) return false;
  x.v.set(At.halted, 0);
  x.v.jump(x.v.ip);
  deliver(x.p, event);
  return true;
}
function takesExternalInterrupt(x: Vmx, waiting: PendingInterrupts): boolean {
  if (!waiting.interrupt || !x.wantsPin(Pin.externalInterrupt)) return false;
  const acknowledges = (x.vmcs.get32(F.exitControls) & ExitControl.acknowledgeInterrupt) !== 0;
  const vector = acknowledges ? waiting.acknowledge() : 0;
  if (acknowledges && x.apic.takePosted(vector)) return true;
  const interruption = acknowledges ? informationOf({ type: EventType.external, vector }) : 0;
  leave(x, new VmExit(Reason.externalInterrupt, 0n, { interruption }));
  return true;
}
/** Exits that belong to the instruction before: they come before its debug trap. */
function trapLikeExit(x: Vmx): VmExit | undefined {
  if (x.isPending(PendingExit.apicWrite)) return new VmExit(Reason.apicWrite, x.apic.pendingQualification);
  if (x.isPending(PendingExit.virtualizedEoi)) return new VmExit(Reason.virtualizedEoi, x.apic.pendingQualification);
  if (x.isPending(PendingExit.tprBelowThreshold)) return new VmExit(Reason.tprBelowThreshold);
  if (x.isPending(PendingExit.monitorTrap)) return new VmExit(Reason.monitorTrap);
  return undefined;
}
function dueExit(x: Vmx, waiting: PendingInterrupts, shadowed: boolean): VmExit | undefined {
  const { v } = x;
  if (x.timer.expired) return new VmExit(Reason.preemptionTimer);
  if (shadowed) return undefined;
  const nmiBlocked = v.get(At.nmiBlocked) !== 0;
  if (x.wants(Primary.nmiWindow) && !nmiBlocked) return new VmExit(Reason.nmiWindow);
  const nmisAreTheHosts = x.wantsPin(Pin.virtualNmis) ? v.get(At.hostNmiBlocked) !== 0 : nmiBlocked;
  if (waiting.nmi && x.wantsPin(Pin.nmi) && !nmisAreTheHosts) {
    waiting.takeNmi();
    return new VmExit(Reason.exception, 0n, { interruption: informationOf({ type: EventType.nmi, vector: Vector.nmi }) });
  }
  if (x.wants(Primary.interruptWindow) && (v.systemFlags & Flag.interrupt) !== 0) return new VmExit(Reason.interruptWindow);
  return undefined;
}
/** Something still waits for the guest to become interruptible. */
const awaits = (x: Vmx): boolean =>
  x.nonRoot && (x.wants(Primary.interruptWindow) || x.wants(Primary.nmiWindow) || x.v.get(At.vmxPending) !== 0 || x.apic.recognizes);

/** INT n is delivered whatever the bitmap says, and interrupts are not exceptions. */
const neverIntercepted: readonly number[] = [EventType.software, EventType.external, EventType.nmi];

/** Exceptions by the bitmap, task switches always. */
export const virtualization = (x: Vmx): Virtualization => ({
  event(event, during) {
    if (!x.nonRoot || neverIntercepted.includes(event.type) || !interceptsException(x, event)) return;
    const qualification =
      event.vector === Vector.page ? (event.address ?? 0n) : BigInt(event.vector === Vector.debug ? (event.causes ?? 0) : 0);
    const soft = event.type === EventType.softwareException || event.type === EventType.privilegedSoftware;
    const exit = new VmExit(Reason.exception, qualification, {
      interruption: informationOf(event),
      errorCode: event.error ?? 0,
      length: soft,
    });
    exit.during = during;
    exit.unblockedNmis = event.unblockedNmis === true;
    throw exit;
  },
  taskSwitch(selector, how) {
    if (!x.nonRoot || x.monitor?.switchesTasks === true) return;
    const source = { call: 0, return: 1, jump: 2, gate: 3 }[how];
    throw new VmExit(Reason.taskSwitch, BigInt(selector) | (BigInt(source) << 30n), { length: how !== 'gate' });
  },
});
function interceptsException(x: Vmx, event: Interruption): boolean {
  const wanted = ((x.exceptionBitmap >>> event.vector) & 1) !== 0;
  if (event.vector !== Vector.page) return wanted;
  const { vmcs } = x;
  const matches = ((event.error ?? 0) & vmcs.get32(F.pageFaultMask)) >>> 0 === vmcs.get32(F.pageFaultMatch);
  return matches ? wanted : !wanted;
}

export const vmxGuestMode = (x: Vmx): GuestMode => ({
  get inGuest() {
    return x.nonRoot;
  },
  holdsInterrupts: false,
  masksInterrupts: false,
  get singleSteps() {
    return x.nonRoot && x.wants(Primary.monitorTrap);
  },
  get entries() {
    return x.counts.entries;
  },
  stepped: () => x.setPending(PendingExit.monitorTrap),
  act: (waiting, shadowed) => act(x, waiting, shadowed),
  get awaits() {
    return awaits(x);
  },
  leave: (exit) => leave(x, exit),
  shutdown: () => new VmExit(Reason.tripleFault),
});
