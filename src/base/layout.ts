/** Byte layouts described once: a list of fields becomes offsets that generated code, TypeScript and snapshots share. */

export interface Field {
  readonly name: string;
  /** Bytes of one element. */
  readonly size: number;
  readonly count: number;
  readonly offset: number;
}

type Spec = readonly (readonly [name: string, size: number, count?: number])[];
export type FieldNames<S extends Spec> = S[number][0];

/** Places fields one after another, each aligned to its own element size (at most 16 bytes). */
export function layout<const S extends Spec>(spec: S): { readonly fields: Readonly<Record<FieldNames<S>, Field>>; readonly size: number } {
  const fields: Record<string, Field> = {};
  let offset = 0;
  for (const [name, size, count = 1] of spec) {
    const alignment = Math.min(size, 16);
    offset = Math.ceil(offset / alignment) * alignment;
    fields[name] = { name, size, count, offset };
    offset += size * count;
  }
  return { fields: fields as Record<FieldNames<S>, Field>, size: offset };
}
