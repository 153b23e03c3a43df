/** MOV to and from control registers, CLTS, LMSW and SMSW in VMX operation: masks, shadows and fixed bits. SDM 3C, 26.1.3, 26.3 and 24.8. */

import { readControl, writeControl, writeCr0 } from '../cpu/control.ts';
import { currentInstruction } from '../cpu/current-instruction.ts';
import { protection } from '../cpu/fault.ts';
import { At, Cr0 } from '../cpu/state.ts';
import { VmExit } from '../cpu/vm-exit.ts';
import { isFixedCr4 } from './checks/host.ts';
import { Primary, Secondary } from './controls.ts';
import { Reason } from './exit-reasons.ts';
import { F } from './fields.ts';
import { Operation } from './operation.ts';
import type { Vmx } from './vmx.ts';

const Access = { to: 0, from: 1, clts: 2, lmsw: 3 } as const;

/** An exit whose qualification names the register and the general register of the MOV. */
function movExit(x: Vmx, number: number, access: 0 | 1): VmExit {
  const d = currentInstruction(x.p);
  const general = d.operands[access === Access.from ? 0 : 1]?.number ?? 0;
  return new VmExit(Reason.controlRegister, BigInt(number | (access << 4) | (general << 8)), { length: true });
}

/** What the guest sees: its shadow in the bits that the hypervisor owns. */
function shadowed(x: Vmx, number: 0 | 4): bigint {
  const [mask, shadow] = number === 0 ? [F.cr0Mask, F.cr0Shadow] : [F.cr4Mask, F.cr4Shadow];
  const owned = x.vmcs.get(mask);
  return (x.v.get64(number === 0 ? At.cr0 : At.cr4) & ~owned) | (x.vmcs.get(shadow) & owned);
}
/** Bits that must be 1 in CR0 while in VMX operation. */
function fixedCr0(x: Vmx): bigint {
  const { cr0Fixed0 } = x.capabilities;
  return x.nonRoot && x.wantsSecondary(Secondary.unrestrictedGuest) ? cr0Fixed0 & ~0x8000_0001n : cr0Fixed0;
}
function checkedCr0(x: Vmx, value: bigint): bigint {
  const fixed = fixedCr0(x);
  if (x.operation !== Operation.off && (value & fixed) !== fixed) throw protection(0);
  return value;
}

export function readControlRegister(x: Vmx, number: number): bigint {
  const { p, v } = x;
  if (!x.nonRoot || v.cpl !== 0) return readControl(p, number);
  switch (number) {
    case 0:
      return shadowed(x, 0);
    case 4:
      return shadowed(x, 4);
    case 3:
      if (x.wants(Primary.cr3Store)) throw movExit(x, 3, Access.from);
      break;
    case 8:
      if (x.wants(Primary.cr8Store)) throw movExit(x, 8, Access.from);
      if (x.wants(Primary.tprShadow)) return BigInt(x.apic.taskPriority >> 4);
  }
  return readControl(p, number);
}

export function writeControlRegister(x: Vmx, number: number, value: bigint): void {
  const { p, v } = x;
  if (v.cpl !== 0) return writeControl(p, number, value);
  const masked = v.long ? value : value & 0xffff_ffffn;
  if (x.nonRoot) return writeGuestControl(x, number, masked);
  if (number === 0) return writeControl(p, 0, checkedCr0(x, masked));
  if (number === 4 && x.operation !== Operation.off && !isFixedCr4(masked, x.capabilities.cr4Fixed1)) throw protection(0);
  writeControl(p, number, masked);
}

function writeGuestControl(x: Vmx, number: number, value: bigint): void {
  const { p, v, vmcs } = x;
  switch (number) {
    case 0:
    case 4: {
      const [maskField, shadowField] = number === 0 ? [F.cr0Mask, F.cr0Shadow] : [F.cr4Mask, F.cr4Shadow];
      const mask = vmcs.get(maskField);
      if ((mask & (value ^ vmcs.get(shadowField))) !== 0n) throw movExit(x, number, Access.to);
      const real = (value & ~mask) | (v.get64(number === 0 ? At.cr0 : At.cr4) & mask);
      if (number === 4 && !isFixedCr4(real, x.capabilities.cr4Fixed1)) throw protection(0);
      return writeControl(p, number, number === 0 ? checkedCr0(x, real) : real);
    }
    case 3: {
      const count = vmcs.get32(F.cr3TargetCount);
      let isTarget = false;
      for (let n = 0; n < count && n < 4; n++) isTarget ||= vmcs.get(F.cr3Target0 + n) === value;
      if (x.wants(Primary.cr3Load) && !isTarget) throw movExit(x, 3, Access.to);
      return writeControl(p, 3, value);
    }
    case 8:
      if (x.wants(Primary.cr8Load)) throw movExit(x, 8, Access.to);
      if (!x.wants(Primary.tprShadow)) return writeControl(p, 8, value);
      if (value > 15n) throw protection(0);
      return x.apic.setTaskPriority(Number(value) << 4);
    default:
      writeControl(p, number, value);
  }
}

export function clearTaskSwitched(x: Vmx, base: () => void): void {
  if (x.nonRoot && x.v.cpl === 0) {
    const ts = BigInt(Cr0.ts);
    if ((x.vmcs.get(F.cr0Mask) & ts) !== 0n) {
      if ((x.vmcs.get(F.cr0Shadow) & ts) === 0n) return; // clear already, as far as the guest sees
      throw new VmExit(Reason.controlRegister, BigInt(Access.clts << 4), { length: true });
    }
  }
  base();
}

export function loadMachineStatus(x: Vmx, value: bigint, base: () => void): void {
  const { p, v, vmcs } = x;
  if (!x.nonRoot || v.cpl !== 0) return base();
  const [mask, shadow] = [vmcs.get(F.cr0Mask), vmcs.get(F.cr0Shadow)];
  const setsPe = (mask & value & ~shadow & 1n) !== 0n;
  if (setsPe || (mask & (value ^ shadow) & 0xen) !== 0n) {
    const d = currentInstruction(x.p);
    const memory = d.memory ? 1 << 6 : 0;
    throw new VmExit(Reason.controlRegister, BigInt((Access.lmsw << 4) | memory) | ((value & 0xffffn) << 16n), { length: true });
  }
  const old = v.get64(At.cr0);
  const wanted = (old & ~0xen) | (value & 0xfn) | (old & 1n);
  writeCr0(p, (wanted & ~mask) | (old & mask));
}
/** SMSW. */
export const storedMachineStatus = (x: Vmx, plain: bigint): bigint => (x.nonRoot ? shadowed(x, 0) : plain);
