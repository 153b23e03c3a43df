/** The registers that VMRUN, #VMEXIT, VMLOAD and VMSAVE move between the processor and a save area. */
import { readFlags, writeFlags } from '../cpu/flags.ts';
import { setSegment } from '../cpu/segments.ts';
import { At, Rights, Segment } from '../cpu/state.ts';
import type { Vcpu } from '../cpu/vcpu.ts';
import { Save, segmentPlace, type Vmcb } from './vmcb.ts';

const { es, cs, ss, ds, fs, gs, ldtr, tr } = Segment;
/** Of VMRUN and #VMEXIT; the others are moved by VMLOAD and VMSAVE. */
const own = [es, cs, ss, ds];
const others = [fs, gs, ldtr, tr];
const limitOffset = 4;
const baseOffset = 8;
/** What the save area calls them, with bits 8 to 11 for AVL, L, D and G. */
const packed = (rights: number): number => ((rights & Rights.unusable) !== 0 ? 0 : (rights & 0xff) | ((rights >> 4) & 0xf00));
const unpacked = (packed: number): number =>
  (packed & 0xff) | ((packed & 0xf00) << 4) | ((packed & Rights.present) === 0 ? Rights.unusable : 0);

function saveSegments(v: Vcpu, vmcb: Vmcb, segments: readonly number[]): void {
  for (const n of segments) {
    const place = segmentPlace[n] ?? 0;
    vmcb.set16(place, v.get(At.segmentSelector, n) & 0xffff);
    vmcb.set16(place + 2, packed(v.get(At.segmentRights, n)));
    vmcb.set32(place + limitOffset, v.get(At.segmentLimit, n));
    vmcb.set64(place + baseOffset, v.get64(At.segmentBase, n));
  }
}
function loadSegments(v: Vcpu, vmcb: Vmcb, segments: readonly number[]): void {
  for (const n of segments) {
    const place = segmentPlace[n] ?? 0;
    setSegment(v, n, vmcb.get16(place), {
      base: vmcb.get64(place + baseOffset),
      limit: vmcb.get32(place + limitOffset),
      rights: unpacked(vmcb.get16(place + 2)),
    });
  }
}

/** Everything that a world switch moves, but RIP. */
export function saveWorld(v: Vcpu, vmcb: Vmcb): void {
  saveSegments(v, vmcb, own);
  vmcb.set32(Save.gdtr + limitOffset, v.get(At.gdtLimit) & 0xffff);
  vmcb.set64(Save.gdtr + baseOffset, v.get64(At.gdtBase));
  vmcb.set32(Save.idtr + limitOffset, v.get(At.idtLimit) & 0xffff);
  vmcb.set64(Save.idtr + baseOffset, v.get64(At.idtBase));
  vmcb.set8(Save.cpl, v.cpl);
  vmcb.set64(Save.efer, v.get64(At.efer));
  vmcb.set64(Save.cr0, v.get64(At.cr0));
  vmcb.set64(Save.cr3, v.get64(At.cr3));
  vmcb.set64(Save.cr4, v.get64(At.cr4));
  vmcb.set64(Save.rflags, BigInt(readFlags(v) >>> 0));
  vmcb.set64(Save.rsp, v.register(4));
  vmcb.set64(Save.rax, v.register(0));
}
export function loadWorld(v: Vcpu, vmcb: Vmcb): void {
  loadSegments(v, vmcb, own);
  v.set(At.gdtLimit, vmcb.get32(Save.gdtr + limitOffset) & 0xffff);
  v.set64(At.gdtBase, vmcb.get64(Save.gdtr + baseOffset));
  v.set(At.idtLimit, vmcb.get32(Save.idtr + limitOffset) & 0xffff);
  v.set64(At.idtBase, vmcb.get64(Save.idtr + baseOffset));
  v.set64(At.efer, vmcb.get64(Save.efer));
  v.set64(At.cr0, vmcb.get64(Save.cr0));
  v.set64(At.cr3, vmcb.get64(Save.cr3));
  v.set64(At.cr4, vmcb.get64(Save.cr4));
  writeFlags(v, vmcb.get32(Save.rflags) | 2);
  v.set(At.cpl, v.virtual8086 ? 3 : v.protectedMode ? vmcb.get8(Save.cpl) & 3 : 0);
  v.setRegister(4, vmcb.get64(Save.rsp));
  v.setRegister(0, vmcb.get64(Save.rax));
  v.jump(vmcb.get64(Save.rip));
}

const loaded = [
  [At.star, Save.star],
  [At.lstar, Save.lstar],
  [At.cstar, Save.cstar],
  [At.sfmask, Save.sfmask],
  [At.kernelGsBase, Save.kernelGsBase],
  [At.sysenterCs, Save.sysenterCs],
  [At.sysenterEsp, Save.sysenterEsp],
  [At.sysenterEip, Save.sysenterEip],
] as const;
/** VMSAVE. */
export function saveRest(v: Vcpu, vmcb: Vmcb): void {
  saveSegments(v, vmcb, others);
  for (const [at, offset] of loaded) vmcb.set64(offset, v.get64(at));
}
/** VMLOAD. */
export function loadRest(v: Vcpu, vmcb: Vmcb): void {
  loadSegments(v, vmcb, others);
  for (const [at, offset] of loaded) v.set64(at, vmcb.get64(offset));
}
