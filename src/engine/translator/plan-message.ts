/**
 * A region's plan as numbers and bytes, which one thread may give another: the blocks, and the bytes of their instructions, which are decoded there again.
 * A decoded instruction has some thirty objects, and a row of functions that cannot be sent at all.
 */
import { assert } from '../../base/assert.ts';
import type { Decoder } from '../../isa/decode.ts';
import { type Block, noGuesses, type Step } from './discover.ts';
import type { RegionPlan } from './maker.ts';
import type { Traits } from './traits.ts';

export interface PlanMessage {
  readonly restricted: boolean;
  readonly narrow: boolean;
  /** Of each block: its offset, how many instructions it has, target, behind, returnTo (-1: none), flags, how many guesses, the guesses. */
  readonly blocks: Int32Array<ArrayBuffer>;
  /** The bytes of the blocks' instructions, one block after the other. */
  readonly code: Uint8Array<ArrayBuffer>;
}

const Flag = { dispatches: 1, entered: 2 } as const;
const none = -1;
const orNone = (block: number | undefined): number => block ?? none;
const orUndefined = (block: number): number | undefined => (block === none ? undefined : block);

/** `pieces`: the bytes of each block's instructions. */
export function packPlan({ blocks, restricted, narrow }: RegionPlan, pieces: readonly Uint8Array[]): PlanMessage {
  const numbers: number[] = [];
  for (const { offset, steps, target, behind, returnTo, dispatches, entered, guesses } of blocks) {
    const flags = (dispatches ? Flag.dispatches : 0) | (entered ? Flag.entered : 0);
    numbers.push(offset, steps.length, orNone(target), orNone(behind), orNone(returnTo), flags, guesses.length);
    for (const guess of guesses) numbers.push(guess);
  }
  let size = 0;
  for (const piece of pieces) size += piece.length;
  const code = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    code.set(piece, at);
    at += piece.length;
  }
  return { restricted, narrow, blocks: Int32Array.from(numbers), code };
}

export function unpackPlan({ restricted, narrow, blocks, code }: PlanMessage, decoder: Decoder, traits: Traits): RegionPlan {
  let number = 0;
  let at = 0;
  const next = (): number => blocks[number++] as number;
  const steps = (start: number, count: number): readonly Step[] => {
    const list: Step[] = [];
    let offset = start;
    for (let n = 0; n < count; n++) {
      const decoded = decoder.decode(code, at, code.length, 64);
      assert(typeof decoded !== 'string', 'instructions of a region decode as they did before');
      list.push({ offset, decoded, trait: traits.of(decoded, restricted) });
      offset += decoded.length;
      at += decoded.length;
    }
    return list;
  };
  const list: Block[] = [];
  while (number < blocks.length) {
    const offset = next();
    const count = next();
    const [target, behind, returnTo] = [orUndefined(next()), orUndefined(next()), orUndefined(next())];
    const flags = next();
    const guessCount = next();
    const guesses = guessCount === 0 ? noGuesses : Array.from({ length: guessCount }, next);
    const dispatches = (flags & Flag.dispatches) !== 0;
    const entered = (flags & Flag.entered) !== 0;
    list.push({ offset, steps: steps(offset, count), target, guesses, behind, returnTo, dispatches, entered });
  }
  return { blocks: list, restricted, narrow };
}
