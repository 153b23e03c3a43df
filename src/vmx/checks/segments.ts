/** Checks on the guest's segment registers. SDM 3C, 27.3.1.2 and 27.3.1.3. */
import { Rights, Segment } from '../../cpu/state.ts';
import { F } from '../fields.ts';
import { type Check, type EntryContext, isCanonical } from './context.ts';

const { es, cs, ss, ds, fs, gs, ldtr, tr } = Segment;
const dataSegments = [es, ds, fs, gs];
const codeAndData = [es, cs, ss, ds, fs, gs];

const selector = (c: EntryContext, n: number): number => c.vmcs.get32(F.guestEsSelector + n);
const base = (c: EntryContext, n: number): bigint => c.vmcs.get(F.guestEsBase + n);
const limit = (c: EntryContext, n: number): number => c.vmcs.get32(F.guestEsLimit + n);
const rights = (c: EntryContext, n: number): number => c.vmcs.get32(F.guestEsRights + n);
const usable = (c: EntryContext, n: number): boolean => (rights(c, n) & Rights.unusable) === 0;
const type = (c: EntryContext, n: number): number => rights(c, n) & 15;
const dpl = (c: EntryContext, n: number): number => (rights(c, n) >> 5) & 3;
const rpl = (c: EntryContext, n: number): number => selector(c, n) & 3;
const realMode = (c: EntryContext): boolean => (c.guestCr0 & 1n) === 0n;
const narrow = (c: EntryContext, n: number): boolean => base(c, n) >> 32n === 0n;
/** The granularity bit agrees with the limit. */
const isGranular = (c: EntryContext, n: number): boolean => {
  const granular = (rights(c, n) & Rights.granular) !== 0;
  if ((limit(c, n) & 0xfff) !== 0xfff && granular) return false;
  return limit(c, n) >>> 20 === 0 || granular;
};
/** S as wanted, present, nothing reserved. */
const isWhole = (c: EntryContext, n: number, system: boolean): boolean =>
  (rights(c, n) & 0xfffe_0f00) === 0 &&
  ((rights(c, n) & Rights.system) === 0) === system &&
  (rights(c, n) & Rights.present) !== 0 &&
  isGranular(c, n);

/** Rows that do not matter in virtual-8086 mode. */
const otherwise =
  (holds: (c: EntryContext) => boolean) =>
  (c: EntryContext): boolean =>
    c.virtual8086 || holds(c);
const eachUsable =
  (list: readonly number[], holds: (c: EntryContext, n: number) => boolean) =>
  (c: EntryContext): boolean =>
    list.every((n) => !usable(c, n) || holds(c, n));

function codeType(c: EntryContext): boolean {
  return [9, 11, 13, 15].includes(type(c, cs)) || (type(c, cs) === 3 && c.unrestricted);
}
function codeLevel(c: EntryContext): boolean {
  switch (type(c, cs)) {
    case 3:
      return dpl(c, cs) === 0;
    case 9:
    case 11:
      return dpl(c, cs) === dpl(c, ss);
    default:
      return dpl(c, cs) <= dpl(c, ss);
  }
}
function stackLevel(c: EntryContext): boolean {
  if (!c.unrestricted && dpl(c, ss) !== rpl(c, ss)) return false;
  return (type(c, cs) !== 3 && !realMode(c)) || dpl(c, ss) === 0;
}

export const segmentChecks: readonly Check[] = [
  {
    row: 'G9',
    holds: (c) =>
      !c.virtual8086 ||
      codeAndData.every((n) => base(c, n) === BigInt(selector(c, n)) << 4n && limit(c, n) === 0xffff && rights(c, n) === 0xf3),
  },
  { row: 'G10', holds: (c) => (selector(c, tr) & 4) === 0 && (!usable(c, ldtr) || (selector(c, ldtr) & 4) === 0) },
  { row: 'G10', holds: otherwise((c) => c.unrestricted || rpl(c, ss) === rpl(c, cs)) },
  { row: 'G11', holds: (c) => [tr, fs, gs].every((n) => isCanonical(base(c, n))) && (!usable(c, ldtr) || isCanonical(base(c, ldtr))) },
  { row: 'G11', holds: (c) => narrow(c, cs) && eachUsable([ss, ds, es], narrow)(c) },
  { row: 'G13', holds: otherwise(codeType) },
  { row: 'G12', holds: otherwise((c) => isWhole(c, cs, false)) },
  { row: 'G14', holds: otherwise(codeLevel) },
  { row: 'G15', holds: otherwise((c) => !c.ia32e || (rights(c, cs) & (Rights.long | Rights.big)) !== (Rights.long | Rights.big)) },
  { row: 'G13', holds: otherwise(eachUsable([ss], (c, n) => type(c, n) === 3 || type(c, n) === 7)) },
  { row: 'G14', holds: otherwise(stackLevel) },
  { row: 'G12', holds: otherwise(eachUsable([ss], (c, n) => isWhole(c, n, false))) },
  {
    row: 'G13',
    holds: otherwise(eachUsable(dataSegments, (c, n) => (type(c, n) & 1) !== 0 && ((type(c, n) & 8) === 0 || (type(c, n) & 2) !== 0))),
  },
  { row: 'G12', holds: otherwise(eachUsable(dataSegments, (c, n) => isWhole(c, n, false))) },
  { row: 'G14', holds: otherwise(eachUsable(dataSegments, (c, n) => c.unrestricted || type(c, n) > 11 || dpl(c, n) >= rpl(c, n))) },
  { row: 'G16', holds: (c) => usable(c, tr) && (type(c, tr) === 11 || (type(c, tr) === 3 && !c.ia32e)) && isWhole(c, tr, true) },
  { row: 'G16', holds: eachUsable([ldtr], (c, n) => type(c, n) === 2 && isWhole(c, n, true)) },
  { row: 'G17', holds: (c) => isCanonical(c.vmcs.get(F.guestGdtrBase)) && isCanonical(c.vmcs.get(F.guestIdtrBase)) },
  { row: 'G17', holds: (c) => c.vmcs.get32(F.guestGdtrLimit) <= 0xffff && c.vmcs.get32(F.guestIdtrLimit) <= 0xffff },
];
