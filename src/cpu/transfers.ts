/** Far jumps, calls and returns, call gates, SYSCALL, SYSENTER and their returns. SDM 2 and SDM 3A, 5.8. */
import { Fault, protection, undefinedOpcode, Vector } from './fault.ts';
import { readFlags, writeFlags } from './flags.ts';
import { dropInnerSegments, innerStack, returnCode, returnStack, setRealCode, setReturn } from './interrupts.ts';
import { canonical } from './page-walk.ts';
import type { Processor } from './processor.ts';
import { type Descriptor, dplOf, isCode, isConforming, markAccessed, nullSelector, readDescriptor, setSegment, stackSize } from './segments.ts';
import { NewStack, pushValue, releaseStack, stackValue } from './stack.ts';
import { At, Efer, Flag, Rights, Segment } from './state.ts';
import { switchTask } from './tasks.ts';
import type { Vcpu } from './vcpu.ts';

const canonicalAddress = (address: bigint): boolean => canonical(Number(BigInt.asIntN(32, address >> 32n)));

function real(p: Processor, selector: number, offset: bigint): void {
  setRealCode(p, selector);
  p.v.jump(offset);
  p.v.refreshMode();
}

export function jumpFar(p: Processor, selector: number, offset: bigint, size: number): void {
  const { v } = p;
  if (!v.protectedMode || v.virtual8086) return real(p, selector, offset);
  const target = farTarget(p, selector);
  if (isCode(target.rights)) {
    checkCode(p, selector, target);
    goTo(p, selector, target, offset, size);
  } else if ((target.rights & 0x1f) === 12 || ((target.rights & 0x1f) === 4 && !v.longActive)) {
    const gate = callGate(p, selector, target);
    if (!isConforming(gate.code.rights) && dplOf(gate.code.rights) !== v.cpl) throw protection(gate.selector & 0xfffc);
    goTo(p, gate.selector, gate.code, gate.offset, 64);
  } else if (!v.longActive && [1, 5, 9].includes(target.rights & 0x1f)) switchTask(p, taskSelector(p, selector, target), 'jump', v.nextIp);
  else throw protection(selector & 0xfffc);
}

function farTarget(p: Processor, selector: number): Descriptor {
  if (nullSelector(selector)) throw protection(0);
  const d = readDescriptor(p, selector);
  if (!d) throw protection(selector & 0xfffc);
  return d;
}

/** A direct far transfer to a code segment keeps the privilege level. */
function checkCode(p: Processor, selector: number, d: Descriptor): void {
  const { v } = p;
  const cpl = v.cpl;
  const error = selector & 0xfffc;
  if (isConforming(d.rights) ? dplOf(d.rights) > cpl : (selector & 3) > cpl || dplOf(d.rights) !== cpl) throw protection(error);
  if (v.longActive && (d.rights & (Rights.long | Rights.big)) === (Rights.long | Rights.big)) throw protection(error);
  if ((d.rights & Rights.present) === 0) throw new Fault(Vector.notPresent, error);
}

function goTo(p: Processor, selector: number, d: Descriptor, offset: bigint, size: number): void {
  const { v } = p;
  const long = v.longActive && (d.rights & Rights.long) !== 0;
  const ip = size === 16 ? offset & 0xffffn : size === 32 && !long ? offset & 0xffff_ffffn : offset;
  if (long ? !canonicalAddress(ip) : ip > BigInt(d.limit)) throw protection(0);
  markAccessed(p, d);
  setSegment(v, Segment.cs, (selector & ~3) | v.cpl, { ...d, base: long ? 0n : d.base, rights: d.rights | Rights.accessed });
  v.jump(ip);
  v.refreshMode();
}

/** The TSS that a far transfer names, directly or through a task gate; both need the privilege of their DPL. */
function taskSelector(p: Processor, selector: number, d: Descriptor): number {
  if (dplOf(d.rights) < p.v.cpl || dplOf(d.rights) < (selector & 3)) throw protection(selector & 0xfffc);
  if ((d.rights & 0x1f) !== 5) return selector;
  if ((d.rights & Rights.present) === 0) throw new Fault(Vector.notPresent, selector & 0xfffc);
  return Number((p.loadSystem(d.address, 4) >> 16n) & 0xffffn);
}

interface CallGate { readonly selector: number; readonly offset: bigint; readonly code: Descriptor; readonly parameters: number; readonly width: 2 | 4 | 8 }

