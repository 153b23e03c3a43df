/** Breakpoints of the debug registers. SDM 3B, 17.2. Data breakpoints are traps after the access, instruction breakpoints faults before. */
import { At, Flag } from './state.ts';
import type { Vcpu } from './vcpu.ts';

const Kind = { execute: 0, write: 1, io: 2, access: 3 } as const;
const lengths = [1, 2, 8, 4] as const;

interface Breakpoint {
  readonly index: number;
  readonly kind: number;
  readonly address: bigint;
  readonly bytes: number;
}

function* enabled(v: Vcpu): Generator<Breakpoint> {
  const dr7 = v.dr7;
  if ((dr7 & 0xff) === 0) return;
  for (let index = 0; index < 4; index++) {
    if ((dr7 & (3 << (2 * index))) === 0) continue;
    const bits = (dr7 >>> (16 + 4 * index)) & 15;
    const bytes = lengths[bits >> 2] ?? 1;
    yield { index, kind: bits & 3, address: v.get64(At.debug, index) & ~BigInt(bytes - 1), bytes };
  }
}

/** Whether a page has a data breakpoint: such pages stay out of the TLB. */
export function isWatched(v: Vcpu, low: number, high: number): boolean {
  if ((v.dr7 & 0xff) === 0) return false;
  const page = ((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)) >> 12n;
  for (const b of enabled(v)) if (b.kind !== Kind.execute && b.address >> 12n === page) return true;
  return false;
}

/** Notes an access of the instruction at hand; the trap comes when it has ended. */
export function noteAccess(v: Vcpu, low: number, high: number, bytes: number, write: boolean): void {
  if ((v.dr7 & 0xff) === 0) return;
  const start = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
  for (const b of enabled(v)) {
    if (b.kind !== Kind.access && !(b.kind === Kind.write && write)) continue;
    if (start + BigInt(bytes) <= b.address || start >= b.address + BigInt(b.bytes)) continue;
    v.set(At.debugHits, v.get(At.debugHits) | (1 << b.index));
    v.wake();
  }
}

/** Causes of the debug trap that comes before the next instruction; 0 while MOV SS or POP SS blocks it. */
export function dueDebugTrap(v: Vcpu): number {
  const causes = v.get(At.pendingDebug);
  return causes !== 0 && isBlockedByMovSs(v) ? 0 : causes;
}
/** The instruction at hand follows MOV SS or POP SS. */
export function isBlockedByMovSs(v: Vcpu): boolean {
  const shadow = v.get64(At.stackShadow);
  return shadow !== 0n && shadow === v.ip;
}

export const hasInstructionBreakpoints = (v: Vcpu): boolean => {
  for (const b of enabled(v)) if (b.kind === Kind.execute) return true;
  return false;
};

/** Bits of DR6 for the instruction about to run; none while RF is set. */
export function instructionBreakpoints(v: Vcpu): number {
  if ((v.systemFlags & Flag.resume) !== 0) return 0;
  const linear = BigInt.asUintN(v.long ? 64 : 32, v.ip + v.get64(At.segmentBase, 1));
  let hits = 0;
  for (const b of enabled(v)) if (b.kind === Kind.execute && b.address === linear) hits |= 1 << b.index;
  return hits;
}
