/** The software TLB: what a flush drops, and how pages with code are written. */
import { describe, expect, test, vi } from 'vitest';
import { FilledEntries } from '../src/cpu/filled.ts';
import { PageBits } from '../src/cpu/large-pages.ts';
import { systemRead } from '../src/cpu/page-walk.ts';
import { At, secondPlaceOffset, tlbEntries, tlbSlotMask, tlbSlotShift } from '../src/cpu/state.ts';
import { Bench } from './conformance/bench.ts';
import { makeCase, windowAddress } from './conformance/cases.ts';

const entryWords = 4;
function table(entries: number) {
  const words = new Int32Array(entries * entryWords).fill(-1);
  const fill = (lists: FilledEntries, entry: number, global: boolean, frame = 1): void => {
    lists.note(entry * entryWords, global);
    const page = 0x5000;
    words.set([page, 0, frame * 4096 - page], entry * entryWords);
  };
  const filled = (): number[] => Array.from({ length: entries }, (_, n) => n).filter((n) => words[n * entryWords] !== -1);
  return { fill, filled, listsOf: (context: number) => new FilledEntries(words, context, entries, words.length, () => {}) };
}

test('a change of CR3 drops what is not global, however often entries were filled; a flush drops all', () => {
  const { fill, filled, listsOf } = table(8);
  const lists = listsOf(0);
  for (let round = 0; round < 100; round++) for (let entry = 0; entry < 8; entry++) fill(lists, entry, entry % 2 === 0);
  lists.flushLocal();
  expect(filled()).toEqual([0, 2, 4, 6]);
  fill(lists, 1, false);
  lists.flush();
  expect(filled()).toEqual([]);
});
test('an entry that was global and is not any more goes with CR3', () => {
  const { fill, filled, listsOf } = table(2);
  const lists = listsOf(3);
  fill(lists, 0, true);
  fill(lists, 0, false);
  lists.flushLocal();
  expect(filled()).toEqual([]);
  fill(lists, 0, false);
  fill(lists, 0, true);
  lists.flushLocal(); // more than necessary
  fill(lists, 1, true);
  lists.flush();
  expect(filled()).toEqual([]);
});
test('an entry that two contexts have filled goes with either', () => {
  const { fill, filled, listsOf } = table(1);
  const [one, other] = [listsOf(0), listsOf(7)];
  fill(one, 0, false);
  fill(other, 0, false);
  other.flush();
  expect(filled()).toEqual([]);
  fill(one, 0, false);
  fill(other, 0, false);
  one.flush();
  expect(filled()).toEqual([]);
});
test('a frame is dropped where it can be written, and nowhere else', () => {
  const { fill, filled, listsOf } = table(10);
  const lists = listsOf(0);
  for (let entry = 0; entry < 10; entry++) fill(lists, entry, entry % 3 === 0, entry % 2 === 0 ? 5 : 6);
  lists.dropFrame(5, 4 * entryWords, 7 * entryWords, 4 * entryWords);
  expect(filled()).toEqual([0, 1, 2, 3, 5, 7, 9]);
});

test.each([
  ['from its start loses the code of all of it', 0, 0],
  ['further on keeps the code that is not written', 64, 0x8000_0000 | 0],
])('a page that is filled %s', (_name, start, left) => {
  const bench = new Bench();
  const before = makeCase(3)?.before;
  if (!before) throw new Error('no state');
  bench.load({ code: new Uint8Array([0x90]), before });
  const { v, paging } = bench.processor;
  paging.storeSlow(windowAddress, 0, 1);
  const frame = v.space.frameOf(paging.found.page);
  const { code } = v.pool;
  code[frame * 2] = 0b11; // code in the first two pieces of 64 bytes, and in the last
  code[frame * 2 + 1] = 0x8000_0000 | 0;
  for (let offset = start; offset < start + 65; offset++) paging.storeSlow(windowAddress + offset, 0, 1);
  expect(code[frame * 2 + 1]).toBe(left);
});

