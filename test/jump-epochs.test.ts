/** Epochs of the jump cache: no key comes again before the cache is cleared. */
import { expect, test } from 'vitest';
import { JumpEpochs } from '../src/cpu/jump-epochs.ts';
import { jumpCacheOffset, offsetOf, userCode, vcpuAreaBytes } from '../src/cpu/state.ts';

const base = 64;
const words = new Int32Array((base + vcpuAreaBytes) / 4);
const at = (offset: number): number => (base + offset) / 4;
const key = (): number => words[at(offsetOf('jumpKey'))] ?? 0;
const runAs = (epochs: JumpEpochs, mode: number): number => {
  words[at(offsetOf('codeMode'))] = mode;
  epochs.refresh();
  return key();
};

test('each level has its own', () => {
  const epochs = new JumpEpochs(words, base);
  epochs.drop('all');
  const [kernel, user] = [runAs(epochs, 2), runAs(epochs, 2 | userCode)];
  expect(kernel & 0xff).toBe(2);
  expect(user & 0xff).toBe(2 | userCode);
  epochs.drop('user');
  expect(runAs(epochs, 2)).toBe(kernel);
  expect(runAs(epochs, 2 | userCode)).not.toBe(user);
  epochs.dropCurrent();
  expect(runAs(epochs, 2)).toBe(kernel);
  epochs.drop('supervisor');
  expect(runAs(epochs, 2)).not.toBe(kernel);
});
test('when the numbers are used up, the cache is cleared and both levels begin anew', () => {
  const epochs = new JumpEpochs(words, base);
  epochs.drop('all');
  const kernel = runAs(epochs, 2);
  words[at(jumpCacheOffset)] = 7;
  let drops = 0;
  for (let before = 0; ; drops++) {
    epochs.drop('user');
    const now = words[at(offsetOf('jumpEpoch', 1))] ?? 0;
    if (now < before) break;
    before = now;
  }
  expect(drops).toBeGreaterThan(8_000_000);
  expect(words[at(jumpCacheOffset)]).toBe(-1);
  expect(runAs(epochs, 2)).toBe(kernel); // the first number, of entries that are gone
  expect(runAs(epochs, 2)).not.toBe(runAs(epochs, 2 | userCode));
});
