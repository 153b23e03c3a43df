/**
 * Where large pages were translated lately. The software TLB has them in pieces of 4 KiB, and INVLPG of one address drops all pieces of its page.
 * SDM 3A, 4.10.2.3 and 4.10.4.1.
 */

/** Bits of an address within what goes together: a page of 4 KiB, 4 MiB with pages of 2 or 4, a page of 1 GiB. */
export const PageBits = { small: 12, large: 22, gigantic: 30 } as const;
export type PageBits = (typeof PageBits)[keyof typeof PageBits];
export type LargePageBits = Exclude<PageBits, typeof PageBits.small>;

const places = 1024;

export class LargePages {
  /** By a hash of the address: whether there was such a page. */
  readonly #bits = { [PageBits.large]: new Uint8Array(places), [PageBits.gigantic]: new Uint8Array(places) };
  #any = false;

  note(low: number, high: number, bits: LargePageBits): void {
    this.#any = true;
    this.#bits[bits][placeOf(low, high, bits)] = 1;
  }
  /** What may have been the page at an address. */
  at(low: number, high: number): PageBits {
    if (!this.#any) return PageBits.small;
    for (const bits of [PageBits.gigantic, PageBits.large] as const) if (this.#bits[bits][placeOf(low, high, bits)] !== 0) return bits;
    return PageBits.small;
  }
  clear(): void {
    if (!this.#any) return;
    this.#any = false;
    this.#bits[PageBits.large].fill(0);
    this.#bits[PageBits.gigantic].fill(0);
  }
}
const placeOf = (low: number, high: number, bits: number): number => ((low >>> bits) ^ (Math.imul(high, 0x9e37_79b1) >>> bits)) & (places - 1);
