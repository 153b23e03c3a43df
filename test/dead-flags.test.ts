/** Flags that are set again before anything could see them are not made; all others are. */
import { expect, test } from 'vitest';
import type { Step, Trait } from '../src/engine/translator/discover.ts';
import { deadFlags } from '../src/engine/translator/flag-flow.ts';
import { vectorKind } from '../src/engine/translator/flag-kind.ts';

const nothing = { translated: true, flags: undefined, readsFlags: false, leaves: false };
const traits: Readonly<Record<string, Trait>> = {
  add: { ...nothing, flags: vectorKind },
  mov: nothing,
  load: { ...nothing, leaves: true },
  addFromMemory: { ...nothing, flags: vectorKind, leaves: true },
  inc: { ...nothing, flags: vectorKind, readsFlags: true },
  jcc: { ...nothing, readsFlags: true },
};
const deadIn = (...names: string[]): string[] => {
  const steps = names.map((name) => ({ trait: traits[name] }) as Step);
  return names.filter((name, n) => traits[name]?.flags && deadFlags(steps)[n]);
};

test('flags that the next instruction sets again are dead', () => expect(deadIn('add', 'mov', 'inc', 'add', 'jcc')).toEqual(['inc']));
test('an access to memory may leave the region, with the flags of before', () => {
  expect(deadIn('add', 'load', 'add')).toEqual([]);
  expect(deadIn('add', 'addFromMemory')).toEqual([]);
  expect(deadIn('load', 'add', 'mov', 'add')).toEqual(['add']);
});
test('what keeps some of the flags needs them, and what ends a block leaves them', () => {
  expect(deadIn('add', 'inc')).toEqual([]);
  expect(deadIn('mov', 'add')).toEqual([]);
});
