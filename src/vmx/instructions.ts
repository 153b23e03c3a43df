/** The VMX instructions. SDM 3C, chapter 31. */
import { currentInstruction } from '../cpu/current-instruction.ts';
import { protection, undefinedOpcode } from '../cpu/fault.ts';
import type { Helpers } from '../cpu/helpers/helper.ts';
import type { VmxHelperName } from '../cpu/helpers/without-guests.ts';
import { At, Cr4 } from '../cpu/state.ts';
import { noVmcs } from '../cpu/vcpu.ts';
import { VmExit } from '../cpu/vm-exit.ts';
import { readField, writeField } from './access.ts';
import { vmcsRevision } from './capabilities.ts';
import { isPageAddress } from './checks/context.ts';
import { isFixedCr0, isFixedCr4 } from './checks/host.ts';
import { Secondary } from './controls.ts';
import { enter, mayEnter } from './entry.ts';
import { isEptPointer } from './ept.ts';
import { Reason } from './exit-reasons.ts';
import { F } from './fields.ts';
import { displacementOf, instructionInformation } from './information.ts';
import { Operation } from './operation.ts';
import { fail, succeed, VmError } from './outcome.ts';
import { switchedPointer } from './vm-functions.ts';
import { shadowIndicator } from './vmcs.ts';
import type { Vmx } from './vmx.ts';

/** Real and virtual-8086 mode, compatibility mode: #UD. */
function checkMode({ v }: Vmx): void {
  if (!v.protectedMode || v.virtual8086 || (v.longActive && !v.long)) throw undefinedOpcode();
}
/** The checks that all but VMXON, VMCALL and VMFUNC share. */
export function common(x: Vmx, exit: () => VmExit): void {
  if (x.operation === Operation.off) throw undefinedOpcode();
  checkMode(x);
  if (x.nonRoot) throw exit();
  if (x.v.cpl !== 0) throw protection(0);
}
const plainExit = (reason: number) => (): VmExit => new VmExit(reason, 0n, { length: true });
/** An exit that describes a memory operand; `register`: which operand is a register beside it. */
const operandExit = (x: Vmx, reason: number, register?: number) => (): VmExit => {
  const d = currentInstruction(x.p);
  return new VmExit(reason, displacementOf(x, d.memory), { length: true, instruction: instructionInformation(d, register) });
};

/** A field can be reached without an exit by a guest whose hypervisor has VMCS shadowing on and the field's bit clear. */
function isShadowed(x: Vmx, field: bigint, bitmap: bigint): boolean {
  if (!x.wantsSecondary(Secondary.vmcsShadowing) || field >> 15n !== 0n) return false;
  const number = Number(field);
  const byte = x.v.space.read(Number(bitmap & 0xff_ffff_f000n) + (number >> 3), 1)[0] ?? 0xff;
  return (byte & (1 << (number & 7))) === 0;
}
/** VMREAD and VMWRITE: the VMCS that they work on, or undefined when they have failed. */
function target(x: Vmx, field: bigint, kind: 'read' | 'write'): Vmx['vmcs'] | undefined {
  if (x.operation === Operation.off) throw undefinedOpcode();
  checkMode(x);
  if (x.nonRoot) {
    const bitmap = x.bitmapOf(kind);
    if (!isShadowed(x, field, bitmap)) throw operandExit(x, kind === 'read' ? Reason.vmread : Reason.vmwrite, kind === 'read' ? 1 : 0)();
  }
  if (x.v.cpl !== 0) throw protection(0);
  if (!x.nonRoot) x.counts[kind === 'read' ? 'reads' : 'writes']++;
  const vmcs = x.nonRoot ? x.shadow : x.vmcs;
  if (vmcs.frame !== 0) return vmcs;
  fail(x, undefined, vmcs);
  return undefined;
}

function turnOn(x: Vmx, address: bigint): void {
  const { v } = x;
  if ((v.cr4 & Cr4.vmxe) === 0) throw undefinedOpcode();
  checkMode(x);
  if (x.nonRoot) throw operandExit(x, Reason.vmxon)();
  if (v.cpl !== 0) throw protection(0);
  if (x.operation === Operation.root) return fail(x, VmError.vmxonInRoot);
  const { cr0Fixed0, cr4Fixed1 } = x.capabilities;
  if (!isFixedCr0(v.get64(At.cr0), cr0Fixed0) || !isFixedCr4(v.get64(At.cr4), cr4Fixed1)) throw protection(0);
  if ((v.get64(At.featureControl) & 5n) !== 5n) throw protection(0);
  const pointer = x.p.load(address, 8);
  if (!isPageAddress(pointer) || v.space.read32(Number(pointer)) !== vmcsRevision) return fail(x, undefined);
  x.setRegion(pointer);
  x.setOperation(Operation.root);
  x.setCurrent(noVmcs);
  succeed(x);
}
function turnOff(x: Vmx): void {
  common(x, plainExit(Reason.vmxoff));
  x.setOperation(Operation.off);
  x.setCurrent(noVmcs);
  x.setRegion(noVmcs);
  succeed(x);
  x.v.jump(x.v.nextIp);
}

