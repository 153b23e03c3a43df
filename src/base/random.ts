/** Seeded random numbers: splitmix64 (Steele, Lea and Flood, 2014). The same seed gives the same run. */
const all = (1n << 64n) - 1n;

export class SeededRandom {
  state: { value: bigint };
  constructor(seed: bigint) {
    this.state = { value: seed & all };
  }
  next64(): bigint {
    const { state } = this;
    state.value = (state.value + 0x9e37_79b9_7f4a_7c15n) & all;
    let z = state.value;
    z = ((z ^ (z >> 30n)) * 0xbf58_476d_1ce4_e5b9n) & all;
    z = ((z ^ (z >> 27n)) * 0x94d0_49bb_1331_11ebn) & all;
    return z ^ (z >> 31n);
  }
  /** An integer from 0 to n - 1; n at most 2^32. */
  below(n: number): number {
    return Number(this.next64() % BigInt(n));
  }
  bytes(count: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length: count }, () => Number(this.next64() & 0xffn));
  }
}
