/**
 * Which way a branch mostly goes: an engine that knows puts the other way's code out of line, and keeps values in registers for this one.
 * https://github.com/WebAssembly/branch-hinting. Until the bytes of a module are made, a hint stands in bits above the byte of its `if` or `br_if`.
 */
export type Hint = 'likely' | 'unlikely' | undefined;

const bits = { unlikely: 0x100, likely: 0x200 } as const;
const bitsShift = 8;

/** An `if` or `br_if` whose condition is likely, or unlikely, to hold. */
export const hinted = (op: number, hint: Hint): number => (hint ? op | bits[hint] : op);

export const hintsSectionName = 'metadata.code.branch_hint';
/** The branches of a function that have hints: where they are, from the start of the function's body, and 0 for unlikely, 1 for likely. */
export function hintsOf(code: ArrayLike<number>, localsBytes: number): readonly (readonly [at: number, value: number])[] {
  const hints: [number, number][] = [];
  for (let at = 0; at < code.length; at++) {
    const hint = (code[at] as number) >> bitsShift;
    if (hint !== 0) hints.push([localsBytes + at, hint - 1]);
  }
  return hints;
}
