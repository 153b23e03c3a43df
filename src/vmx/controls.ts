/** Bits of the VM-execution, VM-exit and VM-entry controls. SDM 3C, 25.6 to 25.8. */

export const Pin = {
  externalInterrupt: 1 << 0,
  nmi: 1 << 3,
  virtualNmis: 1 << 5,
  preemptionTimer: 1 << 6,
  postedInterrupts: 1 << 7,
} as const;

export const Primary = {
  interruptWindow: 1 << 2,
  tscOffsetting: 1 << 3,
  hlt: 1 << 7,
  invlpg: 1 << 9,
  mwait: 1 << 10,
  rdpmc: 1 << 11,
  rdtsc: 1 << 12,
  cr3Load: 1 << 15,
  cr3Store: 1 << 16,
  cr8Load: 1 << 19,
  cr8Store: 1 << 20,
  tprShadow: 1 << 21,
  nmiWindow: 1 << 22,
  movDr: 1 << 23,
  unconditionalIo: 1 << 24,
  ioBitmaps: 1 << 25,
  monitorTrap: 1 << 27,
  msrBitmaps: 1 << 28,
  monitor: 1 << 29,
  pause: 1 << 30,
  secondary: 1 << 31,
} as const;

export const Secondary = {
  apicAccesses: 1 << 0,
  ept: 1 << 1,
  descriptorTables: 1 << 2,
  rdtscp: 1 << 3,
  x2apic: 1 << 4,
  vpid: 1 << 5,
  wbinvd: 1 << 6,
  unrestrictedGuest: 1 << 7,
  apicRegisters: 1 << 8,
  virtualInterrupts: 1 << 9,
  pauseLoop: 1 << 10,
  rdrand: 1 << 11,
  invpcid: 1 << 12,
  vmFunctions: 1 << 13,
  vmcsShadowing: 1 << 14,
  rdseed: 1 << 16,
  pml: 1 << 17,
  virtualizationExceptions: 1 << 18,
  xsaves: 1 << 20,
  modeBasedExecute: 1 << 22,
  tscScaling: 1 << 25,
} as const;

export const ExitControl = {
  saveDebug: 1 << 2,
  host64: 1 << 9,
  acknowledgeInterrupt: 1 << 15,
  savePat: 1 << 18,
  loadPat: 1 << 19,
  saveEfer: 1 << 20,
  loadEfer: 1 << 21,
  savePreemptionTimer: 1 << 22,
} as const;

export const EntryControl = { loadDebug: 1 << 2, ia32e: 1 << 9, loadPat: 1 << 14, loadEfer: 1 << 15 } as const;

/** Bits of the interruptibility state. SDM 3C, table 25-3. */
export const Blocking = { sti: 1, movSs: 2, smi: 4, nmi: 8 } as const;
/** Shutdown and wait-for-SIPI are not offered. */
export const Activity = { active: 0, hlt: 1 } as const;
/** Valid bit and error-code bit of interruption information. */
export const Interruption = { valid: 1 << 31, errorCode: 1 << 11 } as const;
/** Bits of the VM-function controls. */
export const VmFunction = { eptpSwitching: 1n } as const;
/** Bits of EPTP. */
export const EptPointer = { accessedDirty: 1n << 6n } as const;
