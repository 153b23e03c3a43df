/** An instruction's meaning run for a region: for its code, or alone to see what can be made of it. */
import type { Decoded } from '../../isa/decode.ts';
import { needsFloat } from '../../isa/instruction.ts';
import type { Trait } from './discover.ts';
import { vectorKind } from './flag-kind.ts';
import { RegionLocals } from './region-locals.ts';
import { RegionOperand } from './region-operand.ts';
import { NotTranslated, RegionOps } from './region-ops.ts';
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
  const operands = decoded.operands.map((operand) => new RegionOperand(o, operand, decoded));
  row.meaning(o, form, operands[0] ?? absent, operands[1] ?? absent, operands[2] ?? absent);
}

const nowhere: Omit<Surroundings, 'locals' | 'windows'> = {
  callIndex: () => 0,
  page: undefined,
  dispatch: () => {},
  reach: () => {},
  target: undefined,
  behind: undefined,
  guesses: [],
  goTo: () => {},
  exit: () => {},
  announceExit: () => {},
};
/** Translates the instruction alone, to see whether it can be and how it leaves the flags. */
export function traitOf(decoded: Decoded, restricted: boolean): Trait {
  const locals = new RegionLocals();
  const o = new RegionOps(
    { ...nowhere, locals, windows: new Windows(locals, false) },
    { decoded, offset: 0, retired: 0 },
    vectorKind,
    nothingKnown(),
  );
  try {
    translate(o, decoded, restricted);
  } catch (problem) {
    if (!(problem instanceof NotTranslated)) throw problem;
    return { translated: false, flags: undefined };
  }
  return { translated: true, flags: o.flagsSet ? o.kind : undefined };
}
