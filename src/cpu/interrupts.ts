/** Delivery of interrupts and exceptions through the IVT or IDT, and IRET. SDM 3A, chapter 6. */
import { Fault, protection, TripleFault, Vector } from './fault.ts';
import { readFlags, writeFlags } from './flags.ts';
import { canonicalAddress } from './page-walk.ts';
import type { Processor } from './processor.ts';
import {
  type Descriptor, dplOf, iopl, isCode, isConforming, markAccessed, nullSelector, readDescriptor, setRealSegment, setSegment, stackSize,
} from './segments.ts';
import { NewStack, pushValue, releaseStack, stackValue } from './stack.ts';
import { At, Flag, Rights, Segment } from './state.ts';
import { switchTask } from './tasks.ts';
import type { Vcpu } from './vcpu.ts';
import { VmExit } from './vm-exit.ts';

/** Interruption types as VMX numbers them. SDM 3C, table 25-15. */
export const EventType = { external: 0, nmi: 2, exception: 3, software: 4, privilegedSoftware: 5, softwareException: 6 } as const;
export type EventType = (typeof EventType)[keyof typeof EventType];

export interface Interruption {
  readonly type: EventType;
  readonly vector: number;
  readonly error?: number | undefined;
  /** Linear address of a page fault: CR2. */
  readonly address?: bigint | undefined;
  /** Causes of a debug exception: bits of DR6. */
  readonly causes?: number | undefined;
  /** VM entry injects it: nobody may intercept it, RF is as it is. */
  readonly injected?: boolean;
  /** A fault of an IRET that had ended the blocking of NMIs. */
  readonly unblockedNmis?: boolean;
  /** Length of the instruction behind an injected software event, in bytes. */
  readonly length?: number;
}
/** INT n, INT3, INTO: the gate's DPL is checked. */
const isSoftware = (event: Interruption): boolean => event.type === EventType.software || event.type === EventType.softwareException;
/** The saved address is the next instruction's for these and INT1. */
function returnAddress(v: Vcpu, event: Interruption): bigint {
  if (!isSoftware(event) && event.type !== EventType.privilegedSoftware) return v.ip;
  return event.length === undefined ? v.nextIp : BigInt.asUintN(v.codeSize === 64 ? 64 : 32, v.ip + BigInt(event.length));
}


const contributory = new Set<number>([Vector.divide, Vector.invalidTss, Vector.notPresent, Vector.stack, Vector.protection]);

/** Delivers an event; faults on the way become the next event, a double fault or the end. */
export function deliver(p: Processor, event: Interruption): void {
  let current = event;
  if (!event.injected) p.virtualization?.event(event, undefined);
  for (;;) {
    noteCauses(p, current);
    try {
      deliverOnce(p, current);
      return;
    } catch (problem) {
      if (problem instanceof VmExit) problem.during ??= current;
      if (!(problem instanceof Fault)) throw problem;
      current = next(p, current, { type: EventType.exception, vector: problem.vector, error: problem.error, address: problem.address });
    }
  }
}
/** CR2 and DR6 tell the handler why; DR6 accumulates until the guest clears it. */
function noteCauses(p: Processor, event: Interruption): void {
  if (event.address !== undefined) p.v.set64(At.cr2, event.address);
  if (event.causes !== undefined) p.v.set64(At.debug, p.v.get64(At.debug, 6) | BigInt(event.causes), 6);
}
/** What comes of a fault while an event is delivered. SDM 3A, table 6-5. */
function next(p: Processor, event: Interruption, fault: Interruption): Interruption {
  const nested = event.type === EventType.exception && event.vector === Vector.doubleFault;
  if (nested) throw new TripleFault(`vector ${fault.vector} while delivering a double fault`);
  p.virtualization?.event(fault, event);
  const before = event.type === EventType.exception ? event.vector : -1;
  const second = contributory.has(fault.vector);
  const doubles = (contributory.has(before) && second) || ((before === Vector.page || before === Vector.virtualization) && (second || fault.vector === Vector.page));
  if (!doubles) return fault;
  noteCauses(p, fault);
  const double: Interruption = { type: EventType.exception, vector: Vector.doubleFault, error: 0 };
  p.virtualization?.event(double, undefined);
  return double;
}

function deliverOnce(p: Processor, event: Interruption): void {
  const { v } = p;
  const returnIp = returnAddress(v, event);
  if (!v.protectedMode) return deliverReal(p, event, returnIp);
  if (v.longActive) return deliverLong(p, event, returnIp);
  return deliverProtected(p, event, returnIp);
}

