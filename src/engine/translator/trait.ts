/** An instruction's meaning run for a region: for its code, or alone to see what can be made of it. */
import type { Decoded } from '../../isa/decode.ts';
import { needsFloat } from '../../isa/instruction.ts';
import type { Trait } from './discover.ts';
import { vectorKind } from './flag-kind.ts';
import { NotTranslated } from './not-translated.ts';
import { RegionLocals } from './region-locals.ts';
import { RegionOperand } from './region-operand.ts';
import { RegionOps } from './region-ops.ts';
import { nothingKnown, type Surroundings } from './surroundings.ts';
import { Windows } from './windows.ts';

const absent = new Proxy({} as RegionOperand, {
  get: (_target, key) => {
    throw new NotTranslated(`operand ${String(key)}`);
  },
});
/** Runs an instruction's meaning. */
export function translate(o: RegionOps, decoded: Decoded, restricted: boolean): void {
  const { row, form } = decoded;
  if (!form.long) throw new NotTranslated('not 64-bit code');
  if (restricted && needsFloat(row)) throw new NotTranslated('floating point may be off');
  const operand = (n: number): RegionOperand => {
    const found = decoded.operands[n];
    return found ? new RegionOperand(o, found, decoded) : absent;
  };
  row.meaning(o, form, operand(0), operand(1), operand(2));
}

/** Written out, since V8 takes each object made by spreading another for one of a new sort. */
const nowhere = (locals: RegionLocals, announceExit: () => void): Surroundings => ({
  locals,
  windows: new Windows(locals, true), // sharing one is a matter of registers, and of what stands around
  callIndex: () => 0,
  reach: () => {},
  target: undefined,
  behind: undefined,
  guesses: [],
  page: undefined,
  dispatch: () => {},
  goTo: () => {},
  exit: () => {},
  announceExit,
});
/** Translates the instruction alone, to see whether it can be and how it leaves the flags. */
export function traitOf(decoded: Decoded, restricted: boolean): Trait {
  let leaves = false;
  const around = nowhere(new RegionLocals(), () => {
    leaves = true;
  });
  const o = new RegionOps(around, { decoded, offset: 0, retired: 0, flagsAreDead: false }, vectorKind, nothingKnown());
  try {
    translate(o, decoded, restricted);
  } catch (problem) {
    if (!(problem instanceof NotTranslated)) throw problem;
    return { translated: false, flags: undefined, readsFlags: true, leaves: true };
  }
  return { translated: true, flags: o.flagsSet ? o.kind : undefined, readsFlags: o.flagsRead, leaves };
}
