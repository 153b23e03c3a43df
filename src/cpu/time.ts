/** The guest's time-stamp counter. */
import { At } from './state.ts';
import type { Vcpu } from './vcpu.ts';

/** What RDTSC reads: a hypervisor shifts it for its guest. */
export function guestTscOf(v: Vcpu): bigint {
  const multiplier = v.get64(At.vmxTscMultiplier);
  const tsc = tscOf(v);
  return BigInt.asUintN(64, (multiplier === 0n ? tsc : (tsc * multiplier) >> 48n) + v.get64(At.vmxTscOffset));
}
export const tscOf = (v: Vcpu): bigint => BigInt.asUintN(64, v.clock.tsc() + v.get64(At.tscOffset));
