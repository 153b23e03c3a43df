/** Checks on the VMX controls; a failure is VMfailValid with error 7. SDM 3C, 27.2.1. The rows have the manual's order. */
import { allows } from '../capabilities.ts';
import { ExitControl, Interruption, Pin, Primary, Secondary, VmFunction } from '../controls.ts';
import { isEptPointer } from '../ept.ts';
import { F } from '../fields.ts';
import { type Check, type EntryContext, inRange, isMsrArea, isPageAddress } from './context.ts';

const pin = (c: EntryContext, bit: number): boolean => (c.pin & bit) !== 0;
const primary = (c: EntryContext, bit: number): boolean => (c.primary & bit) !== 0;
const secondary = (c: EntryContext, bit: number): boolean => (c.secondary & bit) !== 0;
const page = (c: EntryContext, field: number): boolean => isPageAddress(c.vmcs.get(field));

const valid = (c: EntryContext): boolean => (c.interruption & Interruption.valid) !== 0;
const typeOf = (c: EntryContext): number => (c.interruption >>> 8) & 7;
const vectorOf = (c: EntryContext): number => c.interruption & 0xff;
const hasErrorCode = (c: EntryContext): boolean => (c.interruption & Interruption.errorCode) !== 0;
const pushesErrorCode = [8, 10, 11, 12, 13, 14, 17];

function isEvent(c: EntryContext): boolean {
  const [type, vector] = [typeOf(c), vectorOf(c)];
  if ((c.interruption & 0x7fff_f000) !== 0 || type === 1) return false;
  if (type === 7) return vector === 0;
  return type === 2 ? vector === 2 : type !== 3 || vector <= 31;
}
/** In real mode no error code is pushed. */
const takesErrorCode = (c: EntryContext): boolean =>
  typeOf(c) === 3 && pushesErrorCode.includes(vectorOf(c)) && (!c.unrestricted || (c.guestCr0 & 1n) !== 0n);

const comparesTpr = (c: EntryContext): boolean => primary(c, Primary.tprShadow) && !secondary(c, Secondary.virtualInterrupts);
function hasPostedInterrupts(c: EntryContext): boolean {
  const descriptor = c.vmcs.get(F.postedDescriptor);
  return (
    secondary(c, Secondary.virtualInterrupts) &&
    (c.exit & ExitControl.acknowledgeInterrupt) !== 0 &&
    c.vmcs.get32(F.postedVector) < 0x100 &&
    (descriptor & 0x3fn) === 0n &&
    inRange(descriptor)
  );
}
function hasVmFunctions(c: EntryContext): boolean {
  const functions = c.vmcs.get(F.vmFunctionControls);
  if ((functions & ~VmFunction.eptpSwitching) !== 0n) return false;
  return functions === 0n || (c.usesEpt && page(c, F.eptpList));
}

export const controlChecks: readonly Check[] = [
  { row: 'C1', holds: (c) => allows(c.capabilities.pin, c.pin) },
  { row: 'C2', holds: (c) => allows(c.capabilities.primary, c.primary) },
  { row: 'C3', holds: (c) => allows(c.capabilities.secondary, c.secondary) },
  { row: 'C5', holds: (c) => c.vmcs.get32(F.cr3TargetCount) <= 4 },
  { row: 'C6', holds: (c) => !primary(c, Primary.ioBitmaps) || (page(c, F.ioBitmapA) && page(c, F.ioBitmapB)) },
  { row: 'C7', holds: (c) => !primary(c, Primary.msrBitmaps) || page(c, F.msrBitmap) },
  { row: 'C8', holds: (c) => !pin(c, Pin.virtualNmis) || pin(c, Pin.nmi) },
  { row: 'C9', holds: (c) => !primary(c, Primary.nmiWindow) || pin(c, Pin.virtualNmis) },
  { row: 'C10', holds: (c) => !secondary(c, Secondary.vmcsShadowing) || (page(c, F.vmreadBitmap) && page(c, F.vmwriteBitmap)) },
  { row: 'C11', holds: (c) => !secondary(c, Secondary.virtualizationExceptions) || page(c, F.exceptionInformation) },
  { row: 'C12', holds: (c) => !primary(c, Primary.tprShadow) || page(c, F.virtualApic) },
  { row: 'C13', holds: (c) => !secondary(c, Secondary.virtualInterrupts) || pin(c, Pin.externalInterrupt) },
  { row: 'C14', holds: (c) => !comparesTpr(c) || c.vmcs.get32(F.tprThreshold) < 16 },
  {
    row: 'C15',
    always: true,
    holds: (c) => {
      if (!comparesTpr(c) || secondary(c, Secondary.apicAccesses)) return true;
      const tpr = c.x.v.space.read32(Number(c.vmcs.get(F.virtualApic) & 0xff_ffff_f000n) + 0x80);
      return (c.vmcs.get32(F.tprThreshold) & 15) <= ((tpr >> 4) & 15);
    },
  },
  { row: 'C16', holds: (c) => !pin(c, Pin.postedInterrupts) || hasPostedInterrupts(c) },
  {
    row: 'C17',
    holds: (c) => primary(c, Primary.tprShadow) || !secondary(c, Secondary.x2apic | Secondary.apicRegisters | Secondary.virtualInterrupts),
  },
  { row: 'C18', holds: (c) => !secondary(c, Secondary.apicAccesses) || (page(c, F.apicAccess) && !secondary(c, Secondary.x2apic)) },
  { row: 'C19', holds: (c) => !c.usesEpt || isEptPointer(c.vmcs.get(F.eptPointer), c.capabilities.has('eptad')) },
  { row: 'C20', holds: (c) => (!c.unrestricted && !secondary(c, Secondary.pml | Secondary.modeBasedExecute)) || c.usesEpt },
  { row: 'C20', holds: (c) => !secondary(c, Secondary.pml) || page(c, F.pmlAddress) },
  { row: 'C21', holds: (c) => !secondary(c, Secondary.vpid) || c.vmcs.get32(F.vpid) !== 0 },
  { row: 'C22', holds: (c) => !secondary(c, Secondary.vmFunctions) || hasVmFunctions(c) },
  { row: 'C23', holds: (c) => !secondary(c, Secondary.tscScaling) || c.vmcs.get(F.tscMultiplier) !== 0n },
  { row: 'C25', holds: (c) => allows(c.capabilities.exit, c.exit) },
  { row: 'C25', holds: (c) => (c.exit & ExitControl.savePreemptionTimer) === 0 || pin(c, Pin.preemptionTimer) },
  { row: 'C25', holds: (c) => isMsrArea(c.vmcs.get(F.exitMsrStore), c.vmcs.get32(F.exitMsrStoreCount)) },
  { row: 'C25', holds: (c) => isMsrArea(c.vmcs.get(F.exitMsrLoad), c.vmcs.get32(F.exitMsrLoadCount)) },
  { row: 'C26', holds: (c) => allows(c.capabilities.entry, c.entry) },
  { row: 'C27', holds: (c) => isMsrArea(c.vmcs.get(F.entryMsrLoad), c.vmcs.get32(F.entryMsrLoadCount)) },
  { row: 'C28', holds: (c) => !valid(c) || isEvent(c) },
  { row: 'C29', holds: (c) => !valid(c) || hasErrorCode(c) === takesErrorCode(c) },
  { row: 'C30', holds: (c) => !valid(c) || !hasErrorCode(c) || c.vmcs.get32(F.entryErrorCode) < 0x1_0000 },
  { row: 'C31', holds: (c) => !valid(c) || ![4, 5, 6].includes(typeOf(c)) || c.vmcs.get32(F.entryInstructionLength) <= 15 },
];
