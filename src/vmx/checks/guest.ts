/** Checks on the guest-state area; a failure is an exit with reason 33. SDM 3C, 27.3.1. */
import { isLegalPointer, pointerCount, pointersAt } from '../../cpu/page-walk.ts';
import { Cr0, Cr4, Efer, Segment } from '../../cpu/state.ts';
import { noVmcs } from '../../cpu/vcpu.ts';
import { vmcsRevision } from '../capabilities.ts';
import { Activity, Blocking, EntryControl, Interruption, Pin, Secondary } from '../controls.ts';
import { F } from '../fields.ts';
import { shadowIndicator } from '../vmcs.ts';
import { type Check, type EntryContext, inRange, isCanonical, isKnownEfer, isLegalPat, isPageAddress } from './context.ts';
import { isFixedCr4 } from './host.ts';
import { segmentChecks } from './segments.ts';

const bit = (value: number): bigint => BigInt(value >>> 0);
const protectedMode = (c: EntryContext): boolean => (c.guestCr0 & 1n) !== 0n;
const pagingOn = (c: EntryContext): boolean => (c.guestCr0 & bit(Cr0.pg)) !== 0n;
const blocking = (c: EntryContext): number => c.vmcs.get32(F.guestInterruptibility);
const activity = (c: EntryContext): number => c.vmcs.get32(F.guestActivity);
const injects = (c: EntryContext, type: number): boolean =>
  (c.interruption & Interruption.valid) !== 0 && ((c.interruption >>> 8) & 7) === type;
const interruptFlag = (c: EntryContext): boolean => (c.rflags & 0x200n) !== 0n;
/** RFLAGS bits that are zero: 63:22, 15, 5, 3. */
const reservedFlags = ~0x3f_7fd7n & 0xffff_ffff_ffff_ffffn;
const reservedDebugControl = ~0x1n & ~0x2n & ~0xffc0n;

/** What may be injected into a halted processor: interrupts, NMIs, #DB, #MC, a monitor trap. */
function suits(c: EntryContext): boolean {
  if ((c.interruption & Interruption.valid) === 0 || activity(c) === Activity.active) return true;
  const [type, vector] = [(c.interruption >>> 8) & 7, c.interruption & 0xff];
  return type === 0 || type === 2 || (type === 3 && (vector === 1 || vector === 18)) || type === 7;
}

export const guestChecks: readonly Check[] = [
  { row: 'G2', holds: (c) => isGuestCr0(c) },
  { row: 'G3', holds: (c) => isFixedCr4(c.guestCr4, c.capabilities.cr4Fixed1) },
  { row: 'G3', holds: (c) => !c.ia32e || (pagingOn(c) && (c.guestCr4 & bit(Cr4.pae)) !== 0n) },
  { row: 'G3', holds: (c) => c.ia32e || (c.guestCr4 & bit(Cr4.pcide)) === 0n },
  { row: 'G4', holds: (c) => inRange(c.vmcs.get(F.guestCr3)) },
  {
    row: 'G5',
    holds: (c) =>
      (c.entry & EntryControl.loadDebug) === 0 ||
      (c.vmcs.get(F.guestDr7) >> 32n === 0n && (c.vmcs.get(F.guestDebugControl) & reservedDebugControl) === 0n),
  },
  { row: 'G6', holds: (c) => isCanonical(c.vmcs.get(F.guestSysenterEsp)) && isCanonical(c.vmcs.get(F.guestSysenterEip)) },
  { row: 'G6', holds: (c) => (c.entry & EntryControl.loadPat) === 0 || isLegalPat(c.vmcs.get(F.guestPat)) },
  { row: 'G7', holds: (c) => (c.entry & EntryControl.loadEfer) === 0 || isGuestEfer(c) },
  ...segmentChecks,
  {
    row: 'G1',
    holds: (c) => (c.rflags & reservedFlags) === 0n && (c.rflags & 2n) !== 0n && (!c.virtual8086 || (!c.ia32e && protectedMode(c))),
  },
  { row: 'G18', always: true, holds: (c) => isGuestRip(c) },
  { row: 'G19', holds: (c) => activity(c) <= Activity.hlt },
  { row: 'G19', holds: (c) => activity(c) !== Activity.hlt || ((c.vmcs.get32(F.guestSsRights) >> 5) & 3) === 0 },
  { row: 'G19', holds: (c) => activity(c) === Activity.active || (blocking(c) & (Blocking.sti | Blocking.movSs)) === 0 },
  { row: 'G20', holds: suits },
  { row: 'G21', holds: (c) => (blocking(c) & ~0xf) === 0 && (blocking(c) & 3) !== 3 && (blocking(c) & Blocking.smi) === 0 },
  { row: 'G21', holds: (c) => interruptFlag(c) || (blocking(c) & Blocking.sti) === 0 },
  { row: 'G21', holds: (c) => !injects(c, 0) || (interruptFlag(c) && (blocking(c) & 3) === 0) },
  { row: 'G21', holds: (c) => !injects(c, 2) || (blocking(c) & Blocking.movSs) === 0, qualification: 3 },
  { row: 'G21', holds: (c) => !injects(c, 2) || (c.pin & Pin.virtualNmis) === 0 || (blocking(c) & Blocking.nmi) === 0, qualification: 3 },
  { row: 'G22', holds: (c) => (c.vmcs.get(F.guestPendingDebug) & ~0x1_500fn) === 0n },
  { row: 'G22', holds: (c) => hasFittingStep(c) },
  { row: 'G23', always: true, holds: (c) => isLink(c), qualification: 4 },
  { row: 'G24', holds: (c) => hasPdptes(c), qualification: 2 },
];

