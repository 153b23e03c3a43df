/** Hardware task switches: through a TSS descriptor, a task gate, or IRET with NT. SDM 3A, chapter 8. Not in long mode. */
import { Fault, Vector } from './fault.ts';
import { readFlags, writeFlags } from './flags.ts';
import type { Processor } from './processor.ts';
import { decodeDescriptor, isCode, loadSegment, nullSelector, readDescriptorWords, setRealSegment, setSegment } from './segments.ts';
import { pushValue } from './stack.ts';
import { At, Cr0, Flag, Rights, Segment } from './state.ts';

export type TaskSwitch = 'jump' | 'call' | 'gate' | 'return';

/** Where a TSS keeps what; offsets in bytes. */
interface Layout {
  readonly bytes: 2 | 4;
  readonly limitMin: number;
  readonly cr3: number | undefined;
  readonly ip: number;
  readonly flags: number;
  readonly registers: number;
  readonly segments: number;
  readonly segmentCount: number;
  readonly ldt: number;
}
const wide: Layout = { bytes: 4, limitMin: 0x67, cr3: 0x1c, ip: 0x20, flags: 0x24, registers: 0x28, segments: 0x48, segmentCount: 6, ldt: 0x60 };
const narrow: Layout = { bytes: 2, limitMin: 0x2b, cr3: undefined, ip: 0x0e, flags: 0x10, registers: 0x12, segments: 0x22, segmentCount: 4, ldt: 0x2a };
const layoutOf = (rights: number): Layout => ((rights & 8) !== 0 ? wide : narrow);

const busy = 0x200n;
const invalidTss = (selector: number): Fault => new Fault(Vector.invalidTss, selector & 0xfffc);

/** `returnIp` is what the old task continues at; `error` is pushed on the new task's stack. */
export function switchTask(p: Processor, selector: number, how: TaskSwitch, returnIp: bigint, error?: number): void {
  const { v } = p;
  const tssFault = (): Fault => (how === 'return' ? invalidTss(selector) : new Fault(Vector.protection, selector & 0xfffc));
  if (nullSelector(selector) || (selector & 4) !== 0) throw tssFault();
  const words = readDescriptorWords(p, selector);
  if (!words) throw tssFault();
  const d = decodeDescriptor(words.low, words.high, words.address);
  if (![1, 9].includes(d.rights & 0x1f & ~2) || ((d.rights & 2) !== 0) !== (how === 'return')) throw tssFault();
  if ((d.rights & Rights.present) === 0) throw new Fault(Vector.notPresent, selector & 0xfffc);
  const next = layoutOf(d.rights);
  if (d.limit < next.limitMin) throw invalidTss(selector);
  p.virtualization?.taskSwitch(selector, how);

  const old = v.get(At.segmentSelector, Segment.tr);
  saveTask(p, returnIp, how);
  if (how === 'jump' || how === 'return') markBusy(p, old, false);
  if (how === 'call' || how === 'gate') p.storeSystem(d.base, 2, BigInt(old));
  if (how !== 'return') markBusy(p, selector, true);
  setSegment(v, Segment.tr, selector, { ...d, rights: d.rights | 2 });
  v.set64(At.cr0, v.get64(At.cr0) | BigInt(Cr0.ts));
  loadTask(p, d.base, next, how === 'call' || how === 'gate');
  if (error !== undefined) pushValue(p, BigInt(error), next.bytes * 8);
  v.refreshMode();
}

function markBusy(p: Processor, selector: number, on: boolean): void {
  const address = p.v.get64(At.gdtBase) + BigInt(selector & ~7) + 4n;
  const high = p.loadSystem(address, 4);
  p.storeSystem(address, 4, on ? high | busy : high & ~busy);
}

function saveTask(p: Processor, ip: bigint, how: TaskSwitch): void {
  const { v } = p;
  const base = v.get64(At.segmentBase, Segment.tr);
  const l = layoutOf(v.get(At.segmentRights, Segment.tr));
  const put = (offset: number, value: bigint): void => p.storeSystem(base + BigInt(offset), l.bytes, BigInt.asUintN(l.bytes * 8, value));
  put(l.ip, ip);
  put(l.flags, BigInt(how === 'return' ? readFlags(v) & ~Flag.nested : readFlags(v)));
  for (let n = 0; n < 8; n++) put(l.registers + n * l.bytes, v.register(n));
  for (let n = 0; n < l.segmentCount; n++) put(l.segments + n * l.bytes, BigInt(v.get(At.segmentSelector, n)));
}

function loadTask(p: Processor, base: bigint, l: Layout, nested: boolean): void {
  const { v } = p;
  const get = (offset: number): bigint => p.loadSystem(base + BigInt(offset), l.bytes);
  const registers = Array.from({ length: 8 }, (_, n) => get(l.registers + n * l.bytes));
  const selectors = Array.from({ length: l.segmentCount }, (_, n) => Number(get(l.segments + n * l.bytes) & 0xffffn));
  const [ip, flags, ldt] = [get(l.ip), Number(get(l.flags)), Number(get(l.ldt) & 0xffffn)];
  if (l.cr3 !== undefined && (v.cr0 & Cr0.pg) !== 0) {
    const cr3 = get(l.cr3);
    if (v.usesPae && !p.paging.loadPointers(Number(cr3))) throw new Fault(Vector.protection, 0);
    v.set64(At.cr3, cr3);
    v.flushTlb();
  }
  writeFlags(v, (l.bytes === 2 ? flags & 0xffff : flags) | (nested ? Flag.nested : 0));
  registers.forEach((value, n) => v.setRegister(n, l.bytes === 2 ? value | 0xffff_0000n : value));
  v.jump(ip);
  loadLocalTable(p, ldt);
  if (v.virtual8086) {
    v.set(At.cpl, 3);
    selectors.forEach((selector, n) => setRealSegment(v, n, selector));
    return;
  }
  const [, code = 0, stack = 0] = selectors;
  loadCode(p, code);
  loadOrInvalid(p, Segment.ss, stack);
  for (const n of [Segment.es, Segment.ds, Segment.fs, Segment.gs]) loadOrInvalid(p, n, selectors[n] ?? 0);
}

function loadLocalTable(p: Processor, selector: number): void {
  if (nullSelector(selector)) {
    setSegment(p.v, Segment.ldtr, selector, { base: 0n, limit: 0, rights: Rights.unusable });
    return;
  }
  const words = (selector & 4) !== 0 ? undefined : readDescriptorWords(p, selector);
  const d = words && decodeDescriptor(words.low, words.high, words.address);
  if (!d || (d.rights & 0x1f) !== 2 || (d.rights & Rights.present) === 0) throw invalidTss(selector);
  setSegment(p.v, Segment.ldtr, selector, d);
}
function loadCode(p: Processor, selector: number): void {
  const words = nullSelector(selector) ? undefined : readDescriptorWords(p, selector);
  const d = words && decodeDescriptor(words.low, words.high, words.address);
  if (!d || !isCode(d.rights)) throw invalidTss(selector);
  if ((d.rights & Rights.present) === 0) throw new Fault(Vector.notPresent, selector & 0xfffc);
  setSegment(p.v, Segment.cs, selector, { ...d, rights: d.rights | Rights.accessed });
  p.v.set(At.cpl, selector & 3);
}
/** In a task switch a bad selector is #TS rather than #GP. */
function loadOrInvalid(p: Processor, index: number, selector: number): void {
  try {
    loadSegment(p, index, selector);
  } catch (problem) {
    if (problem instanceof Fault && problem.vector === Vector.protection) throw invalidTss(selector);
    throw problem;
  }
}
