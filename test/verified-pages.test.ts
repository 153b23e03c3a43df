/** Which pages of code a region need not look up again: what every way to a block went through. */
import { expect, test } from 'vitest';
import type { Block } from '../src/engine/translator/discover.ts';
import { VerifiedPages } from '../src/engine/translator/verified-pages.ts';

/** Blocks by their pages; the first one is entered, and those that are named. */
function pagesOf(pages: readonly number[], next: readonly (readonly number[])[], entered: readonly number[] = []) {
  const blocks = pages.map((page, n) => ({ offset: page * 4096 + 16 * n, entered: n === 0 || entered.includes(n) }) as Block);
  return new VerifiedPages(
    blocks,
    next,
    pages.map((_, n) => n),
  );
}

test('another page is looked up once, and the way back needs no look', () => {
  const verified = pagesOf([0, 1, 0, 1], [[1], [2], [3], []]);
  expect(verified.has(0, 1)).toBe(false);
  expect(verified.has(1, 2)).toBe(true);
  expect(verified.has(2, 3)).toBe(true);
});
test('where ways meet only what all of them went through is known', () => {
  const verified = pagesOf([0, 1, 2, 0, 1], [[1, 2], [3], [3], [4], []]);
  expect(verified.has(1, 3)).toBe(true);
  expect(verified.has(3, 4)).toBe(false);
});
test('a loop knows what was known before it, not what its end has seen', () => {
  const verified = pagesOf([0, 1, 2, 1], [[1], [2], [3, 1], []]);
  expect(verified.has(1, 2)).toBe(false);
  expect(verified.has(2, 3)).toBe(true);
});
test('who comes in from outside has seen his own page only', () => {
  const verified = pagesOf([0, 1, 0], [[1], [2], []], [1]);
  expect(verified.has(1, 2)).toBe(false);
});
test('a region of very many pages looks up those that are too many', () => {
  const pages = [...Array.from({ length: 40 }, (_, n) => n), 5, 39];
  const verified = pagesOf(
    pages,
    pages.map((_, n) => (n + 1 < pages.length ? [n + 1] : [])),
  );
  expect(verified.has(39, 40)).toBe(true);
  expect(verified.has(40, 41)).toBe(false);
});
