/** VM functions: EPTP switching is the only one there is. SDM 3C, 26.5.6. */
import { At } from '../cpu/state.ts';
import { VmFunction } from './controls.ts';
import { isEptPointer } from './ept.ts';
import { F } from './fields.ts';
import type { Vmx } from './vmx.ts';

/** Of the EPTP list, one page. */
const eptpListEntries = 512;

/** The EPT pointer that the VMFUNC at hand asks for; undefined when it is an exit. */
export function switchedPointer({ v, vmcs, capabilities }: Vmx): bigint | undefined {
  const index = v.low(At.gpr, 1);
  const switches = v.low(At.gpr, 0) === 0 && (vmcs.get(F.vmFunctionControls) & VmFunction.eptpSwitching) !== 0n;
  if (!switches || index >= eptpListEntries) return undefined;
  const pointer = v.space.read64(Number(vmcs.get(F.eptpList) & 0xff_ffff_f000n) + index * 8);
  return isEptPointer(pointer, capabilities.has('eptad')) ? pointer : undefined;
}
