/** A VMCS region: 4 KiB of guest memory, in which the fields have fixed places. The page is the truth; nothing is cached. */
import { type FramePool, pageBytes } from '../memory/pool.ts';
import { fieldDescriptions } from './fields.ts';

/** Where in the region what lies, in bytes: the revision and the abort indicator have their architectural places. */
const abortOffset = 4;
const launchedOffset = 8;
const fieldsOffset = 0x40;

/** Bit 31 of the revision word: a shadow VMCS. */
export const shadowIndicator = 0x8000_0000;

export class Vmcs {
  readonly #pool: FramePool;
  readonly #quads: BigUint64Array<ArrayBuffer>;
  /** The frame of the region; 0: none. */
  #frame = 0;
  #quad = 0;
  #word = 0;

  constructor(pool: FramePool, quads: BigUint64Array<ArrayBuffer>) {
    this.#pool = pool;
    this.#quads = quads;
  }
  get frame(): number {
    return this.#frame;
  }
  select(frame: number): void {
    this.#frame = frame;
    this.#quad = (frame * pageBytes + fieldsOffset) >>> 3;
    this.#word = (frame * pageBytes + fieldsOffset) >>> 2;
  }

  get(field: number): bigint {
    return this.#quads[this.#quad + field] ?? 0n;
  }
  set(field: number, value: bigint): void {
    this.#quads[this.#quad + field] = value;
  }
  /** The low 32 bits, unsigned. */
  get32(field: number): number {
    return (this.#pool.words[this.#word + 2 * field] ?? 0) >>> 0;
  }
  set32(field: number, value: number): void {
    this.#pool.words[this.#word + 2 * field] = value;
    this.#pool.words[this.#word + 2 * field + 1] = 0;
  }

  /** All fields of another region. */
  copyFrom(other: Vmcs): void {
    this.#quads.copyWithin(this.#quad, other.#quad, other.#quad + fieldDescriptions.length);
  }
  copyFields(other: Vmcs, places: readonly number[]): void {
    const { words } = this.#pool;
    for (const place of places) {
      words[this.#word + 2 * place] = words[other.#word + 2 * place] ?? 0;
      words[this.#word + 2 * place + 1] = words[other.#word + 2 * place + 1] ?? 0;
    }
  }
  get revision(): number {
    return this.#pool.view.getUint32(this.#frame * pageBytes, true);
  }
  get isShadow(): boolean {
    return (this.revision & shadowIndicator) !== 0;
  }
  set abort(code: number) {
    this.#pool.view.setUint32(this.#frame * pageBytes + abortOffset, code, true);
  }
  get launched(): boolean {
    return this.#pool.view.getUint32(this.#frame * pageBytes + launchedOffset, true) === 1;
  }
  set launched(on: boolean) {
    this.#pool.view.setUint32(this.#frame * pageBytes + launchedOffset, on ? 1 : 2, true);
  }
}

/** Places of fields by encoding (without the access type); -1: there is no such field. */
export const placeOf: Int16Array = new Int16Array(0x8000).fill(-1);
fieldDescriptions.forEach((f, n) => {
  placeOf[f.encoding] = n;
});
