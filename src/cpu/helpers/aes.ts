/** AES rounds as AESENC and its relatives do them. FIPS 197; SDM 1, 12.13. */

const multiplyBy2 = (n: number): number => ((n << 1) ^ (n & 0x80 ? 0x11b : 0)) & 0xff;
function multiply(a: number, b: number): number {
  let [product, x, y] = [0, a, b];
  while (y !== 0) {
    if (y & 1) product ^= x;
    x = multiplyBy2(x);
    y >>= 1;
  }
  return product;
}
function makeBox(): Uint8Array {
  const box = new Uint8Array(256);
  for (let n = 0; n < 256; n++) {
    let inverse = 0;
    for (let m = 1; m < 256 && n !== 0; m++) if (multiply(n, m) === 1) inverse = m;
    let s = inverse;
    for (let k = 1; k <= 4; k++) s ^= ((inverse << k) | (inverse >> (8 - k))) & 0xff;
    box[n] = s ^ 0x63;
  }
  return box;
}
const forward = makeBox();
const backward = Uint8Array.from({ length: 256 }, (_, n) => forward.indexOf(n));

const toBytes = (value: bigint): number[] => Array.from({ length: 16 }, (_, n) => Number((value >> BigInt(8 * n)) & 0xffn));
const fromBytes = (bytes: readonly number[]): bigint => bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
const mix = (state: readonly number[], row: readonly [number, number, number, number]): number[] =>
  state.map((_, n) => {
    const column = n & ~3;
    return [0, 1, 2, 3].reduce((sum, k) => sum ^ multiply(state[column + k] ?? 0, row[(k - (n & 3) + 4) & 3] ?? 0), 0);
  });
const shiftRows = (state: readonly number[], direction: 1 | -1): number[] => state.map((_, n) => state[(n + direction * 4 * (n & 3)) & 15] ?? 0);
const substitute = (state: readonly number[], box: Uint8Array): number[] => state.map((byte) => box[byte] ?? 0);
const columns = [2, 3, 1, 1] as const;
const inverseColumns = [14, 11, 13, 9] as const;

function keyAssist(source: bigint, constant: number): bigint {
  const word = (n: number): number => Number((source >> BigInt(32 * n)) & 0xffff_ffffn);
  const sub = (w: number): number => [0, 8, 16, 24].reduce((out, shift) => (out | ((forward[(w >>> shift) & 0xff] ?? 0) << shift)) >>> 0, 0);
  const rotate = (w: number): number => ((w >>> 8) | (w << 24)) >>> 0;
  const [x1, x3] = [sub(word(1)), sub(word(3))];
  return BigInt(x1) | (BigInt((rotate(x1) ^ constant) >>> 0) << 32n) | (BigInt(x3) << 64n) | (BigInt((rotate(x3) ^ constant) >>> 0) << 96n);
}

/** kind * 2 + half: 0 inverse mix columns, 1 encrypt, 2 last encrypt, 3 decrypt, 4 last decrypt, 5 key assist. Returns that half. */
export function aesRound(code: number, state: bigint, key: bigint): bigint {
  const s = toBytes(state);
  const result = ((): bigint => {
    switch (code >> 1) {
      case 0: return fromBytes(mix(s, inverseColumns));
      case 1: return fromBytes(mix(substitute(shiftRows(s, 1), forward), columns)) ^ key;
      case 2: return fromBytes(substitute(shiftRows(s, 1), forward)) ^ key;
      case 3: return fromBytes(mix(substitute(shiftRows(s, -1), backward), inverseColumns)) ^ key;
      case 4: return fromBytes(substitute(shiftRows(s, -1), backward)) ^ key;
      default: return keyAssist(state, Number(key & 0xffn));
    }
  })();
  return (code & 1) === 0 ? result & 0xffff_ffff_ffff_ffffn : result >> 64n;
}
