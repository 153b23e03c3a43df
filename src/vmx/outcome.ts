/** How VMX instructions report: VMsucceed, VMfailInvalid, VMfailValid. SDM 3C, 31.2. */
import { writeStatusFlags } from '../cpu/flags.ts';
import { Flag } from '../cpu/state.ts';
import { noVmcs } from '../cpu/vcpu.ts';
import { F } from './fields.ts';
import type { Vmcs } from './vmcs.ts';
import type { Vmx } from './vmx.ts';

/** VM-instruction error numbers. SDM 3C, 31.4. */
export const VmError = {
  vmcallInRoot: 1,
  clearAddress: 2,
  clearOfVmxon: 3,
  launchOfLaunched: 4,
  resumeOfClear: 5,
  invalidControls: 7,
  invalidHostState: 8,
  loadAddress: 9,
  loadOfVmxon: 10,
  loadRevision: 11,
  unsupportedField: 12,
  readOnlyField: 13,
  vmxonInRoot: 15,
  entryBlockedByMovSs: 26,
  invalidOperand: 28,
} as const;

const report = (x: Vmx, flags: number): void => writeStatusFlags(x.v, flags);

export const succeed = (x: Vmx): void => report(x, 0);
/** With an error number when there is a VMCS to hold it. */
export function fail(x: Vmx, error: number | undefined, vmcs: Vmcs = x.vmcs): void {
  if (error === undefined || x.current === noVmcs || vmcs.frame === 0) return report(x, Flag.carry);
  vmcs.set32(F.instructionError, error);
  report(x, Flag.zero);
}