function clear(x: Vmx, address: bigint): void {
  common(x, operandExit(x, Reason.vmclear));
  const pointer = x.p.load(address, 8);
  if (!isPageAddress(pointer)) return fail(x, VmError.clearAddress);
  if (pointer === x.region) return fail(x, VmError.clearOfVmxon);
  if (x.frameAt(pointer) !== 0) x.markClear(pointer);
  if (pointer === x.current) x.setCurrent(noVmcs);
  succeed(x);
}
function loadPointer(x: Vmx, address: bigint): void {
  common(x, operandExit(x, Reason.vmptrld));
  const pointer = x.p.load(address, 8);
  if (!isPageAddress(pointer)) return fail(x, VmError.loadAddress);
  if (pointer === x.region) return fail(x, VmError.loadOfVmxon);
  const word = x.v.space.read32(Number(pointer));
  const offered = x.capabilities.has('shadow-vmcs') ? shadowIndicator : 0;
  if ((word & ~offered) >>> 0 !== vmcsRevision || x.frameAt(pointer) === 0) return fail(x, VmError.loadRevision);
  x.setCurrent(pointer);
  succeed(x);
}

const invalidation = { address: 0n, single: 1n, all: 2n, keepGlobals: 3n } as const;

function invalidateEpt(x: Vmx, type: bigint, address: bigint): void {
  if (!x.capabilities.has('ept')) throw undefinedOpcode();
  common(x, operandExit(x, Reason.invept, 0));
  const pointer = x.p.load(address, 8);
  const upper = x.p.load(BigInt.asUintN(64, address + 8n), 8);
  if (type !== invalidation.single && type !== invalidation.all) return fail(x, VmError.invalidOperand);
  if (type === invalidation.single && (!isEptPointer(pointer, x.capabilities.has('eptad')) || upper !== 0n))
    return fail(x, VmError.invalidOperand);
  const named = (eptPointer: bigint): boolean => type === invalidation.all || eptPointer >> 12n === pointer >> 12n;
  x.dropEpt(named);
  succeed(x);
}
function invalidateVpid(x: Vmx, type: bigint, address: bigint): void {
  if (!x.capabilities.has('vpid')) throw undefinedOpcode();
  common(x, operandExit(x, Reason.invvpid, 0));
  const descriptor = x.p.load(address, 8);
  const linear = x.p.load(BigInt.asUintN(64, address + 8n), 8);
  const vpid = Number(descriptor & 0xffffn);
  const legal = type <= invalidation.keepGlobals && descriptor >> 16n === 0n && (type === invalidation.all || vpid !== 0);
  const canonical = BigInt.asUintN(64, BigInt.asIntN(48, linear)) === linear;
  if (!legal || (type === invalidation.address && !canonical)) return fail(x, VmError.invalidOperand);
  if (type === invalidation.address) x.dropPage(vpid, linear);
  else x.dropVpid((of) => type === invalidation.all || of === vpid);
  succeed(x);
}

function call(x: Vmx): void {
  if (x.operation === Operation.off) throw undefinedOpcode();
  if (x.nonRoot) throw plainExit(Reason.vmcall)();
  checkMode(x);
  if (x.v.cpl !== 0) throw protection(0);
  fail(x, VmError.vmcallInRoot);
  x.v.jump(x.v.nextIp);
}
function vmFunction(x: Vmx): void {
  const { v, vmcs } = x;
  if (!x.nonRoot || !x.wantsSecondary(Secondary.vmFunctions) || v.low(At.gpr, 0) >= 64) throw undefinedOpcode();
  const pointer = switchedPointer(x);
  if (pointer === undefined) throw plainExit(Reason.vmfunc)();
  vmcs.set(F.eptPointer, pointer);
  if (x.wantsSecondary(Secondary.virtualizationExceptions)) vmcs.set32(F.eptpIndex, v.low(At.gpr, 1));
  v.jump(v.nextIp);
  x.ept.use(pointer, x.secondary);
  x.spaces.switchTables(x.wantsSecondary(Secondary.vpid) ? vmcs.get32(F.vpid) : 0, pointer);
}
function launch(x: Vmx, resume: boolean): void {
  common(x, plainExit(resume ? Reason.vmresume : Reason.vmlaunch));
  if (mayEnter(x, resume)) enter(x);
  else x.v.jump(x.v.nextIp);
}

export function vmxInstructions(x: Vmx): Helpers<VmxHelperName> {
  return {
    vmCall: () => call(x),
    vmFunction: () => vmFunction(x),
    vmLaunch: (_p, resume) => launch(x, resume !== 0n),
    vmxOff: () => turnOff(x),
    vmxOn: (_p, address) => turnOn(x, address),
    vmClear: (_p, address) => clear(x, address),
    vmPointerLoad: (_p, address) => loadPointer(x, address),
    vmPointerStore(p, address) {
      common(x, operandExit(x, Reason.vmptrst));
      p.store(address, 8, x.current);
      succeed(x);
    },
    vmRead(_p, field, before) {
      const vmcs = target(x, field, 'read');
      return vmcs ? (readField(x, vmcs, field) ?? before) : before;
    },
    vmReadTo(p, field, address) {
      const vmcs = target(x, field, 'read');
      const value = vmcs && readField(x, vmcs, field);
      if (value !== undefined) p.store(address, p.v.long ? 8 : 4, value);
    },
    vmWrite(_p, field, value) {
      const vmcs = target(x, field, 'write');
      if (vmcs) writeField(x, vmcs, field, value);
    },
    invalidateEpt: (_p, type, address) => invalidateEpt(x, type, address),
    invalidateVpid: (_p, type, address) => invalidateVpid(x, type, address),
  };
}
