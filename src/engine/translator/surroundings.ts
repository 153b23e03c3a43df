/** What the code of one instruction is told of the region, the block and the instructions around it. */
import type { Decoded } from '../../isa/decode.ts';
import type { Callee } from '../interpreter/callees.ts';
import type { Hint } from '../wasm/branch-hints.ts';
import type { Emitter } from '../wasm/emitter.ts';
import type { FlagKind } from './flag-kind.ts';
import type { RegionLocals } from './region-locals.ts';
import type { Relative, Window, Windows } from './windows.ts';

/** What an instruction's code needs of the region around it. Offsets count from the start of the region's first page. */
export interface Surroundings {
  readonly locals: RegionLocals;
  readonly windows: Windows;
  /** The number of a function in the region's module. */
  readonly callIndex: (callee: Callee) => number;
  /** Numbers of the blocks that may come next; of those that a computed jump may mean, where they begin. */
  readonly target: number | undefined;
  readonly behind: number | undefined;
  readonly guesses: readonly { readonly block: number; readonly offset: number; readonly hint: Hint }[];
  /** When a computed jump may go to one of the region's entries: the block's page, and where the records of its instructions are found. */
  readonly page: { readonly offset: number; readonly map: number } | undefined;
  /** Emits the way back to the dispatcher, which goes to the entry that the local `entry` tells. */
  dispatch(out: Emitter, kind: FlagKind, retired: number): void;
  /** Emits a jump to a block, after so many instructions of this one. */
  goTo(out: Emitter, target: number, kind: FlagKind, retired: number): void;
  /** Emits the way out: how it is left (`exitWord`), and where to go on unless `ip` is set already. */
  exit(out: Emitter, kind: FlagKind, word: number, offset: number | undefined): void;
  /** What is known on a way to a block. */
  reach(target: number, known: Known): void;
  /** There will be an exit with flags of this kind. */
  announceExit(kind: FlagKind): void;
}

/** What is known of registers and memory at a place of a block. */
export interface Known {
  /** Upper bounds of the registers' widths in bits. */
  readonly widths: number[];
  /** Vector registers whose low number is plain, of what size. */
  readonly plain: Map<number, 32 | 64>;
  /** Registers, and the bases of FS and GS, as constant distances from something. */
  readonly values: (Relative | undefined)[];
  /** What the TLB was asked for on every way here. */
  windows: readonly Window[];
  /** Locals that windows on the way here have taken. */
  windowLocals: number;
}
export const nothingKnown = (): Known => ({
  widths: new Array(16).fill(64),
  plain: new Map(),
  values: new Array(18).fill(undefined),
  windows: [],
  windowLocals: 0,
});
export const copyKnown = (known: Known): Known => ({
  widths: [...known.widths],
  plain: new Map(known.plain),
  values: [...known.values],
  windows: known.windows,
  windowLocals: known.windowLocals,
});

export interface Place {
  readonly decoded: Decoded;
  readonly offset: number;
  /** Instructions of the block before this one. */
  readonly retired: number;
}

/** Bits of the local `exit`: the outcome for the dispatcher, whether `ip` is set already, what was retired. */
export const exitWord = (outcome: number, retired: number): number => (retired << 4) | outcome;
export const ipIsSet = 8;
