/** Interrupts that a virtual-8086 program handles itself. SDM 3B, 21.3. */
import { protection } from './fault.ts';
import { readFlags } from './flags.ts';
import { setRealCode } from './interrupts.ts';
import type { Processor } from './processor.ts';
import { iopl } from './segments.ts';
import { pushValue } from './stack.ts';
import { At, Cr4, Flag, Segment } from './state.ts';

/**
 * INT n in virtual-8086 mode with CR4.VME: a clear bit in the map below the TSS's I/O permissions sends it to the program's own handler, as in real
 * mode. True when that was done. SDM 3B, 21.3.3.5.
 */
export function redirectTo8086(p: Processor, vector: number): boolean {
  const { v } = p;
  if ((v.cr4 & Cr4.vme) === 0) return false;
  const tss = v.get64(At.segmentBase, Segment.tr);
  if ((v.get(At.segmentRights, Segment.tr) & 8) === 0 || v.get(At.segmentLimit, Segment.tr) >>> 0 < 0x67) throw protection(0);
  const map = Number(p.loadSystem(tss + 0x66n, 2)) - 32 + (vector >> 3);
  if (map < 0 || map > v.get(At.segmentLimit, Segment.tr) >>> 0) throw protection(0);
  if (((Number(p.loadSystem(tss + BigInt(map), 1)) >> (vector & 7)) & 1) !== 0) return false;
  const target = p.load(BigInt(vector * 4), 4);
  const owns = iopl(v) === 3; // otherwise the program has a virtual interrupt flag
  const flags = readFlags(v);
  const shown = owns ? flags : (flags & ~Flag.interrupt) | ((flags & Flag.virtualInterrupt) !== 0 ? Flag.interrupt : 0) | Flag.iopl;
  const sp = v.register(4);
  const ip = v.nextIp;
  try {
    pushValue(p, BigInt(shown), 16);
    pushValue(p, BigInt(v.get(At.segmentSelector, Segment.cs)), 16);
    pushValue(p, ip, 16);
  } catch (problem) {
    v.setRegister(4, sp);
    throw problem;
  }
  v.set(At.systemFlags, v.systemFlags & ~(Flag.trap | (owns ? Flag.interrupt : Flag.virtualInterrupt)));
  setRealCode(p, Number(target >> 16n));
  v.jump(target & 0xffffn);
  v.refreshMode();
  return true;
}
