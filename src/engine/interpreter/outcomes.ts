/**
 * What the record of a conditional jump remembers, as 32 bits: whether it ever was taken, whether control ever went on behind it, and below these
 * two a bit for each of its last outcomes, up to 29, the latest lowest, with a 1 above them.
 */

/** Of a jump that was never executed. */
export const noOutcomes = 1;
/** Bits to set after an outcome, and which of the bits before stay where they are. */
export const everTaken = 1 << 30;
export const everOn = 1 << 31;
export const everBits = everTaken | everOn;

/** Which part of the last times either way was gone; undefined when the jump was never executed. */
export interface Parts {
  readonly taken: number;
  readonly on: number;
}
/** What was gone at all counts as this part at least. */
const leastPart = 1 / 64;

export function partsOf(outcomes: number): Parts | undefined {
  if (outcomes === noOutcomes) return undefined;
  const latest = outcomes & ~everBits;
  const count = latest === 0 ? 29 : 31 - Math.clz32(latest);
  let ones = latest === 0 ? 0 : -1;
  for (let bits = latest; bits !== 0; bits &= bits - 1) ones++;
  const part = (times: number, ever: number): number => ((outcomes & ever) === 0 ? 0 : Math.max(leastPart, times / Math.max(1, count)));
  return { taken: part(ones, everTaken), on: part(count - ones, everOn) };
}
