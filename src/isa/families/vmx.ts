/** Virtual-machine extensions, and PAUSE, which a hypervisor may want to see. SDM 3C, chapter 31. */

import type { HelperName } from '../helper-names.ts';
import type { Feature, Instruction } from '../instruction.ts';
import type { Meaning } from '../ops.ts';
import { GuestOperation } from '../state-names.ts';
import { row } from '../table.ts';

/** The helper has set the next address: another world may run from here on. */
const enters =
  (name: HelperName, argument = 0): Meaning =>
  (o) => {
    o.helper(name, o.constant(argument));
    o.exitHere();
  };
const atAddress =
  (name: HelperName): Meaning =>
  (o, _form, memory) => {
    o.helper(name, memory.address());
    o.exitNext();
  };
const read: Meaning = (o, _form, target, field) => {
  if (target.isMemory) o.helper('vmReadTo', field.read(), target.address());
  else target.write(o.helper('vmRead', field.read(), target.read()));
};
const write: Meaning = (o, _form, field, source) => {
  const value = source.read();
  o.helper('vmWrite', field.read(), value);
};
const invalidate =
  (name: 'invalidateEpt' | 'invalidateVpid'): Meaning =>
  (o, _form, type, memory) => {
    o.helper(name, type.read(), memory.address());
    o.exitNext();
  };

const vmx = { feature: 'vmx' as Feature };
const fixed = (digit: number, rm: number) => ({ ...vmx, digit, rm, mod: 'register', prefix: 0, ends: true }) as const;
const pointer = (digit: number, prefix: 0 | 0x66 | 0xf3) => ({ ...vmx, digit, prefix, mod: 'memory' }) as const;

export const vmxFamily: readonly Instruction[] = [
  row('vmcall', 0x0f01, '', enters('vmCall'), fixed(0, 1)),
  row('vmlaunch', 0x0f01, '', enters('vmLaunch', 0), fixed(0, 2)),
  row('vmresume', 0x0f01, '', enters('vmLaunch', 1), fixed(0, 3)),
  row('vmxoff', 0x0f01, '', enters('vmxOff'), fixed(0, 4)),
  row('vmfunc', 0x0f01, '', enters('vmFunction'), fixed(2, 4)),
  row('vmptrld', 0x0fc7, 'Mn', atAddress('vmPointerLoad'), pointer(6, 0)),
  row('vmclear', 0x0fc7, 'Mn', atAddress('vmClear'), pointer(6, 0x66)),
  row('vmxon', 0x0fc7, 'Mn', atAddress('vmxOn'), pointer(6, 0xf3)),
  row('vmptrst', 0x0fc7, 'Mn', atAddress('vmPointerStore'), pointer(7, 0)),
  row('vmread', 0x0f78, 'Eo Go', read, { ...vmx, prefix: 0 }),
  row('vmwrite', 0x0f79, 'Go Eo', write, { ...vmx, prefix: 0 }),
  row('invept', 0x0f3880, 'Gr Mn', invalidate('invalidateEpt'), { ...vmx, prefix: 0x66 }),
  row('invvpid', 0x0f3881, 'Gr Mn', invalidate('invalidateVpid'), { ...vmx, prefix: 0x66 }),
];

export const pauseRow = row('pause', 0x90, '', (o) => o.when(o.ltu(o.constant(GuestOperation.vmx - 1), o.get('vmxOperation')), () => void o.helper('pause')));
