/**
 * Which instructions make a region: from a hot place along every direct jump and into called functions, on any page, cut into blocks.
 * A called function is taken in once for each place that calls it, so that its return knows where it goes; where it calls itself, control goes back to the same code.
 * Offsets count from the start of the region's first page; other pages lie at their distance in guest-virtual memory.
 */
import type { Decoded } from '../../isa/decode.ts';
import { pageBytes } from '../../memory/pool.ts';
import { isConditional, isIndirect, isRelative } from '../interpreter/handler.ts';
import type { Parts } from '../interpreter/outcomes.ts';
import type { FlagKind } from './flag-kind.ts';

/** What is known of an instruction before its code is made. */
export interface Trait {
  /** The region has code for it; otherwise it is left there. */
  readonly translated: boolean;
  /** How it leaves the flags; undefined when it leaves them alone. */
  readonly flags: FlagKind | undefined;
  /** It looks at the flags, or keeps some of them. */
  readonly readsFlags: boolean;
  /** The region may be left before it, to have it done by the interpreter. */
  readonly leaves: boolean;
}

export interface Step {
  readonly offset: number;
  readonly decoded: Decoded;
  readonly trait: Trait;
}

export interface Block {
  readonly offset: number;
  readonly steps: readonly Step[];
  /** Numbers of the blocks where its jump or call goes, that follows it, and where its return goes when it returns to its caller here. */
  readonly target: number | undefined;
  /** Where its computed jump or call went last. */
  readonly guesses: readonly number[];
  readonly behind: number | undefined;
  readonly returnTo: number | undefined;
  /** It ends with a computed jump that may go to any of the region's entries. */
  readonly dispatches: boolean;
  /** Control may enter here from outside. */
  readonly entered: boolean;
}

export interface Code {
  /** The instruction at an offset, if it lies in its page as a whole and the page is known. */
  at(offset: number): Decoded | undefined;
  trait(decoded: Decoded): Trait;
  /** Where the computed jump at an offset went last. */
  learned(offset: number): readonly number[];
  /** All places where it is known to have gone. */
  targets(offset: number): readonly number[];
  /** It may have gone to a place, too. */
  noteTarget(offset: number, target: number): void;
  /** How often either way of the conditional jump at an offset was gone of late; undefined when nothing is known. */
  outcomes(offset: number): Parts | undefined;
  /** Whether entries of a place are counted, or enter a region. */
  isCounted(offset: number): boolean;
  /** How often it was entered, as a part of what makes a place hot; 0 when it never ran, 1 when nobody counted. */
  heat(offset: number): number;
  /** It is hot, or another region is entered there: this one is entered there from now on, if the place is part of it. */
  isWanted(offset: number): boolean;
}

const callDepthMax = 4;
/**
 * What comes often is taken in first, what is too rare not at all. A rank says how rare a place is, in halvings: 3 is an eighth of the times that
 * control comes to the region's start. Targets of computed jumps count as rarer.
 */
const rankOf = (part: number): number => -Math.log2(part);
const unknown: Parts = { taken: 1 / 2, on: 1 / 2 };
const computedRank = 1;
const rankEnd = 4;
/** What must be as hot as this to be taken in. */
const warm = 1 / 32;
const warmCallee = 1 / 4;

/** A function called by the region, or the code it begins with. */
interface Context {
  readonly depth: number;
  /** Where the function begins. */
  readonly start: number;
  /** The rank of the call. */
  readonly callRank: number;
  /** Where the call returns to. */
  readonly caller: Context | undefined;
  readonly behind: number;
  readonly steps: Map<number, Step>;
  readonly leaders: Map<number, Work>;
  /** Functions called from here, by the place behind the call and where they begin. */
  readonly calls: Map<string, Context>;
  /** Where calls to this function return to that it or what it called has made. */
  readonly ownCalls: { readonly context: Context; readonly behind: number }[];
  /** What computed jumps were seen to go to. */
  readonly guesses: Map<number, readonly number[]>;
}

/** The function that begins at a place, if it is this one or has called it. */
const activeAt = (context: Context | undefined, start: number): Context | undefined =>
  context === undefined || context.start === start ? context : activeAt(context.caller, start);
const newContext = (caller: Context | undefined, start: number, behind: number, callRank: number): Context => ({
  depth: caller ? caller.depth + 1 : 0,
  start,
  callRank,
  caller,
  behind,
  steps: new Map(),
  leaders: new Map(),
  calls: new Map(),
  ownCalls: [],
  guesses: new Map(),
});
const callKey = (behind: number, target: number): string => `${behind}:${target}`;

/** Which page an offset lies on, counted from the region's first. */
export const pageOf = (offset: number): number => Math.floor(offset / pageBytes);