function callGate(p: Processor, selector: number, d: Descriptor): CallGate {
  const { v } = p;
  const error = selector & 0xfffc;
  if (dplOf(d.rights) < v.cpl || dplOf(d.rights) < (selector & 3)) throw protection(error);
  if ((d.rights & Rights.present) === 0) throw new Fault(Vector.notPresent, error);
  const words = p.loadSystem(d.address, 8);
  const low = Number(words & 0xffff_ffffn);
  const high = Number(words >> 32n);
  const width = v.longActive ? 8 : (d.rights & 0x1f) === 12 ? 4 : 2;
  const upper = v.longActive ? p.loadSystem(d.address + 8n, 4) << 32n : 0n;
  const offset = BigInt(((low & 0xffff) | (width === 2 ? 0 : high & 0xffff_0000)) >>> 0) | upper;
  const target = low >>> 16;
  if (nullSelector(target)) throw protection(0);
  const code = readDescriptor(p, target);
  if (!code || !isCode(code.rights) || dplOf(code.rights) > v.cpl) throw protection(target & 0xfffc);
  if (v.longActive && (code.rights & (Rights.long | Rights.big)) !== Rights.long) throw protection(target & 0xfffc);
  if ((code.rights & Rights.present) === 0) throw new Fault(Vector.notPresent, target & 0xfffc);
  return { selector: target, offset, code, parameters: high & 0x1f, width };
}

export function callFar(p: Processor, selector: number, offset: bigint, size: number): void {
  const { v } = p;
  const before = v.register(4);
  const [cs, ip] = [BigInt(v.get(At.segmentSelector, Segment.cs)), v.nextIp];
  const pushReturn = (bits: number): void => {
    pushValue(p, cs, bits);
    pushValue(p, ip, bits);
  };
  try {
    if (!v.protectedMode || v.virtual8086) {
      pushReturn(size);
      return real(p, selector, offset);
    }
    const target = farTarget(p, selector);
    if (isCode(target.rights)) {
      checkCode(p, selector, target);
      pushReturn(size);
      return goTo(p, selector, target, offset, size);
    }
    if ((target.rights & 0x1f) !== 12 && ((target.rights & 0x1f) !== 4 || v.longActive)) {
      if (v.longActive || ![1, 5, 9].includes(target.rights & 0x1f)) throw protection(selector & 0xfffc);
      switchTask(p, taskSelector(p, selector, target), 'call', ip);
      return;
    }
    const gate = callGate(p, selector, target);
    if (isConforming(gate.code.rights) || dplOf(gate.code.rights) === v.cpl) {
      pushReturn(gate.width * 8);
      return goTo(p, gate.selector, gate.code, gate.offset, 64);
    }
    callInner(p, gate, cs, ip);
  } catch (problem) {
    v.setRegister(4, before);
    throw problem;
  }
}

/** Through a call gate to an inner level: a new stack, with the parameters copied. */
function callInner(p: Processor, gate: CallGate, cs: bigint, ip: bigint): void {
  const { v } = p;
  const level = dplOf(gate.code.rights);
  const old = { selector: BigInt(v.get(At.segmentSelector, Segment.ss)), pointer: v.register(4) };
  let stack: NewStack;
  let ss: { selector: number; descriptor: Pick<Descriptor, 'base' | 'limit' | 'rights'> };
  if (v.longActive) {
    const pointer = p.loadSystem(v.get64(At.segmentBase, Segment.tr) + BigInt(4 + level * 8), 8);
    stack = new NewStack(p, 0n, pointer, 64);
    ss = { selector: level, descriptor: { base: 0n, limit: 0, rights: Rights.unusable | (level << Rights.dplShift) } };
  } else {
    const inner = innerStack(p, level, 0);
    stack = new NewStack(p, inner.descriptor.base, inner.pointer, (inner.descriptor.rights & Rights.big) !== 0 ? 32 : 16);
    ss = inner;
  }
  const parameters = v.longActive ? [] : Array.from({ length: gate.parameters }, (_, n) => stackValue(p, n * gate.width, gate.width * 8));
  stack.push(old.selector, gate.width, true);
  stack.push(old.pointer, gate.width, true);
  for (const value of parameters.reverse()) stack.push(value, gate.width, true);
  stack.push(cs, gate.width, true);
  stack.push(ip, gate.width, true);
  markAccessed(p, gate.code); // may fault: before anything has changed
  v.set(At.cpl, level);
  setSegment(v, Segment.ss, ss.selector, ss.descriptor);
  v.setRegister(4, stack.pointer);
  goTo(p, gate.selector, gate.code, gate.offset, 64);
}

