/** Whose part of the jump cache a change of CR3 drops. */
import { expect, test } from 'vitest';
import { FilledEntries } from '../src/cpu/filled.ts';
import type { JumpLevels } from '../src/cpu/jump-epochs.ts';
import { userCode } from '../src/cpu/state.ts';

const [dataPlace, codePlace, otherPlace] = [0, 16, 20];
const [kernel, user] = [0x1002, 0x1002 | userCode];

function entries(contexts = 1) {
  const words = new Int32Array(32).fill(-1);
  const dropped: JumpLevels[] = [];
  const filled = Array.from({ length: contexts }, (_, n) => new FilledEntries(words, n, 8, codePlace, (levels) => dropped.push(levels)));
  const fill = (context: number, place: number, tag: number, global: boolean): void => {
    words[place] = tag;
    filled[context]?.noteCode(place, global, tag & 0xff);
  };
  return { words, dropped, filled, fill };
}

test('the kernel keeps its own while its pages are global', () => {
  const { words, dropped, filled, fill } = entries();
  fill(0, codePlace, kernel, true);
  fill(0, otherPlace, user, false);
  words[dataPlace] = 0x1000;
  filled[0]?.note(dataPlace, false);
  filled[0]?.flushLocal();
  expect([words[codePlace], words[otherPlace], words[dataPlace]]).toEqual([kernel, -1, -1]);
  filled[0]?.flush();
  expect(dropped).toEqual(['user', 'all']);
});
test('a page of the kernel that is not global, also when another has taken its place', () => {
  const { dropped, filled, fill } = entries();
  fill(0, codePlace, kernel, false);
  fill(0, codePlace, user, false);
  for (let n = 0; n < 2; n++) filled[0]?.flushLocal();
  expect(dropped).toEqual(['all', 'user']);
});
test.each([
  ['of the program', 0],
  ['of another context', 1],
])('a global page of the kernel in the place of one %s leaves the code TLB with that', (_name, context) => {
  const { words, dropped, filled, fill } = entries(2);
  fill(context, codePlace, user, false);
  fill(0, codePlace, kernel, true);
  filled[context]?.flushLocal();
  expect(words[codePlace]).toBe(-1);
  expect(dropped).toEqual(['all']);
});
