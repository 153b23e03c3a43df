/** Who handles an exit of the guest's guest: the guest's hypervisor, or the monitor below it. SDM 3D, appendix C; the Turtles paper, 3.5. */
import { At } from '../../cpu/state.ts';
import { Reason } from '../exit-reasons.ts';
import { interceptsMsr } from '../intercepts.ts';
import { switchedPointer } from '../vm-functions.ts';
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

/** `inner`: the VMX of the hypervisor, with the controls of the guest that left. */
export function isHypervisors(inner: Vmx, reason: number): boolean {
  const owner = owners[reason] ?? 'hypervisor';
  if (owner !== 'asked') return owner === 'hypervisor';
  return reason === Reason.vmfunc
    ? switchedPointer(inner) === undefined
    : interceptsMsr(inner, inner.v.low(At.gpr, 1), reason === Reason.wrmsr);
}
