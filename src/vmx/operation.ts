/** Numbers in the processor's state that belong to VMX. */

import { GuestOperation } from '../isa/state-names.ts';

/** Values of `vmxOperation`. SDM 3C, 24.3. */
export const Operation = { off: 0, root: 1, nonRoot: GuestOperation.vmx } as const;

/** Bits of `vmxPending`: exits due before the next instruction, whatever it is. */
export const PendingExit = { monitorTrap: 1, tprBelowThreshold: 2, apicWrite: 4, virtualizedEoi: 8 } as const;