const isCall = (d: Decoded): boolean => d.row.name === 'call';
const isReturn = (d: Decoded): boolean => d.row.name === 'ret';
/** A string instruction goes on behind itself in two ways: at once, and after some iterations. */
const repeats = (d: Decoded): boolean => d.row.string && d.form.rep !== 0;
const endsBlock = (step: Step): boolean =>
  !step.trait.translated || repeats(step.decoded) || step.decoded.row.ends || isRelative(step.decoded);
const behindOf = (step: Step): number => step.offset + step.decoded.length;
const targetOf = (step: Step): number => behindOf(step) + Number(step.decoded.immediates[0] ?? 0n);

interface Work {
  readonly context: Context;
  readonly offset: number;
  rank: number;
}

class Discovery {
  readonly #code: Code;
  readonly #instructionsMax: number;
  readonly root: Context;
  readonly entered: Set<number>;
  readonly #work: Work[] = [];
  /** Computed jumps of the region's own code that stay in their page. */
  readonly #switches: number[] = [];
  #count = 0;

  constructor(code: Code, start: number, instructionsMax: number) {
    this.#code = code;
    this.#instructionsMax = instructionsMax;
    this.root = newContext(undefined, start, 0, 0);
    this.entered = new Set([start]);
    this.#lead(this.root, start, 0);
    for (let next = this.#next(); next && next.rank < rankEnd && this.#count < this.#instructionsMax; next = this.#next()) this.#walk(next);
    // a hot place from which control comes to a switch is most likely one of its cases: regions made from now on take it in, if there is room
    if (this.#count < this.#instructionsMax) for (const jump of this.#switches) this.#code.noteTarget(jump, start);
  }
  /** What control comes to most often; of equals what was found first. */
  #next(): Work | undefined {
    const work = this.#work;
    let least = 0;
    for (let n = 1; n < work.length; n++) if ((work[n] as Work).rank < (work[least] as Work).rank) least = n;
    return work.splice(least, 1)[0];
  }
  #lead(context: Context, offset: number, rank: number): void {
    const known = context.leaders.get(offset);
    if (known) {
      known.rank = Math.min(known.rank, rank);
      return;
    }
    const work = { context, offset, rank };
    context.leaders.set(offset, work);
    this.#work.push(work);
  }
  #enter(context: Context, offset: number, rank: number): void {
    if (context !== this.root) return;
    this.entered.add(offset);
    this.#lead(context, offset, rank);
  }
  #guess(context: Context, step: Step): readonly number[] {
    const guesses = this.#code.learned(step.offset);
    context.guesses.set(step.offset, guesses);
    return guesses;
  }
  /** Often another function, which ends with this one's return, or a switch. */
  #computed(context: Context, step: Step, rank: number): void {
    this.#guess(context, step);
    let isSwitch = false;
    for (const target of this.#code.targets(step.offset)) {
      this.#lead(context, target, rank);
      if (context !== this.root || pageOf(target) !== pageOf(step.offset)) continue;
      this.entered.add(target);
      isSwitch = true;
    }
    if (isSwitch && pageOf(context.start) === pageOf(step.offset)) this.#switches.push(step.offset);
  }
  #walk({ context, offset: start, rank }: Work): void {
    const isFirst = context === this.root && start === context.start;
    if (!isFirst && this.#code.heat(start) < warm) return;
    if (context === this.root && this.#code.isWanted(start)) this.entered.add(start);
    for (let at = start; !context.steps.has(at) && this.#count < this.#instructionsMax; ) {
      const decoded = this.#code.at(at);
      if (!decoded) return;
      const step: Step = { offset: at, decoded, trait: this.#code.trait(decoded) };
      context.steps.set(at, step);
      this.#count++;
      if (endsBlock(step)) return this.#end(context, step, rank);
      at = behindOf(step);
      if (pageOf(at) !== pageOf(step.offset)) return this.#lead(context, at, rank);
      if (context === this.root && this.#code.isWanted(at)) return this.#lead(context, at, rank);
    }
  }
  /** What was never gone to is left out, though it may have been decoded with what stands before it, unless entries are counted there. */
  #both(context: Context, step: Step, rank: number): void {
    const { taken, on } = this.#code.outcomes(step.offset) ?? unknown;
    this.#way(context, targetOf(step), rank, taken);
    this.#way(context, behindOf(step), rank, on);
  }
  #way(context: Context, to: number, rank: number, part: number): void {
    const seen = part === 0 && this.#code.isCounted(to) ? this.#code.heat(to) : part;
    if (seen > 0) this.#lead(context, to, rank + rankOf(seen));
  }
  #end(context: Context, step: Step, rank: number): void {
    const { decoded, trait } = step;
    const behind = behindOf(step);
    if (!trait.translated) {
      if (!decoded.row.ends) this.#enter(context, behind, rank);
    } else if (isCall(decoded)) {
      for (const target of isRelative(decoded) ? [targetOf(step)] : this.#guess(context, step)) {
        const active = activeAt(context, target);
        if (active) {
          context.calls.set(callKey(behind, target), active);
          active.ownCalls.push({ context, behind });
        }
        if (active || context.depth >= callDepthMax || this.#code.heat(target) < warmCallee) continue;
        const callee = newContext(context, target, behind, rank);
        context.calls.set(callKey(behind, target), callee);
        this.#lead(callee, target, rank);
      }
      this.#enter(context, behind, rank);
    } else if (isReturn(decoded)) {
      if (context.caller) this.#lead(context.caller, context.behind, context.callRank);
    } else {
      if (isConditional(decoded)) return this.#both(context, step, rank);
      if (isRelative(decoded)) this.#lead(context, targetOf(step), rank);
      else if (isIndirect(decoded)) this.#computed(context, step, rank + computedRank);
      if (!decoded.row.ends) this.#lead(context, behind, rank);
    }
  }
}