export function returnFar(p: Processor, extra: bigint, size: number): void {
  const { v } = p;
  const bytes = size / 8;
  const ip = stackValue(p, 0, size);
  const selector = Number(stackValue(p, bytes, size) & 0xffffn);
  if (!v.protectedMode || v.virtual8086) {
    releaseStack(p, BigInt(2 * bytes) + extra);
    return real(p, selector, ip);
  }
  const cpl = v.cpl;
  const code = returnCode(p, selector, ip);
  const level = selector & 3;
  if (level === cpl) {
    releaseStack(p, BigInt(2 * bytes) + extra);
    setReturn(p, selector, code, ip, level);
  } else {
    const above = 2 * bytes + Number(extra);
    const pointer = stackValue(p, above, size);
    const stackSelector = Number(stackValue(p, above + bytes, size) & 0xffffn);
    const stack = returnStack(p, stackSelector, level, code);
    setReturn(p, selector, code, ip, level);
    setSegment(v, Segment.ss, stackSelector, stack);
    v.setRegister(4, stackSize(v) === 16 ? (v.register(4) & ~0xffffn) | ((pointer + extra) & 0xffffn) : pointer + extra);
    dropInnerSegments(p, level);
  }
  v.refreshMode();
}

// --- SYSCALL, SYSRET, SYSENTER, SYSEXIT: flat segments by rule

const flatCode = (level: number, long: boolean): Pick<Descriptor, 'base' | 'limit' | 'rights'> => ({
  base: 0n, limit: 0xffff_ffff, rights: 0x9b | (level << Rights.dplShift) | Rights.granular | (long ? Rights.long : Rights.big),
});
const flatData = (level: number): Pick<Descriptor, 'base' | 'limit' | 'rights'> => ({
  base: 0n, limit: 0xffff_ffff, rights: 0x93 | (level << Rights.dplShift) | Rights.granular | Rights.big,
});

/** The flat segments of the fast system calls. */
export function enterFlat(v: Vcpu, code: number, stack: number, level: number, long: boolean): void {
  setSegment(v, Segment.cs, code, flatCode(level, long));
  setSegment(v, Segment.ss, stack, flatData(level));
  v.set(At.cpl, level);
}

export function systemCall(p: Processor): void {
  const { v } = p;
  if (!v.long || (v.efer & Efer.sce) === 0) throw undefinedOpcode();
  const flags = readFlags(v);
  v.setRegister(1, v.nextIp);
  v.setRegister(11, BigInt(flags & ~Flag.resume));
  writeFlags(v, flags & ~Flag.resume & ~v.low(At.sfmask));
  const selector = Number((v.get64(At.star) >> 32n) & 0xfffcn);
  enterFlat(v, selector, selector + 8, 0, true);
  v.jump(v.get64(At.lstar));
  v.refreshMode();
}

export function systemReturn(p: Processor, size: number): void {
  const { v } = p;
  if (!v.long || (v.efer & Efer.sce) === 0) throw undefinedOpcode();
  if (v.cpl !== 0) throw protection(0);
  const base = Number((v.get64(At.star) >> 48n) & 0xffffn);
  const ip = v.register(1);
  const long = size === 64;
  if (long && !canonicalAddress(ip)) throw protection(0);
  writeFlags(v, Number(v.register(11) & 0x3c_7fd7n) | Flag.fixed);
  enterFlat(v, (base + (long ? 16 : 0)) | 3, (base + 8) | 3, 3, long);
  v.jump(long ? ip : ip & 0xffff_ffffn);
  v.refreshMode();
}

export function systemEnter(p: Processor): void {
  const { v } = p;
  const selector = v.low(At.sysenterCs) & 0xfffc;
  if (!v.protectedMode || selector === 0) throw protection(0);
  const long = v.longActive;
  v.set(At.systemFlags, v.systemFlags & ~(Flag.virtual8086 | Flag.interrupt | Flag.resume));
  enterFlat(v, selector, selector + 8, 0, long);
  v.setRegister(4, long ? v.get64(At.sysenterEsp) : v.get64(At.sysenterEsp) & 0xffff_ffffn);
  v.jump(long ? v.get64(At.sysenterEip) : v.get64(At.sysenterEip) & 0xffff_ffffn);
  v.refreshMode();
}

export function systemExit(p: Processor, size: number): void {
  const { v } = p;
  const selector = v.low(At.sysenterCs) & 0xfffc;
  if (!v.protectedMode || selector === 0 || v.cpl !== 0) throw protection(0);
  const long = size === 64;
  const [ip, sp] = [v.register(2), v.register(1)];
  if (long && (!canonicalAddress(ip) || !canonicalAddress(sp))) throw protection(0);
  enterFlat(v, (selector + (long ? 32 : 16)) | 3, (selector + (long ? 40 : 24)) | 3, 3, long);
  v.setRegister(4, long ? sp : sp & 0xffff_ffffn);
  v.jump(long ? ip : ip & 0xffff_ffffn);
  v.refreshMode();
}
