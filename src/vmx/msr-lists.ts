/** MSR areas that VM entries and exits load and store: records of index, reserved, value. SDM 3C, 25.7.2 and 27.4. */
import { Fault } from '../cpu/fault.ts';
import { readMsr, writeMsr } from '../cpu/msr.ts';
import { msrListMax } from './capabilities.ts';
import type { Vmx } from './vmx.ts';

const recordBytes = 16;
const none: readonly number[] = [];
/** FS and GS base have fields of their own; an APIC in x2APIC mode and microcode are no business of a list. */
const forbiddenLoads = new Set([0xc000_0100, 0xc000_0101, 0x79, 0x8b, 0x9b]);
const isApic = (number: number): boolean => number >= 0x800 && number <= 0x8ff;

/** The region may have been written behind our back since it was checked: addresses are cut to what exists, counts to what is offered. */
const addressesOf = (area: bigint, count: number): readonly number[] =>
  count === 0 ? none : Array.from({ length: Math.min(count, msrListMax) }, (_, n) => Number(area & 0xff_ffff_fff0n) + n * recordBytes);

/** Loads; returns 0, or the 1-based number of the entry that failed. */
export function loadMsrs(x: Vmx, area: bigint, count: number): number {
  const { space } = x.v;
  for (const [n, at] of addressesOf(area, count).entries()) {
    const number = space.read32(at);
    if (space.read32(at + 4) !== 0 || forbiddenLoads.has(number) || isApic(number)) return n + 1;
    if (!faultless(() => writeMsr(x.p, number, space.read64(at + 8)))) return n + 1;
  }
  return 0;
}
/** Stores; false when an entry failed. */
export function storeMsrs(x: Vmx, area: bigint, count: number): boolean {
  const { space } = x.v;
  for (const at of addressesOf(area, count)) {
    const number = space.read32(at);
    if (space.read32(at + 4) !== 0 || isApic(number)) return false;
    if (!faultless(() => space.write64(at + 8, readMsr(x.p, number)))) return false;
  }
  return true;
}
function faultless(work: () => void): boolean {
  try {
    work();
    return true;
  } catch (problem) {
    if (problem instanceof Fault) return false;
    throw problem;
  }
}
