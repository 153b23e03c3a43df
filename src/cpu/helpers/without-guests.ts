/** The instructions that run guests, on a processor that has neither VMX nor SVM: #UD. */
import { undefinedOpcode } from '../fault.ts';
import type { Helper, Helpers } from './helper.ts';

export type VmxHelperName =
  | 'vmCall' | 'vmFunction' | 'vmLaunch' | 'vmxOff' | 'vmxOn' | 'vmClear' | 'vmPointerLoad' | 'vmPointerStore' | 'vmRead' | 'vmReadTo' | 'vmWrite'
  | 'invalidateEpt' | 'invalidateVpid';

export type SvmHelperName =
  | 'svmRun' | 'svmCall' | 'svmLoad' | 'svmSave' | 'svmSetInterrupts' | 'svmClearInterrupts' | 'svmSecureInit' | 'svmInvalidate';

const undefinedHere: Helper = () => {
  throw undefinedOpcode();
};
export const withoutGuests: Helpers<VmxHelperName | SvmHelperName> = {
  vmCall: undefinedHere, vmFunction: undefinedHere, vmLaunch: undefinedHere, vmxOff: undefinedHere, vmxOn: undefinedHere, vmClear: undefinedHere,
  vmPointerLoad: undefinedHere, vmPointerStore: undefinedHere, vmRead: undefinedHere, vmReadTo: undefinedHere, vmWrite: undefinedHere,
  invalidateEpt: undefinedHere, invalidateVpid: undefinedHere,
  svmRun: undefinedHere, svmCall: undefinedHere, svmLoad: undefinedHere, svmSave: undefinedHere, svmSetInterrupts: undefinedHere,
  svmClearInterrupts: undefinedHere, svmSecureInit: undefinedHere, svmInvalidate: undefinedHere,
};
