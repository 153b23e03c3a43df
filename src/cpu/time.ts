/** The guest's time-stamp counter. */
import { At } from './state.ts';
import type { Vcpu } from './vcpu.ts';

export const tscOf = (v: Vcpu): bigint => BigInt.asUintN(64, v.clock.tsc() + v.get64(At.tscOffset));
