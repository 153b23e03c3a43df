/** Who handles an exit of the guest's guest: the guest's hypervisor, or the monitor below it. SDM 3D, appendix C; the Turtles paper, 3.5. */
import { At } from '../../cpu/state.ts';
import { VmFunction } from '../controls.ts';
import { isEptPointer } from '../ept.ts';
import { Reason } from '../exit-reasons.ts';
import { F } from '../fields.ts';
import { interceptsMsr } from '../intercepts.ts';
import type { Vmx } from '../vmx.ts';

/** `asked`: the hypervisor's, when its own controls ask for the exit. */
type Owner = 'hypervisor' | 'monitor' | 'asked';

/**
 * The controls of VMCS02 are those of VMCS12 wherever the monitor wants nothing for itself, so that most exits happen only because the hypervisor
 * asked for them. What is not here is the hypervisor's.
 */
const owners: Readonly<Record<number, Owner>> = {
  [Reason.rdmsr]: 'asked', // the monitor keeps the capability MSRs
  [Reason.wrmsr]: 'asked',
  [Reason.eptViolation]: 'monitor', // EPT02 lacks what EPT12 may have
  [Reason.eptMisconfiguration]: 'monitor',
  [Reason.vmfunc]: 'asked', // EPTP switching means another EPT02
};

const eptpListEntries = 512;

/** `inner`: the VMX of the hypervisor, with the controls of the guest that left. */
export function isHypervisors(inner: Vmx, reason: number): boolean {
  const owner = owners[reason] ?? 'hypervisor';
  if (owner !== 'asked') return owner === 'hypervisor';
  return reason === Reason.vmfunc
    ? switchedPointer(inner) === undefined
    : interceptsMsr(inner, inner.v.low(At.gpr, 1), reason === Reason.wrmsr);
}
/** The EPT pointer that a VMFUNC asks for; undefined when the hypervisor must see it. */
export function switchedPointer({ v, vmcs, capabilities }: Vmx): bigint | undefined {
  const index = v.low(At.gpr, 1);
  const switches = v.low(At.gpr, 0) === 0 && (vmcs.get(F.vmFunctionControls) & VmFunction.eptpSwitching) !== 0n;
  if (!switches || index >= eptpListEntries) return undefined;
  const pointer = v.space.read64(Number(vmcs.get(F.eptpList) & 0xff_ffff_f000n) + index * 8);
  return isEptPointer(pointer, capabilities.has('eptad')) ? pointer : undefined;
}
