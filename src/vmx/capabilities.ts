/** What the processor's VMX offers, and the MSRs that say so. SDM 3D, appendix A. */
import { legalCr4 } from '../cpu/control.ts';
import type { CpuModel } from '../cpu/cpuid.ts';
import type { VmxFeature } from '../cpu/vmx-features.ts';
import { EntryControl, ExitControl, Pin, Primary, Secondary, VmFunction } from './controls.ts';
import { type Gate, highestIndex } from './fields.ts';

/** Of 32 control bits: those that must be 1, and those that may be. */
export interface Allowed {
  readonly must: number;
  readonly may: number;
}
export const allows = ({ must, may }: Allowed, value: number): boolean => (value & must) === must && (value & ~may) === 0;

export interface Capabilities {
  readonly has: (feature: Gate) => boolean;
  readonly pin: Allowed;
  readonly primary: Allowed;
  readonly secondary: Allowed;
  readonly exit: Allowed;
  readonly entry: Allowed;
  readonly cr0Fixed0: bigint;
  readonly cr4Fixed1: bigint;
  /** By number; an MSR that is not here does not exist. */
  readonly msrs: ReadonlyMap<number, bigint>;
}

/** Identifies the layout of our VMCS regions: changes with it. */
export const vmcsRevision = 0x7e57_0002;
/** The VMX-preemption timer counts at the TSC's rate shifted right by this. */
export const preemptionRate = 5;
/** MSRs in one area at most, in units of 512 less one. */
const recommendedMsrsMax = 0;
export const msrListMax = 512 * (recommendedMsrsMax + 1);

const union = (...bits: readonly number[]): number => bits.reduce((a, b) => a | b, 0);
const vmxeBit = 0x2000n;

/** `features`: those of VMX, when they are not the model's. */
export function capabilitiesOf(model: CpuModel, features: ReadonlySet<string> = model.features): Capabilities {
  const has = (feature: Gate): boolean => features.has(feature);
  const when = (feature: VmxFeature, ...bits: readonly number[]): number => (has(feature) ? union(...bits) : 0);
  const cpu = (feature: string, bit: number): number => (model.features.has(feature) ? bit : 0);

  const pinMust = 0x16;
  const pin = {
    must: pinMust,
    may: union(
      pinMust,
      Pin.externalInterrupt,
      Pin.nmi,
      when('virtual-nmi', Pin.virtualNmis),
      when('preemption-timer', Pin.preemptionTimer),
      when('posted-intr', Pin.postedInterrupts),
    ),
  };
  const primaryMust = 0x0400_6172;
  const primary = {
    must: primaryMust,
    may: union(
      primaryMust,
      Primary.interruptWindow,
      Primary.tscOffsetting,
      Primary.hlt,
      Primary.invlpg,
      Primary.mwait,
      Primary.rdpmc,
      Primary.rdtsc,
      Primary.cr3Load,
      Primary.cr3Store,
      Primary.cr8Load,
      Primary.cr8Store,
      when('tpr-shadow', Primary.tprShadow),
      when('virtual-nmi', Primary.nmiWindow),
      Primary.movDr,
      Primary.unconditionalIo,
      Primary.ioBitmaps,
      Primary.monitorTrap,
      when('msr-bitmap', Primary.msrBitmaps),
      Primary.monitor,
      Primary.pause,
      Primary.secondary,
    ),
  };
  const secondary = {
    must: 0,
    may: union(
      when('apicv-xapic', Secondary.apicAccesses),
      when('ept', Secondary.ept),
      when('desc-exiting', Secondary.descriptorTables),
      cpu('rdtscp', Secondary.rdtscp),
      when('apicv-x2apic', Secondary.x2apic),
      when('vpid', Secondary.vpid),
      Secondary.wbinvd,
      when('unrestricted-guest', Secondary.unrestrictedGuest),
      when('apicv-register', Secondary.apicRegisters),
      when('apicv-vid', Secondary.virtualInterrupts),
      when('pause-loop', Secondary.pauseLoop),
      cpu('rdrand', Secondary.rdrand),
      cpu('invpcid', Secondary.invpcid),
      when('vmfunc', Secondary.vmFunctions),
      when('shadow-vmcs', Secondary.vmcsShadowing),
      cpu('rdseed', Secondary.rdseed),
      when('pml', Secondary.pml),
      when('ept-violation-ve', Secondary.virtualizationExceptions),
      cpu('xsaves', Secondary.xsaves),
      when('mbec', Secondary.modeBasedExecute),
      when('tsc-scaling', Secondary.tscScaling),
    ),
  };
  const exitMust = 0x0003_6dfb;
  const exit = {
    must: exitMust,
    may: union(
      exitMust,
      ExitControl.saveDebug,
      ExitControl.host64,
      ExitControl.acknowledgeInterrupt,
      ExitControl.savePat,
      ExitControl.loadPat,
      ExitControl.saveEfer,
      ExitControl.loadEfer,
      when('preemption-timer', ExitControl.savePreemptionTimer),
    ),
  };
  const entryMust = 0x0000_11fb;
  const entry = {
    must: entryMust,
    may: union(entryMust, EntryControl.loadDebug, EntryControl.ia32e, EntryControl.loadPat, EntryControl.loadEfer),
  };
  const cr0Fixed0 = 0x8000_0021n;
  const cr4Fixed1 = BigInt(legalCr4(model));

  // without the TRUE MSRs some bits read as fixed to 1
  const msr = ({ must, may }: Allowed, defaults = must): bigint => (BigInt(may >>> 0) << 32n) | BigInt((must | defaults) >>> 0);
  const msrs = new Map<number, bigint>();
  if (!model.features.has('vmx')) return { has, pin, primary, secondary, exit, entry, cr0Fixed0, cr4Fixed1, msrs };
  msrs.set(0x480, (0x00d8_1000n << 32n) | BigInt(vmcsRevision)); // 4 KiB regions, write-back, INS/OUTS information, TRUE MSRs
  msrs.set(0x481, msr(pin));
  msrs.set(0x482, msr(primary, 0x0401_e172));
  msrs.set(0x483, msr(exit, 0x0003_6dff));
  msrs.set(0x484, msr(entry, 0x0000_11ff));
  // bits 4:0 timer rate, 5 LMA stored, 6 HLT, 24:16 CR3 targets, 29 VMWRITE to any field, 30 zero-length injection
  msrs.set(0x485, BigInt(0x4004_0060 | preemptionRate | (has('shadow-vmcs') ? 1 << 29 : 0)));
  msrs.set(0x486, cr0Fixed0);
  msrs.set(0x487, 0xffff_ffffn);
  msrs.set(0x488, vmxeBit);
  msrs.set(0x489, cr4Fixed1);
  msrs.set(0x48a, BigInt(highestIndex(has) << 1));
  msrs.set(0x48b, msr(secondary));
  const ept = has('ept') ? 0x0613_4141n | (has('eptad') ? 1n << 21n : 0n) : 0n;
  const vpid = has('vpid') ? 0xf01n << 32n : 0n;
  if ((ept | vpid) !== 0n) msrs.set(0x48c, ept | vpid);
  msrs.set(0x48d, msr(pin));
  msrs.set(0x48e, msr(primary));
  msrs.set(0x48f, msr(exit));
  msrs.set(0x490, msr(entry));
  if (has('vmfunc')) msrs.set(0x491, VmFunction.eptpSwitching);
  return { has, pin, primary, secondary, exit, entry, cr0Fixed0, cr4Fixed1, msrs };
}
