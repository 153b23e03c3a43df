/** The fields of a VMCS, once: name, encoding, and the capability without which a field does not exist. SDM 3D, appendix B. */
import type { VmxFeature } from '../cpu/vmx-features.ts';

const selectors = ['Es', 'Cs', 'Ss', 'Ds', 'Fs', 'Gs', 'Ldtr', 'Tr'] as const;
const tables = [...selectors, 'Gdtr', 'Idtr'] as const;
/** A capability of VMX, or the feature that XSAVES comes with. */
export type Gate = VmxFeature | 'xsaves';
type Row = readonly [name: string, encoding: number, gate?: Gate];
/** Fields of the same kind for one segment after another. */
function each<const Prefix extends string, const Suffix extends string, const Name extends string>(
  prefix: Prefix,
  names: readonly Name[],
  suffix: Suffix,
  encoding: number,
): readonly (readonly [`${Prefix}${Name}${Suffix}`, number])[] {
  return names.map((name, n) => [`${prefix}${name}${suffix}`, encoding + 2 * n] as const);
}

const rows = [
  // 16 bits
  ['vpid', 0x0000, 'vpid'],
  ['postedVector', 0x0002, 'posted-intr'],
  ['eptpIndex', 0x0004, 'ept-violation-ve'],
  ...each('guest', selectors, 'Selector', 0x0800),
  ['guestInterruptStatus', 0x0810, 'apicv-vid'],
  ['guestPmlIndex', 0x0812, 'pml'],
  ...each('host', ['Es', 'Cs', 'Ss', 'Ds', 'Fs', 'Gs', 'Tr'] as const, 'Selector', 0x0c00),
  // 64 bits
  ['ioBitmapA', 0x2000],
  ['ioBitmapB', 0x2002],
  ['msrBitmap', 0x2004, 'msr-bitmap'],
  ['exitMsrStore', 0x2006],
  ['exitMsrLoad', 0x2008],
  ['entryMsrLoad', 0x200a],
  ['executiveVmcs', 0x200c],
  ['pmlAddress', 0x200e, 'pml'],
  ['tscOffset', 0x2010],
  ['virtualApic', 0x2012, 'tpr-shadow'],
  ['apicAccess', 0x2014, 'apicv-xapic'],
  ['postedDescriptor', 0x2016, 'posted-intr'],
  ['vmFunctionControls', 0x2018, 'vmfunc'],
  ['eptPointer', 0x201a, 'ept'],
  ['eoiExitBitmap0', 0x201c, 'apicv-vid'],
  ['eoiExitBitmap1', 0x201e, 'apicv-vid'],
  ['eoiExitBitmap2', 0x2020, 'apicv-vid'],
  ['eoiExitBitmap3', 0x2022, 'apicv-vid'],
  ['eptpList', 0x2024, 'vmfunc'],
  ['vmreadBitmap', 0x2026, 'shadow-vmcs'],
  ['vmwriteBitmap', 0x2028, 'shadow-vmcs'],
  ['exceptionInformation', 0x202a, 'ept-violation-ve'],
  ['xssExitingBitmap', 0x202c, 'xsaves'],
  ['tscMultiplier', 0x2032, 'tsc-scaling'],
  ['guestPhysical', 0x2400, 'ept'],
  ['linkPointer', 0x2800],
  ['guestDebugControl', 0x2802],
  ['guestPat', 0x2804],
  ['guestEfer', 0x2806],
  ['guestPdpte0', 0x280a, 'ept'],
  ['guestPdpte1', 0x280c, 'ept'],
  ['guestPdpte2', 0x280e, 'ept'],
  ['guestPdpte3', 0x2810, 'ept'],
  ['hostPat', 0x2c00],
  ['hostEfer', 0x2c02],
  // 32 bits
  ['pinControls', 0x4000],
  ['primaryControls', 0x4002],
  ['exceptionBitmap', 0x4004],
  ['pageFaultMask', 0x4006],
  ['pageFaultMatch', 0x4008],
  ['cr3TargetCount', 0x400a],
  ['exitControls', 0x400c],
  ['exitMsrStoreCount', 0x400e],
  ['exitMsrLoadCount', 0x4010],
  ['entryControls', 0x4012],
  ['entryMsrLoadCount', 0x4014],
  ['entryInterruption', 0x4016],
  ['entryErrorCode', 0x4018],
  ['entryInstructionLength', 0x401a],
  ['tprThreshold', 0x401c, 'tpr-shadow'],
  ['secondaryControls', 0x401e],
  ['pleGap', 0x4020, 'pause-loop'],
  ['pleWindow', 0x4022, 'pause-loop'],
  ['instructionError', 0x4400],
  ['exitReason', 0x4402],
  ['exitInterruption', 0x4404],
  ['exitErrorCode', 0x4406],
  ['idtVectoring', 0x4408],
  ['idtVectoringErrorCode', 0x440a],
  ['exitInstructionLength', 0x440c],
  ['exitInstructionInformation', 0x440e],
  ...each('guest', tables, 'Limit', 0x4800),
  ...each('guest', selectors, 'Rights', 0x4814),
  ['guestInterruptibility', 0x4824],
  ['guestActivity', 0x4826],
  ['guestSmbase', 0x4828],
  ['guestSysenterCs', 0x482a],
  ['preemptionTimer', 0x482e, 'preemption-timer'],
  ['hostSysenterCs', 0x4c00],
  // natural width
  ['cr0Mask', 0x6000],
  ['cr4Mask', 0x6002],
  ['cr0Shadow', 0x6004],
  ['cr4Shadow', 0x6006],
  ['cr3Target0', 0x6008],
  ['cr3Target1', 0x600a],
  ['cr3Target2', 0x600c],
  ['cr3Target3', 0x600e],
  ['exitQualification', 0x6400],
  ['ioRcx', 0x6402],
  ['ioRsi', 0x6404],
  ['ioRdi', 0x6406],
  ['ioRip', 0x6408],
  ['guestLinear', 0x640a],
  ['guestCr0', 0x6800],
  ['guestCr3', 0x6802],
  ['guestCr4', 0x6804],
  ...each('guest', tables, 'Base', 0x6806),
  ['guestDr7', 0x681a],
  ['guestRsp', 0x681c],
  ['guestRip', 0x681e],
  ['guestRflags', 0x6820],
  ['guestPendingDebug', 0x6822],
  ['guestSysenterEsp', 0x6824],
  ['guestSysenterEip', 0x6826],
  ['hostCr0', 0x6c00],
  ['hostCr3', 0x6c02],
  ['hostCr4', 0x6c04],
  ['hostFsBase', 0x6c06],
  ['hostGsBase', 0x6c08],
  ['hostTrBase', 0x6c0a],
  ['hostGdtrBase', 0x6c0c],
  ['hostIdtrBase', 0x6c0e],
  ['hostSysenterEsp', 0x6c10],
  ['hostSysenterEip', 0x6c12],
  ['hostRsp', 0x6c14],
  ['hostRip', 0x6c16],
] as const satisfies readonly Row[];

