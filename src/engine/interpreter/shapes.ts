/** What is kept for each shape of instruction, found without making the shape's key. */
import type { Decoded } from '../../isa/decode.ts';
import type { Instruction } from '../../isa/instruction.ts';
import { hasIndex, isFarRelative } from './handler.ts';

const sizeNumbers: Readonly<Record<number, number>> = { 8: 0, 16: 1, 32: 2, 64: 3 };

/** More than any of `variant`. */
const variants = 2 ** 25;
/** All that can make two instructions of a row differ in shape. */
function variant(d: Decoded): number {
  const { form } = d;
  const sizes = ((sizeNumbers[form.size] ?? 0) << 2) | (sizeNumbers[form.addressSize] ?? 0);
  const flags = (form.long ? 1 : 0) | (d.memory ? 2 : 0) | (isFarRelative(d) ? 4 : 0) | ((form.rep & 3) << 3) | (hasIndex(d) ? 32 : 0);
  return (((sizes << 6) | flags) << 15) | (form.condition << 11) | (form.segment << 8) | form.immediate;
}

export class ShapeMap<T> {
  readonly #rows = new Map<Instruction, Map<number, T>>();

  /** `kind`, 0 to 63: what else the value depends on. */
  get(d: Decoded, kind = 0): T | undefined {
    return this.#rows.get(d.row)?.get(variant(d) + kind * variants);
  }
  set(d: Decoded, value: T, kind = 0): void {
    let values = this.#rows.get(d.row);
    if (!values) {
      values = new Map();
      this.#rows.set(d.row, values);
    }
    values.set(variant(d) + kind * variants, value);
  }
  clear(): void {
    this.#rows.clear();
  }
}
