/** #VMEXIT: the guest's state into its VMCB, the hypervisor's from its save area. APM 2, 15.6. */
import { TripleFault } from '../cpu/fault.ts';
import type { Interruption } from '../cpu/interrupts.ts';
import { At, Flag } from '../cpu/state.ts';
import type { VmExit } from '../cpu/vm-exit.ts';
import { exitName } from './exit-codes.ts';
import { loadWorld, saveWorld } from './registers.ts';
import type { Svm } from './svm.ts';
import { Control, Save } from './vmcb.ts';

const valid = 1 << 31;
const errorCode = 1 << 11;

/** An event as the event fields of the control area have it; the error code is the upper half. */
const eventField = (event: Interruption): bigint =>
  (BigInt(event.error ?? 0) << 32n) |
  BigInt((valid | (event.error === undefined ? 0 : errorCode) | (event.type << 8) | event.vector) >>> 0);

/** Leaves the guest for its hypervisor. */
export function leave(x: Svm, exit: VmExit): void {
  const { v, vmcb } = x;
  x.counts.left(x.current, exit.reason);
  x.trace?.(exit.reason, `vm exit ${exitName(exit.reason)} at ${v.ip.toString(16)} information ${exit.qualification.toString(16)}`);
  vmcb.set64(Control.exitCode, BigInt.asUintN(64, BigInt(exit.reason)));
  vmcb.set64(Control.exitInfo1, exit.qualification);
  vmcb.set64(Control.exitInfo2, exit.details.second ?? 0n);
  vmcb.set64(Control.exitEvent, exit.during ? eventField(exit.during) : 0n);
  if (x.inGuest) {
    const ip = v.ip;
    const shadow = v.get64(At.interruptShadow);
    const shadowed = shadow !== 0n && shadow === ip;
    vmcb.set64(Control.shadow, shadowed ? 1n : 0n);
    vmcb.set64(Control.nextRip, exit.details.length && v.model.features.has('nrip-save') ? v.nextIp : 0n);
    saveWorld(v, vmcb);
    vmcb.set64(Save.rip, ip);
    vmcb.set64(Save.cr2, v.get64(At.cr2));
    vmcb.set64(Save.dr6, v.get64(At.debug, 6) & 0xffff_ffffn);
    vmcb.set64(Save.dr7, v.get64(At.debug, 7) & 0xffff_ffffn);
    if ((vmcb.get64(Control.nested) & 1n) !== 0n) vmcb.set64(Save.pat, v.get64(At.pat));
    x.spaces.leave();
  }
  vmcb.set32(Control.injection, vmcb.get32(Control.injection) & ~valid);
  vmcb.set8(Control.fetched, 0);
  loadHost(x);
}

function loadHost(x: Svm): void {
  const { v } = x;
  x.setInGuest(false);
  x.holdInterrupts(true);
  x.p.paging.second = undefined;
  v.set64(At.vmxTscOffset, 0n);
  loadWorld(v, x.host);
  if (v.usesPae && !x.p.paging.loadPointers(v.cr3)) throw new TripleFault('page-directory pointers of the hypervisor with reserved bits');
  v.set(At.cpl, 0);
  v.set(At.systemFlags, v.systemFlags & ~Flag.virtual8086);
  v.set64(At.debug, 0x400n, 7);
  v.set64(At.interruptShadow, 0n);
  v.set64(At.stackShadow, 0n);
  v.set(At.halted, 0);
  v.set(At.debugHits, 0);
  v.set(At.pendingDebug, 0); // there is no field to keep it in
  x.spaces.enterRoot(false);
  v.refreshMode();
  v.wake();
}
