/** Checks on the host-state area; a failure is VMfailValid with error 8. SDM 3C, 27.2.2 to 27.2.4. */
import { Cr4, Efer } from '../../cpu/state.ts';
import { EntryControl, ExitControl } from '../controls.ts';
import { F } from '../fields.ts';
import { type Check, type EntryContext, inRange, isCanonical, isKnownEfer, isLegalPat } from './context.ts';

const selectors = [
  F.hostEsSelector,
  F.hostCsSelector,
  F.hostSsSelector,
  F.hostDsSelector,
  F.hostFsSelector,
  F.hostGsSelector,
  F.hostTrSelector,
];
const canonicalFields = [F.hostFsBase, F.hostGsBase, F.hostTrBase, F.hostGdtrBase, F.hostIdtrBase, F.hostSysenterEsp, F.hostSysenterEip];
const cr4 = (c: EntryContext): bigint => c.vmcs.get(F.hostCr4);

export const hostChecks: readonly Check[] = [
  { row: 'H1', always: true, holds: (c) => c.host64 === c.longNow && (c.longNow || !c.ia32e) },
  { row: 'H2', holds: (c) => isFixedCr0(c.vmcs.get(F.hostCr0), c.capabilities.cr0Fixed0) },
  { row: 'H2', holds: (c) => isFixedCr4(cr4(c), c.capabilities.cr4Fixed1) },
  { row: 'H2', holds: (c) => inRange(c.vmcs.get(F.hostCr3)) },
  { row: 'H3', holds: (c) => selectors.every((s) => (c.vmcs.get32(s) & 7) === 0) },
  { row: 'H3', holds: (c) => c.vmcs.get32(F.hostCsSelector) !== 0 && c.vmcs.get32(F.hostTrSelector) !== 0 },
  { row: 'H3', holds: (c) => c.host64 || c.vmcs.get32(F.hostSsSelector) !== 0 },
  { row: 'H4', holds: (c) => canonicalFields.every((f) => isCanonical(c.vmcs.get(f))) },
  { row: 'H5', holds: (c) => (c.exit & ExitControl.loadPat) === 0 || isLegalPat(c.vmcs.get(F.hostPat)) },
  { row: 'H6', holds: (c) => (c.exit & ExitControl.loadEfer) === 0 || isHostEfer(c) },
  { row: 'H7', holds: (c) => !c.host64 || ((cr4(c) & BigInt(Cr4.pae)) !== 0n && isCanonical(c.vmcs.get(F.hostRip))) },
  {
    row: 'H7',
    holds: (c) =>
      c.host64 || ((cr4(c) & BigInt(Cr4.pcide)) === 0n && c.vmcs.get(F.hostRip) >> 32n === 0n && (c.entry & EntryControl.ia32e) === 0),
  },
];

export const isFixedCr0 = (value: bigint, fixed0: bigint): boolean => (value & fixed0) === fixed0 && value >> 32n === 0n;
export const isFixedCr4 = (value: bigint, fixed1: bigint): boolean => (value & BigInt(Cr4.vmxe)) !== 0n && (value & ~fixed1) === 0n;
function isHostEfer(c: EntryContext): boolean {
  const efer = c.vmcs.get(F.hostEfer);
  const long = c.host64 ? BigInt(Efer.lma | Efer.lme) : 0n;
  return isKnownEfer(efer) && (efer & BigInt(Efer.lma | Efer.lme)) === long;
}
