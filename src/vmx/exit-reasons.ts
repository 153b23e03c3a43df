/** Every VM exit by its number. SDM 3D, appendix C. */
export const Reason = {
  exception: 0, externalInterrupt: 1, tripleFault: 2, init: 3, startupIpi: 4, interruptWindow: 7, nmiWindow: 8, taskSwitch: 9, cpuid: 10, getsec: 11, hlt: 12, invd: 13,
  invlpg: 14, rdpmc: 15, rdtsc: 16, vmcall: 18, vmclear: 19, vmlaunch: 20, vmptrld: 21, vmptrst: 22, vmread: 23, vmresume: 24, vmwrite: 25, vmxoff: 26, vmxon: 27,
  controlRegister: 28, debugRegister: 29, io: 30, rdmsr: 31, wrmsr: 32, invalidGuestState: 33, msrLoading: 34, monitorTrap: 37, pause: 40, descriptorTable: 46, localTable: 47,
  tprBelowThreshold: 43, eptViolation: 48, eptMisconfiguration: 49, invept: 50, rdtscp: 51, preemptionTimer: 52, invvpid: 53, wbinvd: 54, xsetbv: 55, rdrand: 57, invpcid: 58,
  vmfunc: 59, rdseed: 61, pmlFull: 62, xsaves: 63, xrstors: 64,
} as const;
export type ReasonName = keyof typeof Reason;

const names = new Map<number, ReasonName>(Object.entries(Reason).map(([name, number]) => [number, name as ReasonName]));
export const reasonName = (reason: number): string => names.get(reason) ?? `reason ${reason}`;
/** Set in the exit reason of a VM entry that failed. */
export const entryFailure = 0x8000_0000;