function deliverReal(p: Processor, event: Interruption, returnIp: bigint): void {
  const { v } = p;
  if (event.vector * 4 + 3 > v.get(At.idtLimit) >>> 0) throw new Fault(Vector.protection);
  const target = p.loadSystem(v.get64(At.idtBase) + BigInt(event.vector * 4), 4);
  const sp = v.register(4);
  try {
    pushValue(p, BigInt(readFlags(v)), 16);
    pushValue(p, BigInt(v.get(At.segmentSelector, Segment.cs)), 16);
    pushValue(p, returnIp, 16);
  } catch (problem) {
    v.setRegister(4, sp);
    throw problem;
  }
  v.set(At.systemFlags, v.systemFlags & ~(Flag.interrupt | Flag.trap | Flag.alignment | Flag.resume));
  setRealCode(p, Number(target >> 16n));
  v.jump(target & 0xffffn);
  v.refreshMode();
}

export function setRealCode(p: Processor, selector: number): void {
  const { v } = p;
  v.set(At.segmentSelector, selector, Segment.cs);
  v.set64(At.segmentBase, BigInt(selector) << 4n, Segment.cs);
  if (v.virtual8086) v.set(At.segmentRights, 0xf3, Segment.cs);
}

interface Gate {
  readonly selector: number;
  readonly offset: bigint;
  readonly type: number;
  readonly ist: number;
}

function readGate(p: Processor, event: Interruption): Gate {
  const { v } = p;
  const { vector } = event;
  const software = isSoftware(event);
  const long = v.longActive;
  const size = long ? 16 : 8;
  const error = vector * 8 + 2 + (software ? 0 : 1);
  if (vector * size + size - 1 > v.get(At.idtLimit) >>> 0) throw protection(error);
  const address = v.get64(At.idtBase) + BigInt(vector * size);
  const words = p.loadSystem(address, 8);
  const low = Number(words & 0xffff_ffffn);
  const high = Number(words >> 32n);
  const type = (high >> 8) & 0x1f;
  if (!(long ? [14, 15] : [5, 6, 7, 14, 15]).includes(type)) throw protection(error);
  if (software && ((high >> 13) & 3) < v.cpl) throw protection(error);
  if ((high & 0x8000) === 0) throw new Fault(Vector.notPresent, error);
  const narrow = type === 6 || type === 7;
  const offset = BigInt(((low & 0xffff) | (narrow ? 0 : high & 0xffff_0000)) >>> 0);
  const upper = long ? p.loadSystem(address + 8n, 4) << 32n : 0n;
  return { selector: low >>> 16, offset: offset | upper, type, ist: long ? high & 7 : 0 };
}

/** The code segment of a gate, checked; and the level it runs at. */
function targetSegment(p: Processor, selector: number, external: number): { code: Descriptor; level: number } {
  const { v } = p;
  const error = (selector & 0xfffc) | external;
  if (nullSelector(selector)) throw protection(external);
  const code = readDescriptor(p, selector);
  if (!code || !isCode(code.rights) || dplOf(code.rights) > v.cpl) throw protection(error);
  if (v.longActive && (code.rights & (Rights.long | Rights.big)) !== Rights.long) throw protection(error);
  if ((code.rights & Rights.present) === 0) throw new Fault(Vector.notPresent, error);
  markAccessed(p, code); // may fault: before anything has changed
  return { code, level: isConforming(code.rights) ? v.cpl : dplOf(code.rights) };
}

function deliverLong(p: Processor, event: Interruption, returnIp: bigint): void {
  const { v } = p;
  const gate = readGate(p, event);
  const external = isSoftware(event) ? 0 : 1;
  const { code, level } = targetSegment(p, gate.selector, external);
  const cpl = v.cpl;
  let pointer = v.register(4);
  if (gate.ist !== 0) pointer = stackOfTask(p, 0x24 + (gate.ist - 1) * 8);
  else if (level !== cpl) pointer = stackOfTask(p, 4 + level * 8);
  if (!canonicalAddress(pointer)) throw new Fault(Vector.stack, external);
  const stack = new NewStack(p, 0n, pointer & ~15n, 64);
  const flags = readFlags(v);
  const system = level !== 3;
  stack.push(BigInt(v.get(At.segmentSelector, Segment.ss)), 8, system);
  stack.push(v.register(4), 8, system);
  stack.push(BigInt(flags | savedResume(event)), 8, system);
  stack.push(BigInt(v.get(At.segmentSelector, Segment.cs)), 8, system);
  stack.push(returnIp, 8, system);
  if (event.error !== undefined) stack.push(BigInt(event.error), 8, system);
  if (!canonicalAddress(gate.offset)) throw protection(external);
  if (level !== cpl) setSegment(v, Segment.ss, level, { base: 0n, limit: 0, rights: Rights.unusable | (level << Rights.dplShift) });
  enter(p, { gate, code, level, stack: stack.pointer });
}