function isGuestCr0(c: EntryContext): boolean {
  const fixed = c.unrestricted ? c.capabilities.cr0Fixed0 & ~0x8000_0001n : c.capabilities.cr0Fixed0;
  return (c.guestCr0 & fixed) === fixed && c.guestCr0 >> 32n === 0n && (!pagingOn(c) || protectedMode(c));
}
function isGuestEfer(c: EntryContext): boolean {
  const efer = c.vmcs.get(F.guestEfer);
  const [lma, lme] = [(efer & bit(Efer.lma)) !== 0n, (efer & bit(Efer.lme)) !== 0n];
  return isKnownEfer(efer) && lma === c.ia32e && (!pagingOn(c) || lma === lme);
}
function isGuestRip(c: EntryContext): boolean {
  const rip = c.vmcs.get(F.guestRip);
  const long = c.ia32e && (c.vmcs.get32(F.guestCsRights + Segment.es) & 0x2000) !== 0;
  return long ? isCanonical(rip) : rip >> 32n === 0n;
}
/** With STI or MOV SS blocking, or halted, a pending single step follows from RFLAGS.TF and DEBUGCTL.BTF. */
function hasFittingStep(c: EntryContext): boolean {
  if ((blocking(c) & 3) === 0 && activity(c) !== Activity.hlt) return true;
  const stepping = (c.rflags & 0x100n) !== 0n && (c.vmcs.get(F.guestDebugControl) & 2n) === 0n;
  return ((c.vmcs.get(F.guestPendingDebug) & 0x4000n) !== 0n) === stepping;
}
function isLink(c: EntryContext): boolean {
  const link = c.vmcs.get(F.linkPointer);
  if (link === noVmcs) return true;
  if (!isPageAddress(link) || link === c.x.current) return false;
  const word = c.x.v.space.read32(Number(link));
  const shadowing = (c.secondary & Secondary.vmcsShadowing) !== 0;
  return word === (vmcsRevision | (shadowing ? shadowIndicator : 0)) >>> 0;
}
/** PAE paging: the four entries come from the fields under EPT, otherwise from memory. */
function hasPdptes(c: EntryContext): boolean {
  if (!c.usesPae) return true;
  if (!c.usesEpt) return pointersAt(c.x.v.space, Number(c.vmcs.get(F.guestCr3) & 0xffff_ffffn)).every(isLegalPointer);
  for (let n = 0; n < pointerCount; n++) if (!isLegalPointer(c.vmcs.get(F.guestPdpte0 + n))) return false;
  return true;
}
