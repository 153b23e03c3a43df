/** What is known of instructions before their code is made, by shape. */
import type { Decoded } from '../../isa/decode.ts';
import { ShapeMap } from '../interpreter/shapes.ts';
import type { Trait } from './discover.ts';
import { traitOf } from './trait.ts';

/** What decides, beside the shape, whether and how an instruction is translated: a shift's count as far as it is looked at, a control register's number. */
const constantKind = ({ immediates, row, operands }: Decoded): number => {
  if (immediates.length > 0 && row.operands.includes('Ib')) return Number((immediates[0] ?? 0n) & 63n);
  return operands.find((o) => o.kind === 'control')?.number ?? 0;
};

export class Traits {
  readonly #plain = new ShapeMap<Trait>();
  readonly #restricted = new ShapeMap<Trait>();

  /** `restricted`: floating point may be off. */
  of(decoded: Decoded, restricted: boolean): Trait {
    const traits = restricted ? this.#restricted : this.#plain;
    const kind = constantKind(decoded);
    let trait = traits.get(decoded, kind);
    if (!trait) {
      trait = traitOf(decoded, restricted);
      traits.set(decoded, trait, kind);
    }
    return trait;
  }
  clear(): void {
    this.#plain.clear();
    this.#restricted.clear();
  }
}
