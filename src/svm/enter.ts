/** VMRUN: checks, the hypervisor's state into its save area, the guest's into the processor, injection of an event. APM 2, 15.5. */
import { hasInstructionBreakpoints } from '../cpu/breakpoints.ts';
import { legalCr4 } from '../cpu/control.ts';
import { protection } from '../cpu/fault.ts';
import { deliver, EventType, type Interruption } from '../cpu/interrupts.ts';
import { legalEfer } from '../cpu/msr.ts';
import { isLegalPointer, pointersAt } from '../cpu/page-walk.ts';
import { At, Cr0, Cr4, Efer, Flag, Rights } from '../cpu/state.ts';
import { VmExit } from '../cpu/vm-exit.ts';
import { ExitCode } from './exit-codes.ts';
import { leave } from './leave.ts';
import { loadWorld, saveWorld } from './registers.ts';
import type { Svm } from './svm.ts';
import { Control, nestedPagingBit, Save, segmentPlace, type Vmcb } from './vmcb.ts';

const Tlb = { nothing: 0, all: 1, asid: 3, asidLocal: 7 } as const;
const valid = 1 << 31;
const errorCode = 1 << 11;
const ioMapBytes = 3 * 4096;
const msrMapBytes = 2 * 4096;

/** The next address is set when this returns. May throw a VM exit that the injected event met. */
export function run(x: Svm, pointer: bigint): void {
  const { v, vmcb } = x;
  const saveArea = x.frameAt(v.get64(At.hostSaveArea));
  if (saveArea === 0) throw protection(0); // it must be memory
  x.host.select(saveArea);
  saveWorld(v, x.host);
  x.host.set64(Save.rip, v.nextIp);
  v.set64(At.vmcb, pointer);
  vmcb.select(x.frameAt(pointer));
  x.spaces.leave();
  if (!isLegal(x)) {
    x.counts.failedEntries++;
    x.trace?.(undefined, 'vmrun refused: the VMCB is not legal');
    return leave(x, new VmExit(ExitCode.invalid));
  }
  load(x);
  x.counts.entered(pointer);
  x.trace?.(undefined, `vmrun at ${vmcb.get64(Save.rip).toString(16)}`);
  inject(x);
}

/** APM 2, 15.5.1. */
function isLegal(x: Svm): boolean {
  const { v, vmcb } = x;
  const [efer, cr0, cr4] = [vmcb.get64(Save.efer), vmcb.get64(Save.cr0), vmcb.get64(Save.cr4)];
  const has = (value: bigint, bit: number): boolean => (value & BigInt(bit)) !== 0n;
  const paged = has(cr0, Cr0.pg);
  const long = has(efer, Efer.lme) && paged;
  const code = vmcb.get16((segmentPlace[1] ?? 0) + 2);
  const longAndBig = (code & (Rights.long >> 4)) !== 0 && (code & (Rights.big >> 4)) !== 0;
  const inRange = (address: bigint, bytes: number): boolean => address + BigInt(bytes) <= 1n << 40n;
  return (
    has(efer, Efer.svme) &&
    (efer & ~legalEfer(v.model)) === 0n &&
    cr0 >> 32n === 0n &&
    (has(cr0, Cr0.cd) || !has(cr0, Cr0.nw)) &&
    (cr4 & ~BigInt(legalCr4(v.model))) === 0n &&
    vmcb.get64(Save.dr6) >> 32n === 0n &&
    vmcb.get64(Save.dr7) >> 32n === 0n &&
    !hasBadPointers(x) &&
    (!long || (has(cr4, Cr4.pae) && has(cr0, Cr0.pe) && !longAndBig)) &&
    x.intercepts(ExitCode.vmrun) &&
    inRange(vmcb.get64(Control.ioMap) & ~0xfffn, ioMapBytes) &&
    inRange(vmcb.get64(Control.msrMap) & ~0xfffn, msrMapBytes) &&
    vmcb.get32(Control.asid) !== 0 &&
    ((vmcb.get64(Control.nested) & nestedPagingBit) === 0n || v.model.features.has('npt')) &&
    isEvent(vmcb.get32(Control.injection))
  );
}
/** PAE paging without nested tables: its page-directory pointers are loaded. */
function hasBadPointers({ v, vmcb }: Svm): boolean {
  const [efer, cr0, cr4] = [vmcb.get64(Save.efer), vmcb.get64(Save.cr0), vmcb.get64(Save.cr4)];
  const usesPae = (cr0 & 0x8000_0000n) !== 0n && (cr4 & BigInt(Cr4.pae)) !== 0n && (efer & BigInt(Efer.lme)) === 0n;
  const isNested = (vmcb.get64(Control.nested) & nestedPagingBit) !== 0n;
  return usesPae && !isNested && !pointersAt(v.space, Number(vmcb.get64(Save.cr3) & 0xffff_ffffn)).every(isLegalPointer);
}
function isEvent(event: number): boolean {
  const [type, vector] = [(event >>> 8) & 7, event & 0xff];
  if ((event & valid) === 0) return true;
  return (
    type === EventType.external ||
    type === EventType.nmi ||
    type === EventType.software ||
    (type === EventType.exception && vector < 32 && vector !== 2)
  );
}