/** Faults save RF set, so that an instruction breakpoint does not fire again; traps and interrupts save it as it is. */
function savedResume(event: Interruption): number {
  return event.type === EventType.exception && event.vector !== Vector.debug && !event.injected ? Flag.resume : 0;
}

function enter(p: Processor, { gate, code, level, stack }: { gate: Gate; code: Descriptor; level: number; stack: bigint }): void {
  const { v } = p;
  const clears = Flag.trap | Flag.nested | Flag.resume | Flag.virtual8086 | (gate.type & 1 ? 0 : Flag.interrupt);
  v.set(At.systemFlags, v.systemFlags & ~clears);
  v.setRegister(4, stack);
  setSegment(v, Segment.cs, (gate.selector & ~3) | level, { ...code, base: v.longActive ? 0n : code.base, rights: code.rights | Rights.accessed });
  v.set(At.cpl, level);
  v.jump(gate.offset);
  v.refreshMode();
}

/** A stack pointer from the 64-bit TSS. */
function stackOfTask(p: Processor, offset: number): bigint {
  const { v } = p;
  if (offset + 7 > v.get(At.segmentLimit, Segment.tr) >>> 0) throw new Fault(Vector.invalidTss, v.get(At.segmentSelector, Segment.tr) & 0xfffc);
  return p.loadSystem(v.get64(At.segmentBase, Segment.tr) + BigInt(offset), 8);
}

function deliverProtected(p: Processor, event: Interruption, returnIp: bigint): void {
  const { v } = p;
  const gate = readGate(p, event);
  if (gate.type === 5) return switchTask(p, gate.selector, 'gate', returnIp, event.error);
  const external = isSoftware(event) ? 0 : 1;
  const { code, level } = targetSegment(p, gate.selector, external);
  const cpl = v.cpl;
  const width = gate.type >= 14 ? 4 : 2;
  const flags = BigInt(readFlags(v) | savedResume(event));
  const from8086 = v.virtual8086;
  if (from8086 && level !== 0) throw protection(gate.selector & 0xfffc);
  const oldStack = { selector: v.get(At.segmentSelector, Segment.ss), pointer: v.register(4) };
  const selectors = [Segment.gs, Segment.fs, Segment.ds, Segment.es].map((n) => v.get(At.segmentSelector, n));

  let stack: NewStack;
  let inner: ReturnType<typeof innerStack> | undefined;
  if (level !== cpl) {
    inner = innerStack(p, level, external);
    stack = new NewStack(p, inner.descriptor.base, inner.pointer, (inner.descriptor.rights & Rights.big) !== 0 ? 32 : 16);
    if (from8086) for (const selector of selectors) stack.push(BigInt(selector), width, true);
    stack.push(BigInt(oldStack.selector), width, true);
    stack.push(oldStack.pointer, width, true);
  } else stack = new NewStack(p, v.get64(At.segmentBase, Segment.ss), oldStack.pointer, stackSize(v));
  stack.push(flags, width, true);
  stack.push(BigInt(v.get(At.segmentSelector, Segment.cs)), width, true);
  stack.push(returnIp, width, true);
  if (event.error !== undefined) stack.push(BigInt(event.error), width, true);
  if (gate.offset > BigInt(code.limit)) throw protection(external);

  if (inner) setSegment(v, Segment.ss, inner.selector, inner.descriptor);
  enter(p, { gate, code, level, stack: stack.pointer });
  if (from8086) for (const n of [Segment.gs, Segment.fs, Segment.ds, Segment.es]) setSegment(v, n, 0, { base: 0n, limit: 0, rights: Rights.unusable });
}

