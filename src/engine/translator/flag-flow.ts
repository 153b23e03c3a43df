/** How the blocks of a region find the flags: as the blocks before them leave them, if these agree. */
import type { Block } from './discover.ts';
import { enterable, type FlagKind, meet, sameKind, vectorKind } from './flag-kind.ts';

/** `next`: the blocks that may follow each. `order`: those that control reaches, in reverse postorder. Undefined for what is never reached. */
export function flagsOfBlocks(
  blocks: readonly Block[],
  next: readonly (readonly number[])[],
  order: readonly number[],
): readonly (FlagKind | undefined)[] {
  const kinds: (FlagKind | undefined)[] = blocks.map(() => undefined);
  const left = blocks.map((b) => b.steps.findLast((s) => s.trait.flags !== undefined)?.trait.flags);
  for (let changed = true; changed; ) {
    changed = false;
    const found: (FlagKind | undefined)[] = blocks.map(() => undefined);
    for (const n of order) {
      const out = left[n] ?? kinds[n];
      if (!out) continue;
      for (const to of next[n] as readonly number[]) {
        const known = found[to];
        found[to] = known ? meet(known, out) : out;
      }
    }
    for (const [n, b] of blocks.entries()) {
      const kind = atStart(found[n], b);
      const old = kinds[n];
      if (!kind || (old && sameKind(old, kind))) continue;
      const met = old ? atStart(meet(old, kind), b) : kind;
      changed ||= !old || !met || !sameKind(old, met);
      kinds[n] = met;
    }
  }
  return kinds;
}
/** Where control comes in from outside, flags come as a vector. */
function atStart(kind: FlagKind | undefined, { entered }: Block): FlagKind | undefined {
  return entered ? (kind ? enterable(kind) : vectorKind) : kind;
}
