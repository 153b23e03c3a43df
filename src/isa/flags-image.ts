/** EFLAGS as one number, for PUSHF and SYSCALL. */
import type { Ops } from './ops.ts';

/** EFLAGS as PUSHF stores it: RF and VM read as zero. */
export function flagsImage<V>(o: Ops<V>): V {
  const bit = (name: Parameters<Ops<V>['flag']>[0], n: number): V => o.shl(o.flag(name), o.constant(n));
  const status = o.or(o.or(o.or(bit('carry', 0), bit('parity', 2)), o.or(bit('adjust', 4), bit('zero', 6))), o.or(bit('sign', 7), bit('overflow', 11)));
  return o.or(o.or(status, o.and(o.get('systemFlags'), o.constant(0xfcff00))), o.constant(2));
}
