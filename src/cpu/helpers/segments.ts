/** Stack, segments and descriptor tables. */
import { Fault, protection, undefinedOpcode, Vector } from '../fault.ts';
import type { Processor } from '../processor.ts';
import {
  decodeDescriptor, linearAddress, loadSegment, nullSelector, readDescriptorWords, setSegment, stackSize, upperBase, visible,
} from '../segments.ts';
import { pushValue, releaseStack, stackValue } from '../stack.ts';
import { At, Cr4, Rights, Segment } from '../state.ts';
import type { Helpers } from './helper.ts';

/** SLDT, STR, SGDT, SIDT, SMSW outside level 0 with UMIP. */
function checkUserInstruction(p: Processor): void {
  if ((p.v.cr4 & Cr4.umip) !== 0 && p.v.cpl !== 0) throw protection(0);
}
function checkProtected(p: Processor): void {
  if (!p.v.protectedMode || p.v.virtual8086) throw undefinedOpcode();
}
function checkLevel0(p: Processor): void {
  if (p.v.cpl !== 0) throw protection(0);
}

function loadTable(p: Processor, name: 'gdt' | 'idt', address: bigint, size: bigint): void {
  checkLevel0(p);
  const limit = p.load(address, 2);
  const base = p.load(address + 2n, size === 64n ? 8 : 4);
  p.v.set(name === 'gdt' ? At.gdtLimit : At.idtLimit, Number(limit));
  p.v.set64(name === 'gdt' ? At.gdtBase : At.idtBase, size === 16n ? base & 0xff_ffffn : base);
}
function storeTable(p: Processor, name: 'gdt' | 'idt', address: bigint, size: bigint): void {
  checkUserInstruction(p);
  p.store(address, 2, BigInt(p.v.get(name === 'gdt' ? At.gdtLimit : At.idtLimit) & 0xffff));
  p.store(address + 2n, size === 64n ? 8 : 4, p.v.get64(name === 'gdt' ? At.gdtBase : At.idtBase));
}

/** LLDT and LTR. */
function loadSystemSegment(p: Processor, selector: number, index: 6 | 7): void {
  const { v } = p;
  checkProtected(p);
  checkLevel0(p);
  if (nullSelector(selector)) {
    if (index === Segment.tr) throw protection(0);
    setSegment(v, index, selector, { base: 0n, limit: 0, rights: Rights.unusable });
    return;
  }
  const error = selector & 0xfffc;
  const words = (selector & 4) !== 0 ? undefined : readDescriptorWords(p, selector);
  if (!words) throw protection(error);
  const d = decodeDescriptor(words.low, words.high, words.address);
  const legal = index === Segment.ldtr ? [2] : v.longActive ? [9] : [1, 9];
  if (!legal.includes(d.rights & 0x1f)) throw protection(error);
  if ((d.rights & Rights.present) === 0) throw new Fault(Vector.notPresent, error);
  const base = v.longActive ? d.base | upperBase(p, d) : d.base;
  let { rights } = d;
  if (index === Segment.tr) {
    rights |= 2; // busy
    p.storeSystem(d.address + 4n, 4, BigInt((words.high | 0x200) >>> 0));
  }
  setSegment(v, index, selector, { base, limit: d.limit, rights });
}

export const segmentHelpers: Helpers<
  | 'push' | 'stackTop' | 'release' | 'pushAll' | 'popAll' | 'enter' | 'leave' | 'segmentSelector' | 'loadSegment' | 'linear'
  | 'storeLocalTable' | 'storeTask' | 'loadLocalTable' | 'loadTask' | 'storeGlobalTable' | 'storeInterruptTable' | 'loadGlobalTable'
  | 'loadInterruptTable' | 'accessRights' | 'segmentLimit' | 'verifyRead' | 'verifyWrite' | 'bound'
