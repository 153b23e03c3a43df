/** Control transfers, flags, modes, MSRs, time and ports. */

import { readControl, readDebug, setAlignmentFlag, writeControl, writeCr0, writeDebug, writeXcr0 } from '../control.ts';
import { cpuid } from '../cpuid.ts';
import { protection, undefinedOpcode, Vector } from '../fault.ts';
import { readFlags, writeFlags } from '../flags.ts';
import { deliver, EventType, interruptReturn } from '../interrupts.ts';
import { readMsr, writeMsr } from '../msr.ts';
import { canonicalAddress } from '../page-walk.ts';
import type { Processor } from '../processor.ts';
import { iopl } from '../segments.ts';
import { At, Cr0, Cr4, Flag, Segment } from '../state.ts';
import { guestTscOf } from '../time.ts';
import { callFar, jumpFar, returnFar, systemCall, systemEnter, systemExit, systemReturn } from '../transfers.ts';
import { redirectTo8086 } from '../virtual-8086.ts';
import type { Helpers } from './helper.ts';

export function checkLevel0(p: Processor): void {
  if (p.v.cpl !== 0) throw protection(0);
}

/** IN and OUT above IOPL look in the TSS's permission bitmap. SDM 1, 19.5.2. */
export function checkPort(p: Processor, port: number, width: number): void {
  const { v } = p;
  if (!v.protectedMode || (v.cpl <= iopl(v) && !v.virtual8086)) return;
  const base = v.get64(At.segmentBase, Segment.tr);
  const limit = v.get(At.segmentLimit, Segment.tr) >>> 0;
  if ((v.get(At.segmentRights, Segment.tr) & 8) === 0 || limit < 0x67) throw protection(0);
  const map = Number(p.loadSystem(base + 0x66n, 2)) + (port >> 3);
  if (map + 1 > limit) throw protection(0);
  const bits = Number(p.loadSystem(base + BigInt(map), 2)) >> (port & 7);
  if ((bits & ((1 << width) - 1)) !== 0) throw protection(0);
}

function popFlags(p: Processor, image: number, size: number): void {
  const { v } = p;
  const cpl = v.cpl;
  let writable = 0x8d5 | Flag.trap | Flag.direction | Flag.nested;
  if (size > 16) writable |= Flag.alignment | Flag.id;
  if (cpl <= iopl(v)) writable |= Flag.interrupt;
  if (cpl === 0) writable |= Flag.iopl;
  writeFlags(v, ((readFlags(v) & ~writable) | (image & writable)) & ~Flag.resume);
  if (size > 16) v.refreshMode(); // AC may have changed
}

const exception = (p: Processor, vector: number): void => deliver(p, { type: EventType.softwareException, vector });

export const controlHelpers: Helpers<
  | 'jumpFar' | 'callFar' | 'returnFar' | 'softwareInterrupt' | 'breakpoint' | 'overflowTrap' | 'debugTrap' | 'interruptReturn' | 'systemCall'
  | 'systemReturn' | 'systemEnter' | 'systemExit' | 'halt' | 'checkFlagsAccess' | 'writeFlags' | 'clearInterruptFlag' | 'setInterruptFlag'
  | 'loadMachineStatus' | 'storeMachineStatus' | 'clearTaskSwitched' | 'readControl' | 'writeControl' | 'readDebug' | 'writeDebug'
  | 'clearAccess' | 'setAccess' | 'readExtendedControl' | 'writeExtendedControl' | 'readModelSpecific' | 'writeModelSpecific'
  | 'readPerformanceCounter' | 'identify' | 'invalidatePage' | 'invalidateContext' | 'invalidateCaches' | 'pause'
  | 'timestamp' | 'processorId' | 'randomNumber' | 'randomSeed' | 'checkPort' | 'portIn' | 'portOut'
