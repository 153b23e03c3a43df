/** VMCS01: how the monitor runs its guest. It lets the guest do everything that needs no VMX of its own. */
import { At, Cr0, Cr4 } from '../../cpu/state.ts';
import { noVmcs, type Vcpu } from '../../cpu/vcpu.ts';
import { pageBytes } from '../../memory/pool.ts';
import { Primary, Secondary } from '../controls.ts';
import { F } from '../fields.ts';
import type { Vmcs } from '../vmcs.ts';
import type { Vmx } from '../vmx.ts';
import { loadsAll, savesAll } from './merge.ts';

/** Bits that VMX operation wants set, and that the guest must not see as the monitor has them. */
const ownedCr0 = BigInt(Cr0.ne);
const ownedCr4 = BigInt(Cr4.vmxe);
const vpid01 = 1;
const firstCapability = 0x480;
const lastCapability = 0x491;

/** `bitmap`: number of the page of the MSR bitmap. */
export function prepareVmcs01({ capabilities, v }: Vmx, vmcs: Vmcs, parts: { readonly eptPointer: bigint; readonly bitmap: number }): void {
  vmcs.set32(F.pinControls, capabilities.pin.must);
  vmcs.set32(F.primaryControls, capabilities.primary.must | Primary.secondary | Primary.msrBitmaps);
  const passed = Secondary.rdtscp | Secondary.invpcid | Secondary.xsaves;
  vmcs.set32(F.secondaryControls, Secondary.ept | Secondary.vpid | Secondary.unrestrictedGuest | (capabilities.secondary.may & passed));
  vmcs.set32(F.exitControls, capabilities.exit.must | savesAll);
  vmcs.set32(F.entryControls, capabilities.entry.must | loadsAll);
  vmcs.set32(F.vpid, vpid01);
  vmcs.set(F.eptPointer, parts.eptPointer);
  vmcs.set(F.msrBitmap, BigInt(parts.bitmap * pageBytes));
  vmcs.set(F.cr0Mask, ownedCr0);
  vmcs.set(F.cr4Mask, ownedCr4);
  vmcs.set(F.linkPointer, noVmcs);
  const bytes = v.space.frameOf(parts.bitmap) * pageBytes;
  for (let number = firstCapability; number <= lastCapability; number++) {
    const byte = bytes + (number >> 3);
    v.pool.bytes[byte] = (v.pool.bytes[byte] ?? 0) | (1 << (number & 7));
  }
}

/** CR0 and CR4 as the guest has them. */
export function showOwnView(v: Vcpu, vmcs01: Vmcs): void {
  const view = (register: number, owned: bigint, shadow: number): void =>
    v.set64(register, (v.get64(register) & ~owned) | (vmcs01.get(shadow) & owned));
  view(At.cr0, ownedCr0, F.cr0Shadow);
  view(At.cr4, ownedCr4, F.cr4Shadow);
}
/** As VMX operation has them; what the guest has is its shadow. */
export function hideOwnView(v: Vcpu, vmcs01: Vmcs): void {
  const [cr0, cr4] = [v.get64(At.cr0), v.get64(At.cr4)];
  vmcs01.set(F.cr0Shadow, cr0);
  vmcs01.set(F.cr4Shadow, cr4);
  v.set64(At.cr0, cr0 | ownedCr0);
  v.set64(At.cr4, cr4 | ownedCr4);
}