export type FieldName = (typeof rows)[number][0];
/** Where a field lies in the region: its place in the table, in units of 8 bytes. */
export const F = Object.fromEntries(rows.map(([name], n) => [name, n])) as Readonly<Record<FieldName, number>>;

export interface FieldDescription {
  readonly name: FieldName;
  readonly encoding: number;
  /** Bits; natural-width fields have 64. */
  readonly width: 16 | 32 | 64;
  readonly gate: Gate | undefined;
}
/** In the order of their places. */
export const fieldDescriptions: readonly FieldDescription[] = rows.map(([name, encoding, gate]: Row) => ({
  name: name as FieldName,
  encoding,
  width: ([16, 64, 32, 64] as const)[(encoding >> 13) & 3] ?? 64,
  gate,
}));

/** Types of fields, in bits 11:10 of the encoding. */
export const FieldType = { control: 0, readOnly: 1, guest: 2, host: 3 } as const;
export const fieldType = (encoding: number): number => (encoding >> 10) & 3;
/** VMCS_ENUM's value: the highest index of the fields that exist. */
export const highestIndex = (has: (gate: Gate) => boolean): number =>
  Math.max(...fieldDescriptions.filter((f) => f.gate === undefined || has(f.gate)).map((f) => (f.encoding >> 1) & 0x1ff));
