/** The VMX instructions of a processor outside VMX operation that cannot enter it: #UD. */
import { undefinedOpcode } from '../fault.ts';
import type { Helper, Helpers } from './helper.ts';

export type VmxHelperName =
  | 'vmCall' | 'vmFunction' | 'vmLaunch' | 'vmxOff' | 'vmxOn' | 'vmClear' | 'vmPointerLoad' | 'vmPointerStore' | 'vmRead' | 'vmReadTo' | 'vmWrite'
  | 'invalidateEpt' | 'invalidateVpid';

const undefinedHere: Helper = () => {
  throw undefinedOpcode();
};
export const withoutVmx: Helpers<VmxHelperName> = {
  vmCall: undefinedHere, vmFunction: undefinedHere, vmLaunch: undefinedHere, vmxOff: undefinedHere, vmxOn: undefinedHere, vmClear: undefinedHere,
  vmPointerLoad: undefinedHere, vmPointerStore: undefinedHere, vmRead: undefinedHere, vmReadTo: undefinedHere, vmWrite: undefinedHere,
  invalidateEpt: undefinedHere, invalidateVpid: undefinedHere,
};
