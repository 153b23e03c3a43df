/**
 * VMCS02, with which the processor runs the guest's guest: what the guest asks for in VMCS12, and what the monitor needs. And the way back: what the
 * processor saved in VMCS02 into VMCS12. The Turtles paper, 3.2.
 */

import type { Interruption } from '../../cpu/interrupts.ts';
import { pointerCount, pointersAt } from '../../cpu/page-walk.ts';
import { At } from '../../cpu/state.ts';
import type { EntryContext } from '../checks/context.ts';
import { Blocking, EntryControl, ExitControl, Primary, Secondary } from '../controls.ts';
import { guestEfer } from '../entry.ts';
import { informationOf } from '../exit.ts';
import { F, FieldType, fieldDescriptions, fieldType } from '../fields.ts';
import type { Vmcs } from '../vmcs.ts';
import type { Vmx } from '../vmx.ts';

export const savesAll =
  ExitControl.saveDebug | ExitControl.host64 | ExitControl.savePat | ExitControl.saveEfer | ExitControl.savePreemptionTimer;
export const loadsAll = EntryControl.loadDebug | EntryControl.loadPat | EntryControl.loadEfer;

/** The page-directory pointers of PAE paging. */
const pointerPlaces = Array.from({ length: pointerCount }, (_, n) => F.guestPdpte0 + n);
/** Guest state that an exit saves only when it is asked to, or that is no state of the processor. */
const conditional = new Set([
  F.guestDebugControl,
  F.guestDr7,
  F.guestPat,
  F.guestEfer,
  F.preemptionTimer,
  F.guestPmlIndex,
  F.linkPointer,
  F.guestSmbase,
  ...pointerPlaces,
]);
/** What nearly every exit changes and every hypervisor looks at. The others are rare: segments, tables, SYSENTER. */
const hot = new Set([
  F.guestRip,
  F.guestRsp,
  F.guestRflags,
  F.guestCr0,
  F.guestCr3,
  F.guestCr4,
  F.guestInterruptibility,
  F.guestActivity,
  F.guestInterruptStatus,
  F.guestCsRights,
  F.guestSsRights,
]);
const guestPlaces = fieldDescriptions.flatMap((f, place) =>
  fieldType(f.encoding) === FieldType.guest && !conditional.has(place) ? [place] : [],
);
const hotPlaces = guestPlaces.filter((place) => hot.has(place));
const rarePlaces = guestPlaces.filter((place) => !hot.has(place));
/** Fields that the guest writes for one entry, or often. */
const entryPlaces = [
  ...hotPlaces,
  F.entryInterruption,
  F.entryErrorCode,
  F.entryInstructionLength,
  F.tprThreshold,
  F.preemptionTimer,
  F.tscOffset,
  F.cr0Shadow,
  F.cr4Shadow,
];
const hotEncodings = new Set(entryPlaces.map((place) => fieldDescriptions[place]?.encoding ?? 0));
const rareEncodings = new Set(rarePlaces.map((place) => fieldDescriptions[place]?.encoding ?? 0));
/** A write to any other field makes the next merge a full one. */
export const isHot = (encoding: number): boolean => hotEncodings.has(encoding & ~1);
export const isRareState = (encoding: number): boolean => rareEncodings.has(encoding & ~1);

export interface MergeParts {
  readonly vmcs02: Vmcs;
  readonly eptPointer02: bigint;
  /** 0: VMCS02 has none. */
  readonly vpid02: number;
  /** Everything, or only the fields that the guest writes often. */
  readonly full: boolean;
}

