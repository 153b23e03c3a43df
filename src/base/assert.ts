/** Our own mistakes: always checked, and they stop the domain, never the guest's business. */

export class Bug extends Error {}

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Bug(message);
}

/** A value that the surrounding code knows to exist. */
export function present<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new Bug(`missing ${what}`);
  return value;
}
