/** What the code of one instruction is told of the region, the block and the instructions around it. */
import type { Decoded } from '../../isa/decode.ts';
import type { FlagKind } from './flag-kind.ts';
import type { RegionLocals } from './region-locals.ts';

/** What an instruction's code needs of the region around it. Offsets count from the start of the region's first page. */
export interface Surroundings {
  readonly locals: RegionLocals;
  /** Numbers of the blocks that may come next; of those that a computed jump may mean, where they begin. */
  readonly target: number | undefined;
  readonly behind: number | undefined;
  readonly guesses: readonly { readonly block: number; readonly offset: number }[];
  /** Emits a jump to a block, after so many instructions of this one. */
  goTo(out: number[], target: number, kind: FlagKind, retired: number): void;
  /** Emits the way out: how it is left (`exitWord`), and where to go on unless `ip` is set already. */
  exit(out: number[], kind: FlagKind, word: number, offset: number | undefined): void;
  /** There will be an exit with flags of this kind. */
  announceExit(kind: FlagKind): void;
}

/** What is known of registers at a place of a block: upper bounds of their widths in bits; vector registers whose low number is plain, of what size. */
export interface Known {
  readonly widths: number[];
  readonly plain: Map<number, 32 | 64>;
}
export const nothingKnown = (): Known => ({ widths: new Array(16).fill(64), plain: new Map() });

export interface Place {
  readonly decoded: Decoded;
  readonly offset: number;
  /** Instructions of the block before this one. */
  readonly retired: number;
}

/** Bits of the local `exit`: the outcome for the dispatcher, whether `ip` is set already, what was retired. */
export const exitWord = (outcome: number, retired: number): number => (retired << 4) | outcome;
export const ipIsSet = 8;