/** SS:ESP of an inner level from the 16- or 32-bit TSS. */
export function innerStack(p: Processor, level: number, external: number): { selector: number; pointer: bigint; descriptor: Descriptor } {
  const { v } = p;
  const wide = (v.get(At.segmentRights, Segment.tr) & 8) !== 0;
  const offset = wide ? 4 + level * 8 : 2 + level * 4;
  const tss = v.get64(At.segmentBase, Segment.tr);
  if (offset + (wide ? 5 : 3) > v.get(At.segmentLimit, Segment.tr) >>> 0) throw new Fault(Vector.invalidTss, (v.get(At.segmentSelector, Segment.tr) & 0xfffc) | external);
  const pointer = p.loadSystem(tss + BigInt(offset), wide ? 4 : 2);
  const selector = Number(p.loadSystem(tss + BigInt(offset + (wide ? 4 : 2)), 2));
  const error = (selector & 0xfffc) | external;
  if (nullSelector(selector)) throw new Fault(Vector.invalidTss, external);
  const descriptor = readDescriptor(p, selector);
  const writable = descriptor && (descriptor.rights & (Rights.system | Rights.code | Rights.writableOrReadable)) === (Rights.system | Rights.writableOrReadable);
  if (!descriptor || !writable || (selector & 3) !== level || dplOf(descriptor.rights) !== level) throw new Fault(Vector.invalidTss, error);
  if ((descriptor.rights & Rights.present) === 0) throw new Fault(Vector.stack, error);
  return { selector, pointer, descriptor };
}

// --- IRET

export function interruptReturn(p: Processor, size: number): void {
  const { v } = p;
  v.set(At.nmiBlocked, 0);
  if (!v.protectedMode) return returnReal(p, size);
  if (v.virtual8086) {
    if (iopl(v) !== 3) throw protection(0);
    return returnReal(p, size);
  }
  if ((v.systemFlags & Flag.nested) !== 0) {
    if (v.longActive) throw protection(0);
    const link = Number(p.loadSystem(v.get64(At.segmentBase, Segment.tr), 2));
    return switchTask(p, link, 'return', v.nextIp);
  }
  const bytes = size / 8;
  const ip = stackValue(p, 0, size);
  const selector = Number(stackValue(p, bytes, size) & 0xffffn);
  const flags = Number(stackValue(p, 2 * bytes, size) & 0xffff_ffffn);
  const cpl = v.cpl;
  if (!v.longActive && size === 32 && (flags & Flag.virtual8086) !== 0 && cpl === 0) return returnTo8086(p, ip, selector, flags);
  const code = returnCode(p, selector, ip);
  const level = selector & 3;
  const outward = level > cpl;
  if (v.long || outward) {
    const pointer = stackValue(p, 3 * bytes, size);
    const stackSelector = Number(stackValue(p, 4 * bytes, size) & 0xffffn);
    const stack = returnStack(p, stackSelector, level, code);
    restoreFlags(p, flags, size, cpl);
    setReturn(p, selector, code, ip, level);
    setSegment(v, Segment.ss, stackSelector, stack);
    setOuterPointer(p, pointer, size);
    if (outward) dropInnerSegments(p, level);
  } else {
    restoreFlags(p, flags, size, cpl);
    releaseStack(p, BigInt(3 * bytes));
    setReturn(p, selector, code, ip, level);
  }
  v.refreshMode();
}

function setOuterPointer(p: Processor, pointer: bigint, size: number): void {
  const { v } = p;
  if (v.long) v.setRegister(4, pointer);
  else if (stackSize(v) === 16) v.setRegister(4, (v.register(4) & ~0xffffn) | (pointer & 0xffffn));
  else v.setRegister(4, pointer & (size === 16 ? 0xffffn : 0xffff_ffffn));
}

/** The code segment that a far return or IRET goes back to. */
export function returnCode(p: Processor, selector: number, ip: bigint): Descriptor {
  const { v } = p;
  if (nullSelector(selector)) throw protection(0);
  const error = selector & 0xfffc;
  const code = readDescriptor(p, selector);
  const level = selector & 3;
  if (!code || !isCode(code.rights) || level < v.cpl) throw protection(error);
  if (isConforming(code.rights) ? dplOf(code.rights) > level : dplOf(code.rights) !== level) throw protection(error);
  if (v.longActive && (code.rights & (Rights.long | Rights.big)) === (Rights.long | Rights.big)) throw protection(error);
  if ((code.rights & Rights.present) === 0) throw new Fault(Vector.notPresent, error);
  const long = v.longActive && (code.rights & Rights.long) !== 0;
  if (long ? !canonicalAddress(ip) : (ip & 0xffff_ffffn) > BigInt(code.limit)) throw protection(0);
  markAccessed(p, code); // may fault: before anything has changed
  return code;
}

