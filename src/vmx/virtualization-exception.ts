/** Virtualization exceptions (#VE): EPT violations that the guest handles itself. SDM 3C, 26.5.7. */
import { Vector } from '../cpu/fault.ts';
import { deliver, EventType } from '../cpu/interrupts.ts';
import type { VmExit } from '../cpu/vm-exit.ts';
import { F } from './fields.ts';
import type { Vmx } from './vmx.ts';

/** Where in the information area what lies; the guest clears the second word when it is ready for the next. */
const Area = { reason: 0, busy: 4, qualification: 8, linear: 16, physical: 24, eptpIndex: 32 } as const;

/** False: the exception is not to be raised now, and the violation is an exit. */
export function raiseVirtualizationException(x: Vmx, exit: VmExit): boolean {
  const { v, vmcs } = x;
  const area = Number(vmcs.get(F.exceptionInformation) & 0xff_ffff_f000n);
  if (!v.protectedMode || exit.during || v.space.read32(area + Area.busy) !== 0) return false;
  v.space.write32(area + Area.reason, exit.reason);
  v.space.write32(area + Area.busy, 0xffff_ffff);
  v.space.write64(area + Area.qualification, exit.qualification);
  v.space.write64(area + Area.linear, exit.details.linear ?? 0n);
  v.space.write64(area + Area.physical, exit.details.physical ?? 0n);
  v.space.write16(area + Area.eptpIndex, vmcs.get32(F.eptpIndex));
  v.jump(v.ip);
  deliver(x.p, { type: EventType.exception, vector: Vector.virtualization });
  return true;
}
