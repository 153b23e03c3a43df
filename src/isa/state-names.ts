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

/** Data segments' attributes, as `segmentRights` has them. */
export type RightsName = 'esRights' | 'dsRights' | 'fsRights' | 'gsRights';
/** What meanings read and do not set. */
export type ReadStateName = StateName | RightsName | 'gdtBase' | 'gdtLimit' | 'nmiBlocked' | 'cr2';