/** The stack segment that goes with it. A null one is legal when returning to 64-bit code outside level 3. */
export function returnStack(p: Processor, selector: number, level: number, code: Descriptor): Pick<Descriptor, 'base' | 'limit' | 'rights'> {
  const { v } = p;
  const toLong = v.longActive && (code.rights & Rights.long) !== 0;
  if (nullSelector(selector)) {
    if (!toLong || level === 3 || (selector & 3) !== level) throw protection(0);
    return { base: 0n, limit: 0, rights: Rights.unusable | (level << Rights.dplShift) };
  }
  const error = selector & 0xfffc;
  const d = readDescriptor(p, selector);
  const writable = d && (d.rights & (Rights.system | Rights.code | Rights.writableOrReadable)) === (Rights.system | Rights.writableOrReadable);
  if (!d || !writable || (selector & 3) !== level || dplOf(d.rights) !== level) throw protection(error);
  if ((d.rights & Rights.present) === 0) throw new Fault(Vector.stack, error);
  markAccessed(p, d);
  return { ...d, rights: d.rights | Rights.accessed };
}

export function setReturn(p: Processor, selector: number, code: Descriptor, ip: bigint, level: number): void {
  const { v } = p;
  const long = v.longActive && (code.rights & Rights.long) !== 0;
  setSegment(v, Segment.cs, selector, { ...code, base: long ? 0n : code.base, rights: code.rights | Rights.accessed });
  v.set(At.cpl, level);
  v.jump(long ? ip : ip & 0xffff_ffffn);
}

/** Data segments that the outer level may not use become null. */
export function dropInnerSegments(p: Processor, level: number): void {
  const { v } = p;
  for (const n of [Segment.es, Segment.ds, Segment.fs, Segment.gs]) {
    const rights = v.get(At.segmentRights, n);
    if ((rights & Rights.unusable) !== 0) continue;
    if (isCode(rights) && isConforming(rights)) continue;
    if (dplOf(rights) < level) setSegment(v, n, 0, { base: v.get64(At.segmentBase, n), limit: 0, rights: Rights.unusable });
  }
}

/** What IRET may change of EFLAGS at this level. */
function restoreFlags(p: Processor, image: number, size: number, cpl: number): void {
  const { v } = p;
  let writable = 0x8d5 | Flag.trap | Flag.direction | Flag.nested;
  if (size > 16) writable |= Flag.resume | Flag.alignment | Flag.id;
  if (cpl <= iopl(v)) writable |= Flag.interrupt;
  if (cpl === 0) writable |= Flag.iopl | (size > 16 ? Flag.virtualInterrupt | Flag.virtualPending : 0);
  writeFlags(v, (readFlags(v) & ~writable) | (image & writable));
}

function returnReal(p: Processor, size: number): void {
  const { v } = p;
  const bytes = size / 8;
  const ip = stackValue(p, 0, size);
  const selector = Number(stackValue(p, bytes, size) & 0xffffn);
  const flags = Number(stackValue(p, 2 * bytes, size) & 0xffff_ffffn);
  releaseStack(p, BigInt(3 * bytes));
  let writable = 0x8d5 | Flag.trap | Flag.direction | Flag.nested | Flag.interrupt | (v.virtual8086 ? 0 : Flag.iopl);
  if (size > 16) writable |= Flag.resume | Flag.alignment | Flag.id;
  writeFlags(v, (readFlags(v) & ~writable) | (flags & writable));
  setRealCode(p, selector);
  v.jump(ip & 0xffffn);
  v.refreshMode();
}

function returnTo8086(p: Processor, ip: bigint, selector: number, flags: number): void {
  const { v } = p;
  const values = Array.from({ length: 6 }, (_, n) => Number(stackValue(p, 12 + 4 * n, 32)));
  const [pointer = 0, ss = 0, es = 0, ds = 0, fs = 0, gs = 0] = values;
  writeFlags(v, flags & 0x3f_7fd5);
  v.set(At.cpl, 3);
  for (const [n, s] of [[Segment.cs, selector], [Segment.ss, ss], [Segment.es, es], [Segment.ds, ds], [Segment.fs, fs], [Segment.gs, gs]] as const) setRealSegment(v, n, s & 0xffff);
  v.set(At.segmentRights, 0xf3, Segment.cs);
  v.setRegister(4, BigInt(pointer >>> 0));
  v.jump(ip & 0xffffn);
  v.refreshMode();
}