> = {
  jumpFar: (p, selector, offset, size) => jumpFar(p, Number(selector), offset, Number(size)),
  callFar: (p, selector, offset, size) => callFar(p, Number(selector), offset, Number(size)),
  returnFar: (p, extra, size) => returnFar(p, extra, Number(size)),
  softwareInterrupt(p, vector) {
    if (p.v.virtual8086) {
      if (redirectTo8086(p, Number(vector))) return;
      if (iopl(p.v) < 3) throw protection(0);
    }
    deliver(p, { type: EventType.software, vector: Number(vector) });
  },
  breakpoint: (p) => exception(p, Vector.breakpoint),
  overflowTrap: (p) => exception(p, Vector.overflow),
  /** INT1: like a hardware #DB, without the check of the gate's DPL. */
  debugTrap: (p) => deliver(p, { type: EventType.privilegedSoftware, vector: Vector.debug }),
  interruptReturn: (p, size) => interruptReturn(p, Number(size)),
  systemCall: (p) => systemCall(p),
  systemReturn: (p, size) => systemReturn(p, Number(size)),
  systemEnter: (p) => systemEnter(p),
  systemExit: (p, size) => systemExit(p, Number(size)),
  halt(p) {
    checkLevel0(p);
    p.v.set(At.halted, 1);
  },
  checkFlagsAccess(p) {
    if (p.v.virtual8086 && iopl(p.v) < 3) throw protection(0);
  },
  writeFlags: (p, value, size) => popFlags(p, Number(value & 0xffff_ffffn) & (size === 16n ? 0xffff : -1), Number(size)),
  clearInterruptFlag(p) {
    if (p.v.protectedMode && p.v.cpl > iopl(p.v)) throw protection(0);
    p.v.set(At.systemFlags, p.v.systemFlags & ~Flag.interrupt);
  },
  setInterruptFlag(p) {
    if (p.v.protectedMode && p.v.cpl > iopl(p.v)) throw protection(0);
    if ((p.v.systemFlags & Flag.interrupt) === 0) p.v.set64(At.interruptShadow, p.v.nextIp);
    p.v.set(At.systemFlags, p.v.systemFlags | Flag.interrupt);
  },
  loadMachineStatus(p, value) {
    checkLevel0(p);
    const old = p.v.get64(At.cr0);
    writeCr0(p, (old & ~0xen) | (value & 0xfn) | (old & 1n)); // PE can be set, not cleared
  },
  storeMachineStatus(p) {
    if ((p.v.cr4 & Cr4.umip) !== 0 && p.v.cpl !== 0) throw protection(0);
    return p.v.get64(At.cr0);
  },
  clearTaskSwitched(p) {
    checkLevel0(p);
    p.v.set64(At.cr0, p.v.get64(At.cr0) & ~BigInt(Cr0.ts));
    p.v.refreshMode();
  },
  readControl: (p, number) => readControl(p, Number(number)),
  writeControl: (p, number, value) => writeControl(p, Number(number), value),
  readDebug: (p, number) => readDebug(p, Number(number)),
  writeDebug: (p, number, value) => writeDebug(p, Number(number), value),
  clearAccess: (p) => setAlignmentFlag(p, false),
  setAccess: (p) => setAlignmentFlag(p, true),
  readExtendedControl(p) {
    if ((p.v.cr4 & Cr4.osxsave) === 0) throw undefinedOpcode();
    const index = p.v.low(At.gpr, 1);
    if (index > 1) throw protection(0);
    p.v.setRegister32(0, p.v.low(At.xcr0));
    p.v.setRegister32(2, 0);
  },
  writeExtendedControl: (p) => writeXcr0(p),
  readModelSpecific(p) {
    checkLevel0(p);
    const value = readMsr(p, p.v.low(At.gpr, 1));
    p.v.setRegister32(0, Number(value & 0xffff_ffffn));
    p.v.setRegister32(2, Number(value >> 32n));
  },
  writeModelSpecific(p) {
    checkLevel0(p);
    writeMsr(p, p.v.low(At.gpr, 1), (BigInt(p.v.low(At.gpr, 2)) << 32n) | BigInt(p.v.low(At.gpr, 0)));
  },
  readPerformanceCounter() {
    throw protection(0); // no performance counters are announced
  },
  identify(p) {
    const { v } = p;
    const context = { apicId: v.id, cpuCount: v.cpuCount, osxsave: (v.cr4 & Cr4.osxsave) !== 0, xcr0: v.low(At.xcr0) };
    const [a, b, c, d] = cpuid(v.model, v.low(At.gpr, 0), v.low(At.gpr, 1), context);
    v.setRegister32(0, a);
    v.setRegister32(3, b);
    v.setRegister32(1, c);
    v.setRegister32(2, d);
  },
  invalidatePage(p, address) {
    checkLevel0(p);
    if ((p.v.cr4 & Cr4.pcide) === 0) p.paging.invalidatePage(address);
    else for (const context of p.spaces.current) p.paging.invalidatePage(address, context); // global pages are those of every PCID
  },
  invalidateContext(p, type, descriptor) {
    checkLevel0(p);
    const [pcid, address] = [p.load(descriptor, 8), p.load(descriptor + 8n, 8)];
    if (type > 3n || pcid >> 12n !== 0n) throw protection(0);
    const { v, spaces } = p;
    if (type < 2n && pcid !== 0n && (v.cr4 & Cr4.pcide) === 0) throw protection(0);
    if (type === 0n && !canonicalAddress(address)) throw protection(0);
    if (type === 0n) for (const context of spaces.ofProcess(Number(pcid))) p.paging.invalidatePage(address, context);
    else if (type === 2n) spaces.flush();
    else for (const context of type === 1n ? spaces.ofProcess(Number(pcid)) : spaces.current) v.flushTlbContext(context, 'local');
  },
  invalidateCaches: (p) => checkLevel0(p),
  pause: () => {},
  timestamp(p) {
    if ((p.v.cr4 & Cr4.tsd) !== 0 && p.v.cpl !== 0) throw protection(0);
    return guestTscOf(p.v);
  },
  processorId: (p) => p.v.get64(At.tscAux),
  randomNumber: (p) => p.v.random(),
  randomSeed: (p) => p.v.random(),
  checkPort: (p, port, size) => checkPort(p, Number(port), Number(size) / 8),
  portIn(p, port, size) {
    const width = Number(size) / 8;
    checkPort(p, Number(port), width);
    return BigInt(p.v.ports.readPort(Number(port), width) >>> 0);
  },
  portOut(p, port, value, size) {
    const width = Number(size) / 8;
    checkPort(p, Number(port), width);
    p.v.ports.writePort(Number(port), width, Number(value & 0xffff_ffffn));
  },
};
