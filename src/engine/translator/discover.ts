/** Which instructions make a region: from hot places along every direct jump within the page, cut into blocks. */
import type { Decoded } from '../../isa/decode.ts';
import type { FlagKind } from './flag-kind.ts';

/** What is known of an instruction before its code is made. */
export interface Trait {
  /** The region has code for it; otherwise it is left there. */
  readonly translated: boolean;
  /** How it leaves the flags; undefined when it leaves them alone. */
  readonly flags: FlagKind | undefined;
}

export interface Step {
  readonly offset: number;
  readonly decoded: Decoded;
  readonly trait: Trait;
}

export interface Block {
  readonly offset: number;
  readonly steps: readonly Step[];
  /** Offsets of the blocks that may come next. */
  readonly next: readonly number[];
  /** Control may enter here from outside. */
  readonly entered: boolean;
}

export interface Code {
  /** The instruction at an offset in the page, if it lies in the page as a whole. */
  at(offset: number): Decoded | undefined;
  trait(decoded: Decoded): Trait;
  /** It was met before: code that never ran is not worth translating. */
  isMet(offset: number): boolean;
  /** Another region is entered there. */
  isTaken(offset: number): boolean;
}

const pageBytes = 4096;
const instructionsMax = 400;

const isRelative = (d: Decoded): boolean => d.row.operands[0]?.[0] === 'J';
const isCall = (d: Decoded): boolean => d.row.name === 'call';

/** Where control goes within the page, and whether it comes back behind the instruction from elsewhere. */
function ways(step: Step): { readonly next: readonly number[]; readonly returns: boolean } {
  const { decoded, offset, trait } = step;
  const behind = offset + decoded.length;
  if (!trait.translated) return { next: [], returns: !decoded.row.ends };
  const next: number[] = [];
  if (isRelative(decoded)) {
    const target = behind + Number(BigInt.asIntN(64, decoded.immediates[0] ?? 0n));
    if (target >= 0 && target < pageBytes) next.push(target);
  }
  if (!decoded.row.ends && behind < pageBytes) next.push(behind);
  return { next, returns: isCall(decoded) };
}
const endsBlock = (step: Step): boolean => !step.trait.translated || step.decoded.row.ends === true || isRelative(step.decoded);

/** Blocks of the region around `seeds`, the first seed's first. What does not fit is left out. */
export function discover(code: Code, seeds: readonly number[]): readonly Block[] {
  const steps = new Map<number, Step>();
  const leaders = new Set<number>(seeds);
  const entered = new Set<number>(seeds);
  const work = [...seeds];
  for (let offset = work.shift(); offset !== undefined && steps.size < instructionsMax; offset = work.shift()) {
    if (!seeds.includes(offset) && (code.isTaken(offset) || !code.isMet(offset))) continue;
    for (let at = offset; !steps.has(at) && steps.size < instructionsMax; ) {
      const decoded = code.at(at);
      if (!decoded) break;
      const step: Step = { offset: at, decoded, trait: code.trait(decoded) };
      steps.set(at, step);
      const behind = at + decoded.length;
      if (endsBlock(step)) {
        const { next, returns } = ways(step);
        for (const n of next) if (!leaders.has(n)) leaders.add(n) && work.push(n);
        if (returns && behind < pageBytes && !entered.has(behind)) {
          entered.add(behind);
          if (!leaders.has(behind)) leaders.add(behind) && work.push(behind);
        }
        break;
      }
      at = behind;
      if (code.isTaken(at)) break;
    }
  }
  const known = (offset: number): boolean => steps.has(offset) && leaders.has(offset);
  const blocks: Block[] = [];
  for (const leader of leaders) {
    if (!steps.has(leader)) continue;
    const found: Step[] = [];
    for (let step = steps.get(leader); step; step = steps.get(step.offset + step.decoded.length)) {
      if (found.length > 0 && leaders.has(step.offset)) break;
      found.push(step);
      if (endsBlock(step)) break;
    }
    const last = found.at(-1) as Step;
    const next = endsBlock(last) ? ways(last).next : [last.offset + last.decoded.length];
    blocks.push({ offset: leader, steps: found, next: next.filter(known), entered: entered.has(leader) });
  }
  return blocks;
}
