/** Parts whose state is plain data: numbers, bigints, booleans, strings, typed arrays, and objects and arrays of these. */

export interface Stateful {
  state: object;
}

/** What a saved state cannot be taken from: another version's, or a damaged one. */
export class StateMismatch extends Error {}

/** As JSON; infinity is null. `restoreState` needs no tags, since the part that takes it knows its types. */
export const stateText = (state: object): string =>
  JSON.stringify(state, (_key, value: unknown) => {
    if (typeof value === 'bigint') return value.toString();
    return ArrayBuffer.isView(value) ? Array.from(value as Uint8Array) : value;
  });

/** Gives a part the state that another of its kind had, as parsed from its text. Throws StateMismatch, with where it does not fit. */
export function restoreState(part: Stateful, saved: unknown, name: string): void {
  part.state = adopted(part.state, saved, name) as object;
}

/** `own` with the saved values; objects and typed arrays stay who they are, because others look at them. */
function adopted(own: unknown, saved: unknown, name: string): unknown {
  const fits = (condition: boolean): void => {
    if (!condition) throw new StateMismatch(`${name} does not fit`);
  };
  switch (typeof own) {
    case 'number':
      fits(typeof saved === 'number' || saved === null);
      return saved ?? Number.POSITIVE_INFINITY;
    case 'bigint':
      fits(typeof saved === 'string' && /^-?\d{1,20}$/.test(saved));
      return BigInt(saved as string);
    case 'boolean':
    case 'string':
      fits(typeof saved === typeof own);
      return saved;
  }
  if (ArrayBuffer.isView(own)) {
    const target = own as Uint8Array;
    fits(Array.isArray(saved) && saved.length === target.length && saved.every(Number.isInteger));
    target.set(saved as number[]);
    return target;
  }
  if (Array.isArray(own)) return adoptedArray(own, saved, name);
  fits(typeof saved === 'object' && saved !== null && !Array.isArray(saved));
  const target = own as Record<string, unknown>;
  for (const key of Object.keys(target)) target[key] = adopted(target[key], (saved as Record<string, unknown>)[key], `${name}.${key}`);
  return target;
}
/** A list that is empty at power-on waits for numbers, as many as there are; others keep their length. */
function adoptedArray(own: readonly unknown[], saved: unknown, name: string): unknown[] {
  if (!Array.isArray(saved)) throw new StateMismatch(`${name} does not fit`);
  if (own.length === 0) return saved.map((value, n) => adopted(0, value, `${name}.${n}`));
  if (saved.length !== own.length) throw new StateMismatch(`${name} does not fit`);
  return own.map((each, n) => adopted(each, saved[n], `${name}.${n}`));
}