function load(x: Svm): void {
  const { v, vmcb } = x;
  const isNested = (vmcb.get64(Control.nested) & nestedPagingBit) !== 0n;
  loadWorld(v, vmcb);
  // LMA follows from LME and CR0.PG, whatever the save area says
  const efer = vmcb.get64(Save.efer);
  const long = (efer & BigInt(Efer.lme)) !== 0n && (v.cr0 & Cr0.pg) !== 0;
  v.set64(At.efer, long ? efer | BigInt(Efer.lma) : efer & ~BigInt(Efer.lma));
  if (!long || (v.get(At.segmentRights, 1) & Rights.long) === 0) v.jump(v.get64(At.ip) & 0xffff_ffffn);
  if (v.usesPae && !isNested) x.p.paging.loadPointers(v.cr3);
  v.set64(At.cr2, vmcb.get64(Save.cr2));
  v.set64(At.debug, vmcb.get64(Save.dr6) | 0xffff_0ff0n, 6);
  v.set64(At.debug, vmcb.get64(Save.dr7) | 0x400n, 7);
  if (!hasInstructionBreakpoints(v)) v.set(At.systemFlags, v.systemFlags & ~Flag.resume);
  x.setInGuest(true);
  x.holdInterrupts(false);
  v.set64(At.vmxTscOffset, vmcb.get64(Control.tscOffset));
  v.set64(At.interruptShadow, (vmcb.get64(Control.shadow) & 1n) !== 0n ? v.get64(At.ip) : 0n);
  v.set64(At.stackShadow, 0n);
  v.set(At.halted, 0);
  v.set(At.pendingDebug, 0);
  if (isNested) v.set64(At.pat, vmcb.get64(Save.pat));
  flush(x, vmcb);
  x.useTables();
  v.refreshMode();
  v.wake();
}
/** What the TLB control asks for. APM 2, 15.16.2. */
function flush(x: Svm, vmcb: Vmcb): void {
  const asid = vmcb.get32(Control.asid);
  switch (vmcb.get32(Control.tlb) & 0xff) {
    case Tlb.nothing:
      break;
    case Tlb.all:
      x.spaces.drop(() => true);
      break;
    default:
      x.spaces.drop((of) => of === asid);
  }
}
function inject(x: Svm): void {
  const { v, vmcb } = x;
  const event = vmcb.get32(Control.injection);
  if ((event & valid) === 0) return;
  const type = (event >>> 8) & 7;
  v.set64(At.interruptShadow, 0n);
  if (type === EventType.nmi) v.set(At.nmiBlocked, 1);
  const interruption: Interruption = {
    type: type as EventType,
    vector: event & 0xff,
    error: (event & errorCode) !== 0 ? vmcb.get32(Control.injection + 4) : undefined,
    injected: true,
    length: 0,
  };
  deliver(x.p, interruption);
}