/** The registers of the processor are the guest's. */
export function merge(inner: Vmx, c: EntryContext, hardware: Vmx, parts: MergeParts): void {
  const { v } = inner;
  const { vmcs } = c;
  const { vmcs02, vpid02 } = parts;
  if (parts.full) vmcs02.copyFrom(vmcs);
  else vmcs02.copyFields(vmcs, entryPlaces);
  const { exit, entry } = hardware.capabilities;
  vmcs02.set32(F.exitControls, exit.must | savesAll | (c.exit & ExitControl.acknowledgeInterrupt));
  vmcs02.set32(F.entryControls, entry.must | loadsAll | (c.entry & EntryControl.ia32e));
  vmcs02.set32(F.entryMsrLoadCount, vmcs.get32(F.entryMsrLoadCount));
  if ((c.entry & EntryControl.loadDebug) === 0) {
    vmcs02.set(F.guestDr7, v.get64(At.debug, 7));
    vmcs02.set(F.guestDebugControl, v.get64(At.debugControl));
  } else vmcs02.copyFields(vmcs, [F.guestDr7, F.guestDebugControl]);
  if ((c.entry & EntryControl.loadPat) === 0) vmcs02.set(F.guestPat, v.get64(At.pat));
  vmcs02.set(F.guestEfer, guestEfer(inner, c, c.guestCr0));
  vmcs02.set(F.eptPointer, parts.eptPointer02);
  if (c.usesPae && !c.usesEpt) copyPointers(c, vmcs02);
  if (!parts.full) return;
  const needed = Secondary.ept | (vpid02 === 0 ? 0 : Secondary.vpid);
  const kept = c.secondary & ~(Secondary.pml | Secondary.vpid);
  vmcs02.set32(F.primaryControls, c.primary | Primary.secondary);
  vmcs02.set32(F.secondaryControls, kept | needed);
  vmcs02.set32(F.vpid, vpid02);
  vmcs02.set(F.vmFunctionControls, 0n); // VMFUNC is the monitor's
  vmcs02.set32(F.exitMsrStoreCount, 0);
  vmcs02.set32(F.exitMsrLoadCount, 0);
}

/** Page-directory pointers of PAE paging, which a hypervisor without EPT leaves in memory. */
function copyPointers({ x, vmcs }: EntryContext, vmcs02: Vmcs): void {
  const pointers = pointersAt(x.v.space, Number(vmcs.get(F.guestCr3) & 0xffff_ffffn));
  for (const [n, pointer] of pointers.entries()) vmcs02.set(F.guestPdpte0 + n, pointer);
}

/** From VMCS02 what the processor saved, as the guest's own exit controls have it. `full`: rare fields too. */
export function sync(inner: Vmx, vmcs02: Vmcs, full: boolean): void {
  const { vmcs } = inner;
  const controls = vmcs.get32(F.exitControls);
  vmcs.copyFields(vmcs02, full ? guestPlaces : hotPlaces);
  if (inner.v.usesPae && inner.wantsSecondary(Secondary.ept)) vmcs.copyFields(vmcs02, pointerPlaces);
  if ((controls & ExitControl.saveDebug) !== 0) vmcs.copyFields(vmcs02, [F.guestDr7, F.guestDebugControl]);
  if ((controls & ExitControl.savePat) !== 0) vmcs.copyFields(vmcs02, [F.guestPat]);
  if ((controls & ExitControl.saveEfer) !== 0) vmcs.copyFields(vmcs02, [F.guestEfer]);
  if ((controls & ExitControl.savePreemptionTimer) !== 0) vmcs.copyFields(vmcs02, [F.preemptionTimer]);
  const entry = vmcs.get32(F.entryControls) & ~EntryControl.ia32e;
  vmcs.set32(F.entryControls, entry | (vmcs02.get32(F.entryControls) & EntryControl.ia32e));
}
export const syncRare = (vmcs12: Vmcs, vmcs02: Vmcs): void => vmcs12.copyFields(vmcs02, rarePlaces);

/** An IRET runs again that had ended their blocking. */
export const blockNmis = (vmcs: Vmcs): void => vmcs.set32(F.guestInterruptibility, vmcs.get32(F.guestInterruptibility) | Blocking.nmi);

/** An event for the next entry. */
export function injectInto(vmcs: Vmcs, event: Interruption): void {
  vmcs.set32(F.entryInterruption, informationOf(event));
  vmcs.set32(F.entryErrorCode, event.error ?? 0);
  vmcs.set32(F.entryInstructionLength, event.length ?? 0);
}
