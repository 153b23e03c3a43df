/** A region's code as the guest has it now: the pages around its first one, what the interpreter knows of their places, and what is to be entered. */
import type { Processor } from '../../cpu/processor.ts';
import type { Decoded } from '../../isa/decode.ts';
import { pageBytes } from '../../memory/pool.ts';
import type { Interpreter } from '../interpreter/interpreter.ts';
import type { Parts } from '../interpreter/outcomes.ts';
import { type Code, pageOf, type Trait } from './discover.ts';
import type { CodeRange } from './library.ts';
import type { Traits } from './traits.ts';

/** So many targets of a computed jump are remembered. */
const targetsMax = 24;

/** How far apart the pages of a region may lie. */
const distanceMax = 1n << 31n;

/** Hot places of a page, with its guest-virtual address and the code mode when they were met. */
export interface Hot {
  readonly address: bigint;
  readonly mode: number;
  readonly offsets: Set<number>;
}
/** What there is of regions, made or to be made. */
interface Regions {
  /** Where the computed jump at a place has gone, as distances from it. */
  targetsOf(page: number, offset: number): Set<number>;
  /** Whether a region that has this place should be entered there. */
  isWanted(page: number, offset: number): boolean;
}

/** The pages around a region's first page, as the code TLB has them. */
export class PageView implements Code {
  readonly restricted: boolean;
  readonly #p: Processor;
  readonly #interpreter: Interpreter;
  readonly #regions: Regions;
  readonly #first: number;
  readonly #address: bigint;
  /** The code mode, as names of pages have it. */
  readonly mode: number;
  readonly #codeMode: number;
  readonly #pages = new Map<number, number | undefined>();
  readonly #traits: Traits;

  constructor(
    p: Processor,
    interpreter: Interpreter,
    regions: Regions,
    traits: Traits,
    page: number,
    { address, mode }: Pick<Hot, 'address' | 'mode'>,
  ) {
    this.#p = p;
    this.#interpreter = interpreter;
    this.#regions = regions;
    this.#traits = traits;
    this.#first = page;
    this.#address = address;
    this.mode = page & 7;
    this.#codeMode = mode;
    this.restricted = (page & 4) !== 0;
  }
  /** Frame * 8 + mode of a page, counted from the region's first; undefined when it is not known now. */
  page(number: number): number | undefined {
    if (number === 0) return this.#first;
    if (!this.#pages.has(number)) {
      const found = this.#interpreter.pages.pageAt(this.#address + BigInt(number * pageBytes), this.#codeMode);
      this.#pages.set(number, found !== undefined && (found & 7) === (this.#first & 7) ? found : undefined);
    }
    return this.#pages.get(number);
  }
  /** Guest-virtual. */
  address(offset: number): bigint {
    return BigInt.asUintN(64, this.#address + BigInt(offset));
  }
  /** As a page and an offset in it. */
  place(offset: number): readonly [page: number | undefined, offset: number] {
    const number = pageOf(offset);
    return [this.page(number), offset - number * pageBytes];
  }
  /** Those of some offsets whose pages are known. */
  places(offsets: readonly number[]): readonly (readonly [page: number, offset: number])[] {
    const places: (readonly [page: number, offset: number])[] = [];
    for (const offset of offsets) {
      const [page, within] = this.place(offset);
      if (page !== undefined) places.push([page, within]);
    }
    return places;
  }
  /** A copy of the bytes in a range. */
  bytes({ page, start, end }: CodeRange): Uint8Array {
    const base = Math.floor((this.page(page) ?? 0) / 8) * pageBytes;
    return this.#p.v.pool.bytes.slice(base + start, base + end);
  }
  /** Whether these are the bytes in a range. */
  has({ page, start }: CodeRange, bytes: Uint8Array): boolean {
    const found = this.page(page);
    if (found === undefined) return false;
    const memory = this.#p.v.pool.bytes;
    const base = Math.floor(found / 8) * pageBytes + start;
    for (let n = 0; n < bytes.length; n++) if (memory[base + n] !== bytes[n]) return false;
    return true;
  }
  at(offset: number): Decoded | undefined {
    const [page, within] = this.place(offset);
    if (page === undefined) return undefined;
    const start = Math.floor(page / 8) * pageBytes;
    const decoded = this.#p.decoder.decode(this.#p.v.pool.bytes, start + within, start + pageBytes, 64);
    return typeof decoded === 'string' ? undefined : decoded;
  }
  trait(decoded: Decoded): Trait {
    return this.#traits.of(decoded, this.restricted);
  }
  learned(offset: number): readonly number[] {
    const [page, within] = this.place(offset);
    if (page === undefined) return [];
    const distances: number[] = [];
    for (const address of this.#interpreter.learned(page, within)) {
      const distance = BigInt.asIntN(64, address - this.#address);
      if (distance > -distanceMax && distance < distanceMax) distances.push(Number(distance));
    }
    return distances;
  }
  targets(offset: number): readonly number[] {
    const [page, within] = this.place(offset);
    if (page === undefined) return [];
    for (const target of this.learned(offset)) this.noteTarget(offset, target);
    return [...this.#regions.targetsOf(page, within)].map((distance) => offset + distance);
  }
  noteTarget(offset: number, target: number): void {
    const [page, within] = this.place(offset);
    if (page === undefined) return;
    const known = this.#regions.targetsOf(page, within);
    if (known.size < targetsMax) known.add(target - offset);
  }
  outcomes(offset: number): Parts | undefined {
    const [page, within] = this.place(offset);
    return page === undefined ? undefined : this.#interpreter.outcomes(page, within);
  }
  isCounted(offset: number): boolean {
    const [page, within] = this.place(offset);
    return page !== undefined && this.#interpreter.isCounted(page, within);
  }
  heat(offset: number): number {
    const [page, within] = this.place(offset);
    return page === undefined ? 0 : this.#interpreter.heat(page, within);
  }
  isWanted(offset: number): boolean {
    const [page, within] = this.place(offset);
    return page !== undefined && this.#regions.isWanted(page, within);
  }
}
