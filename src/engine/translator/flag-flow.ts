/** How the blocks of a region find the flags: as the blocks before them leave them, if these agree. */
import type { Block, Step } from './discover.ts';
import { enterable, type FlagKind, meet, sameKind, vectorKind } from './flag-kind.ts';

/** `next`: the blocks that may follow each. `order`: those that control reaches, in reverse postorder. Undefined for what is never reached. */
export function flagsOfBlocks(
  blocks: readonly Block[],
  next: readonly (readonly number[])[],
  order: readonly number[],
): readonly (FlagKind | undefined)[] {
  const kinds = noKinds(blocks.length);
  const left = noKinds(blocks.length);
  for (let n = 0; n < left.length; n++) left[n] = leftBy(blocks[n] as Block);
  for (let changed = true; changed; ) {
    const found = waysIn(left, kinds, next, order);
    changed = false;
    for (let n = 0; n < kinds.length; n++) {
      const { entered } = blocks[n] as Block;
      const kind = atStart(found[n], entered);
      const old = kinds[n];
      const met = old && kind ? atStart(meet(old, kind), entered) : kind;
      if (!met || (old && sameKind(old, met))) continue;
      kinds[n] = met;
      changed = true;
    }
  }
  return kinds;
}
const noKinds = (count: number): (FlagKind | undefined)[] => new Array<FlagKind | undefined>(count).fill(undefined);
function leftBy({ steps }: Block): FlagKind | undefined {
  for (let n = steps.length - 1; n >= 0; n--) {
    const flags = steps[n]?.trait.flags;
    if (flags) return flags;
  }
  return undefined;
}
/** What all known ways to a block agree in. */
function waysIn(
  left: readonly (FlagKind | undefined)[],
  kinds: readonly (FlagKind | undefined)[],
  next: readonly (readonly number[])[],
  order: readonly number[],
): readonly (FlagKind | undefined)[] {
  const found = noKinds(kinds.length);
  for (const n of order) {
    const out = left[n] ?? kinds[n];
    if (!out) continue;
    for (const to of next[n] as readonly number[]) {
      const known = found[to];
      found[to] = known ? meet(known, out) : out;
    }
  }
  return found;
}
/** Where control comes in from outside, flags come as a vector. */
function atStart(kind: FlagKind | undefined, entered: boolean): FlagKind | undefined {
  return entered ? (kind ? enterable(kind) : vectorKind) : kind;
}

/** By instruction of a block: whether the flags that it leaves are set again, all of them, before one looks at them or leaves the region. */
export function deadFlags(steps: readonly Step[]): readonly boolean[] {
  const dead = new Array<boolean>(steps.length).fill(false);
  let isSetAgain = false;
  for (let n = steps.length - 1; n >= 0; n--) {
    dead[n] = isSetAgain;
    const { flags, readsFlags, leaves } = (steps[n] as Step).trait;
    isSetAgain = !readsFlags && !leaves && (isSetAgain || flags !== undefined);
  }
  return dead;
}
