/** What the code of one instruction is told of the region, the block and the instructions around it. */
import { assert } from '../../base/assert.ts';
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
  /** When a computed jump may go to one of the region's entries: the block's page, and which of the region's maps has the records of its instructions. */
  readonly page: { readonly offset: number; readonly map: number } | undefined;
  /** Emits the way back to the dispatcher, which goes to the entry that the local `entry` tells. */
  dispatch(out: Emitter, kind: FlagKind, retired: number): void;
  /** Emits a jump to a block, after so many instructions. */
  goTo(out: Emitter, target: number, kind: FlagKind, retired: number): void;
  /** Emits the way out: how it is left, and where to go on (`exitWord`). */
  exit(out: Emitter, kind: FlagKind, word: number): void;
  /** What is known on a way to a block, after so many instructions. */
  reach(target: number, known: Known, retired: number): void;
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
  /** Instructions since the fuel was counted, before this one: of its block, and of those that lead to it in one way only. */
  readonly retired: number;
  /** The flags that it leaves are set again before anything could see them. */
  readonly flagsAreDead: boolean;
}

/**
 * How a region is left, as the local `exit` holds it: the outcome for the dispatcher, whether `ip` is set already, how many instructions were retired since
 * the fuel was counted, and from bit 13 on where to go on.
 */
export const ExitWord = { ipIsSet: 8, retiredShift: 4, retired: 0x1ff, offsetShift: 13 } as const;
export function exitWord(outcome: number, retired: number, offset: number): number {
  assert(retired <= ExitWord.retired, 'more instructions than a way out can count');
  return offset * (1 << ExitWord.offsetShift) + ((retired << ExitWord.retiredShift) | outcome);
}
/** Where control goes on is in the local `exitIp`. */
export const exitToIp = (outcome: number, retired: number): number => exitWord(outcome | ExitWord.ipIsSet, retired, 0);