> = {
  push: (p, value, size) => pushValue(p, value, Number(size)),
  stackTop: (p, above, size) => stackValue(p, Number(above), Number(size)),
  release: (p, bytes) => releaseStack(p, bytes),
  pushAll(p, size) {
    const bits = Number(size);
    const sp = p.v.register(4);
    const values = [0, 1, 2, 3, 4, 5, 6, 7].map((n) => p.v.register(n));
    try {
      for (const value of values) pushValue(p, value, bits);
    } catch (problem) {
      p.v.setRegister(4, sp);
      throw problem;
    }
  },
  popAll(p, size) {
    const bits = Number(size);
    const values = [7, 6, 5, 4, 3, 2, 1, 0].map((n, at) => ({ n, value: stackValue(p, (at * bits) / 8, bits) }));
    for (const { n, value } of values) {
      if (n === 4) continue;
      p.v.setRegister(n, bits === 32 ? value : (p.v.register(n) & ~0xffffn) | value);
    }
    releaseStack(p, (8n * size) / 8n);
  },
  enter(p, bytes, nesting, size) {
    const { v } = p;
    const bits = Number(size);
    const level = Number(nesting & 31n);
    const sp = v.register(4);
    const bp = v.register(5);
    try {
      pushValue(p, bp, bits);
      const frame = v.register(4);
      for (let n = 1; n < level; n++) {
        const at = BigInt.asUintN(stackSize(v), bp - BigInt((n * bits) / 8));
        pushValue(p, p.load(linearAddress(v, Segment.ss, at, bits / 8, false), bits / 8), bits);
      }
      if (level > 0) pushValue(p, frame, bits);
      releaseStack(p, -bytes);
      const top = v.register(4) & ((1n << BigInt(stackSize(v))) - 1n);
      const address = linearAddress(v, Segment.ss, top, 1, true);
      p.store(address, 1, p.load(address, 1)); // the new top must be writable
      v.setRegister(5, bits === 64 ? frame : bits === 32 ? frame & 0xffff_ffffn : (bp & ~0xffffn) | (frame & 0xffffn));
    } catch (problem) {
      v.setRegister(4, sp);
      throw problem;
    }
  },
  leave(p, size) {
    const { v } = p;
    const bits = Number(size);
    const sp = v.register(4);
    v.setRegister(4, (v.get(At.segmentRights, Segment.ss) & Rights.big) !== 0 ? v.register(5) & 0xffff_ffffn : (sp & ~0xffffn) | (v.register(5) & 0xffffn));
    try {
      const value = stackValue(p, 0, bits);
      releaseStack(p, BigInt(bits / 8));
      v.setRegister(5, bits === 32 ? value : (v.register(5) & ~0xffffn) | value);
    } catch (problem) {
      v.setRegister(4, sp);
      throw problem;
    }
  },
  segmentSelector: (p, index) => BigInt(p.v.get(At.segmentSelector, Number(index)) & 0xffff),
  /** `far`: with a pointer into it, which leaves no moment in which the stack is none (LSS). SDM 3A, 6.8.3. */
  loadSegment(p, index, selector, far) {
    loadSegment(p, Number(index), Number(selector & 0xffffn));
    if (Number(index) !== Segment.ss || far === 1n) return;
    p.v.set64(At.interruptShadow, p.v.nextIp);
    p.v.set64(At.stackShadow, p.v.nextIp);
  },
  linear: (p, index, offset, bytes, write) => linearAddress(p.v, Number(index), offset, Number(bytes), write !== 0n),
  storeLocalTable(p) {
    checkProtected(p);
    checkUserInstruction(p);
    return BigInt(p.v.get(At.segmentSelector, Segment.ldtr));
  },
  storeTask(p) {
    checkProtected(p);
    checkUserInstruction(p);
    return BigInt(p.v.get(At.segmentSelector, Segment.tr));
  },
  loadLocalTable: (p, selector) => loadSystemSegment(p, Number(selector & 0xffffn), Segment.ldtr),
  loadTask: (p, selector) => loadSystemSegment(p, Number(selector & 0xffffn), Segment.tr),
  storeGlobalTable: (p, address, size) => storeTable(p, 'gdt', address, size),
  storeInterruptTable: (p, address, size) => storeTable(p, 'idt', address, size),
  loadGlobalTable: (p, address, size) => loadTable(p, 'gdt', address, size),
  loadInterruptTable: (p, address, size) => loadTable(p, 'idt', address, size),
  accessRights(p, selector) {
    checkProtected(p);
    const d = visible(p, Number(selector & 0xffffn), 'rights');
    if (!d) return 0n;
    const words = readDescriptorWords(p, Number(selector & 0xffffn));
    return (1n << 32n) | BigInt(((words?.high ?? 0) & 0x00f0_ff00) >>> 0);
  },
  segmentLimit(p, selector) {
    checkProtected(p);
    const d = visible(p, Number(selector & 0xffffn), 'limit');
    return d ? (1n << 32n) | BigInt(d.limit >>> 0) : 0n;
  },
  verifyRead(p, selector) {
    checkProtected(p);
    return visible(p, Number(selector & 0xffffn), 'read') ? 1n : 0n;
  },
  verifyWrite(p, selector) {
    checkProtected(p);
    return visible(p, Number(selector & 0xffffn), 'write') ? 1n : 0n;
  },
  bound(p, index, address, size) {
    const bits = Number(size);
    const value = BigInt.asIntN(bits, index);
    const lower = BigInt.asIntN(bits, p.load(address, bits / 8));
    const upper = BigInt.asIntN(bits, p.load(address + size / 8n, bits / 8));
    if (value < lower || value > upper) throw new Fault(Vector.bound);
  },
};