export const noGuesses: readonly number[] = [];
/** Whether a block ends with a computed jump that stays in its page: a switch. */
const dispatches = (context: Context, last: Step): boolean =>
  last.trait.translated &&
  !isCall(last.decoded) &&
  (context.guesses.get(last.offset) ?? noGuesses).some((target) => pageOf(target) === pageOf(last.offset));

type Ways = Pick<Block, 'target' | 'guesses' | 'behind' | 'returnTo'>;

/** Where control goes behind the last instruction of a block. */
function waysFrom(context: Context, last: Step, blockAt: (context: Context | undefined, offset: number) => number | undefined): Ways {
  const ways: { -readonly [K in keyof Ways]: Ways[K] } = { target: undefined, guesses: noGuesses, behind: undefined, returnTo: undefined };
  const { decoded, trait } = last;
  const behind = behindOf(last);
  const guesses = (find: (target: number) => number | undefined): readonly number[] => {
    const found: number[] = [];
    for (const target of context.guesses.get(last.offset) ?? noGuesses) {
      const n = find(target);
      if (n !== undefined) found.push(n);
    }
    return found;
  };
  const callee = (target: number): number | undefined => blockAt(context.calls.get(callKey(behind, target)), target);
  if (!endsBlock(last)) ways.behind = blockAt(context, behind);
  else if (!trait.translated) return ways;
  else if (isCall(decoded)) {
    if (isRelative(decoded)) ways.target = callee(targetOf(last));
    else ways.guesses = guesses(callee);
  } else if (isReturn(decoded)) {
    ways.returnTo = blockAt(context.caller, context.behind);
    ways.guesses = context.ownCalls.map((c) => blockAt(c.context, c.behind)).filter((n) => n !== undefined);
  } else {
    if (isRelative(decoded)) ways.target = blockAt(context, targetOf(last));
    else ways.guesses = guesses((target) => blockAt(context, target));
    if (!decoded.row.ends) ways.behind = blockAt(context, behind);
  }
  return ways;
}

/** Blocks of the region around a hot place. What does not fit into `instructionsMax` is left out. */
export function discover(code: Code, start: number, instructionsMax: number): readonly Block[] {
  const found = new Discovery(code, start, instructionsMax);
  const numbers = new Map<Context, Map<number, number>>();
  const list: { readonly context: Context; readonly offset: number }[] = [];
  const number = (context: Context): void => {
    const own = new Map<number, number>();
    numbers.set(context, own);
    for (const offset of context.leaders.keys()) if (context.steps.has(offset)) own.set(offset, list.push({ context, offset }) - 1);
    for (const callee of context.calls.values()) if (!numbers.has(callee)) number(callee);
  };
  number(found.root);
  const blockAt = (context: Context | undefined, offset: number): number | undefined => context && numbers.get(context)?.get(offset);
  const blocks: Block[] = [];
  for (const { context, offset } of list) {
    const steps: Step[] = [];
    for (let step = context.steps.get(offset); step; step = context.steps.get(behindOf(step))) {
      if (steps.length > 0 && context.leaders.has(step.offset)) break;
      steps.push(step);
      if (endsBlock(step)) break;
    }
    const last = steps[steps.length - 1] as Step;
    const { target, guesses, behind, returnTo } = waysFrom(context, last, blockAt);
    const entered = context === found.root && found.entered.has(offset);
    blocks.push({ offset, steps, target, guesses, behind, returnTo, dispatches: dispatches(context, last), entered });
  }
  return blocks;
}

/** The blocks that may come next, once for each way that leads there. */
export function nextOf(b: Block): readonly number[] {
  const last = b.steps.at(-1);
  const next: number[] = [];
  if (b.target !== undefined) next.push(b.target);
  for (const n of b.guesses) next.push(n);
  if (b.behind !== undefined) next.push(b.behind);
  if (b.behind !== undefined && last !== undefined && repeats(last.decoded)) next.push(b.behind);
  if (b.returnTo !== undefined) next.push(b.returnTo);
  return next;
}
