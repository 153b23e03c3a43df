/** Puts a vCPU into the state in which a boot protocol enters a kernel. */

import { setSegment } from './segments.ts';
import { At, Cr0, Cr4, Efer, Rights, Segment, type StateField } from './state.ts';
import type { Vcpu } from './vcpu.ts';

const registerNumbers = { rax: 0, rbx: 3, rsp: 4, rsi: 6 } as const;

export interface EntryState {
  readonly mode: 'long' | 'protected';
  readonly ip: number;
  readonly registers: Readonly<Partial<Record<keyof typeof registerNumbers, number>>>;
  readonly pageTables: number;
  readonly gdt: number;
}

export function enterKernel(v: Vcpu, entry: EntryState): void {
  const long = entry.mode === 'long';
  const data = { base: 0n, limit: 0xffff_ffff, rights: 0x93 | Rights.granular | Rights.big };
  const code = { base: 0n, limit: 0xffff_ffff, rights: 0x9b | Rights.granular | (long ? Rights.long : Rights.big) };
  for (const n of [Segment.es, Segment.ss, Segment.ds, Segment.fs, Segment.gs]) setSegment(v, n, 0x18, data);
  setSegment(v, Segment.cs, 0x10, code);
  setSegment(v, Segment.tr, 0, { base: 0n, limit: 0x67, rights: 0x8b });
  const set = (field: StateField, value: number): void => v.set64(At[field], BigInt(value));
  set('gdtBase', entry.gdt);
  v.set(At.gdtLimit, 0x1f);
  v.set(At.idtLimit, 0);
  if (long) {
    set('cr3', entry.pageTables);
    set('cr4', Cr4.pae);
    set('efer', Efer.lme | Efer.lma);
    set('cr0', (Cr0.pg >>> 0) + Cr0.pe + Cr0.et);
  } else set('cr0', Cr0.pe | Cr0.et);
  set('mtrrDefault', 0xc06); // write-back everywhere, as firmware leaves it
  for (let n = 0; n < 11; n++) v.set64(At.mtrrFixed, n === 2 ? 0n : 0x0606_0606_0606_0606n, n);
  for (let n = 0; n < 16; n++) v.setRegister(n, 0n);
  for (const [name, value] of Object.entries(entry.registers)) v.setRegister(registerNumbers[name as keyof typeof registerNumbers], BigInt(value));
  v.jump(BigInt(entry.ip));
  v.flushTlb();
  v.refreshMode();
}