describe('a large page', () => {
  const large = 0x1000_0000;
  const [first, other] = [large + 0x5000, large + 0x1f_3000].map(BigInt) as [bigint, bigint];
  const start = () => {
    const bench = new Bench();
    const { before } = makeCase(1) ?? {};
    if (!before) throw new Error('no case');
    bench.load({ code: new Uint8Array([0x90]), before });
    bench.mapLargeAt(large);
    return bench;
  };
  const isKnown = (bench: Bench, address: bigint): boolean => {
    const walk = vi.spyOn(bench.processor.paging, 'translate');
    bench.processor.paging.read(address, 8, systemRead);
    const walks = walk.mock.calls.length;
    walk.mockRestore();
    return walks === 0;
  };

  test.each([
    ['INVLPG of another address in it', (bench: Bench) => bench.processor.paging.invalidatePage(other)],
    ['INVLPG of its own address', (bench: Bench) => bench.processor.paging.invalidatePage(first)],
    [
      'INVLPG in its gibibyte, when a page of that size was there',
      (bench: Bench) => {
        bench.processor.v.filled.noteLarge(0, 0, PageBits.gigantic, true);
        bench.processor.paging.invalidatePage(BigInt(large) + 0x800_0000n);
      },
    ],
  ])('goes by %s', (_name, drop) => {
    const bench = start();
    isKnown(bench, first);
    expect(isKnown(bench, first)).toBe(true);
    drop(bench);
    expect(isKnown(bench, first)).toBe(false);
  });
  test('stays when INVLPG is of another part', () => {
    const bench = start();
    isKnown(bench, first);
    bench.processor.paging.invalidatePage(BigInt(large) + 0x40_0000n);
    expect(isKnown(bench, first)).toBe(true);
  });
  test('of which there is none any more after a flush is not looked for', () => {
    const bench = start();
    isKnown(bench, first);
    const { filled } = bench.processor.v;
    expect(filled.pageBitsAt(Number(other), 0)).toBe(PageBits.large);
    filled.flushLocal();
    expect(filled.pageBitsAt(Number(other), 0)).toBe(PageBits.small);
  });
});

describe('two pages in the TLB', () => {
  const other = windowAddress + tlbEntries * 4096;
  // 1: add [rbx], ecx; mov eax, [rbp]; add eax, [rbx]; mov [rbp], eax; dec ecx; jnz 1b; jmp .
  const loop = [0x01, 0x0b, 0x8b, 0x45, 0, 0x03, 0x03, 0x89, 0x45, 0, 0xff, 0xc9, 0x75, 0xf2, 0xeb, 0xfe];
  const rounds = 20_000;
  const instructions = 6 * rounds;
  const start = (second: number, translate = false) => {
    const bench = new Bench({ translate });
    bench.mapWindowAt(other);
    const { before } = makeCase(1) ?? {};
    if (!before) throw new Error('no case');
    before.gpr[1] = BigInt(rounds);
    before.gpr[3] = BigInt(windowAddress);
    before.gpr[5] = BigInt(second + 8);
    before.memory.fill(0);
    bench.load({ code: Uint8Array.from(loop), before });
    const { paging } = bench.processor;
    const fills = [vi.spyOn(paging, 'loadSlow'), vi.spyOn(paging, 'storeSlow')];
    return { bench, fills: () => fills.reduce((sum, spy) => sum + spy.mock.calls.length, 0) };
  };

  const sumOf = (bench: Bench): bigint => bench.processor.v.register(0);
  /** The loop's result where its two numbers lie on one page. */
  const sumApart = (translate: boolean): bigint => {
    const { bench } = start(windowAddress, translate);
    bench.runFor(instructions);
    return sumOf(bench);
  };

  test.each([false, true])('with the same place are exchanged, not filled again and again (translated: %s)', (translate) => {
    const { bench, fills } = start(other, translate);
    bench.runFor(instructions);
    expect(fills()).toBeLessThan(10);
    expect(sumOf(bench)).toBe(sumApart(translate));
  });
  test.each([
    ['INVLPG drops', (bench: Bench) => bench.processor.paging.invalidatePage(BigInt(other))],
    ['a change of CR3 drops', (bench: Bench) => bench.processor.v.filled.flushLocal()],
  ])('%s both places of two with the same', (_name, drop) => {
    const { bench, fills } = start(other);
    bench.runFor(instructions / 2);
    const before = fills();
    drop(bench);
    const { v } = bench.processor;
    const slot = (windowAddress >>> tlbSlotShift) & tlbSlotMask;
    const tags = [v.get(At.tlbRead), v.get(At.tlbWrite)].flatMap((table) =>
      [0, secondPlaceOffset].map((place) => v.words[(table + place + slot) >>> 2]),
    );
    expect(tags).toEqual([-1, -1, -1, -1]);
    bench.runFor(instructions / 2);
    expect(fills()).toBeGreaterThan(before);
  });
  test.each([false, true])('serve an access to both without a walk each time (translated: %s)', (translate) => {
    const { bench, fills } = start(windowAddress + 4096 - 2 - 8, translate);
    bench.runFor(instructions);
    expect(fills()).toBeLessThan(10);
    const sum = sumOf(bench);
    expect(sum).toBe(sumApart(translate));
    const { memory } = bench.state();
    expect([0, 1, 2, 3].map((n) => memory[4096 - 2 + n])).toEqual([0n, 8n, 16n, 24n].map((shift) => Number((sum >> shift) & 0xffn)));
  });
});
