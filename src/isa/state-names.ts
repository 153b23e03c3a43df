/** The parts of the vCPU's state that meanings name directly; `cpu/state.ts` places them. */
export type StateName =
  /** EFLAGS without the six arithmetic flags, at their architectural positions. */
  | 'systemFlags'
  /** Not zero: something waits for the end of the instruction (interrupts look here after STI). */
  | 'pending'
  | 'interruptShadow'
  | 'fsBase'
  | 'gsBase'
  | 'csBase'
  | 'cpl'
  | 'vmxOperation'
  | 'mxcsr'
  | 'floatControl'
  | 'floatStatus'
  | 'floatTop'
  | 'floatOpcode'
  | 'floatIp'
  | 'floatData'
  | 'cr0'
  | 'cr4'
  | 'efer'
  | 'star'
  | 'lstar'
  | 'sfmask'
  | 'kernelGsBase';

/** Values of `vmxOperation` while a guest of the machine's own software runs, below VMX or SVM. */
export const GuestOperation = { vmx: 2, svm: 3 } as const;

/** Data segments' attributes, as `segmentRights` has them. */
export type RightsName = 'esRights' | 'dsRights' | 'fsRights' | 'gsRights';
/** What meanings read and do not set. */
export type ReadStateName = StateName | RightsName | 'gdtBase' | 'gdtLimit' | 'nmiBlocked' | 'cr2';
