/**
 * Random programs of SSE arithmetic, most of it on normal numbers and zeros, some of it next to what is not: denormal numbers, products that are none any more, infinities
 * and NaNs. What the translator does with the host's own floating point is about these.
 */
import { SeededRandom } from '../../src/base/random.ts';
import { type CpuState, liveStart, makeCase, windowAddress } from './cases.ts';

const longest = 8;
/** Bytes of memory that hold numbers, from `liveStart` on. */
const numbersBytes = 256;
const formats = { 32: { fraction: 23, bias: 127, top: 255 }, 64: { fraction: 52, bias: 1023, top: 2047 } } as const;

/** Bits of a number. */
function number(r: SeededRandom, size: 32 | 64): bigint {
  const { fraction: bits, bias, top } = formats[size];
  const sign = BigInt(r.below(2)) << BigInt(size - 1);
  const many = r.next64() & ((1n << BigInt(bits)) - 1n);
  const kept = [bits, bits, bits - 3, 5, 1][r.below(5)] ?? bits;
  const fraction = r.below(2) === 0 ? many : (many >> BigInt(bits - kept)) << BigInt(bits - kept);
  const exponent = (n: number): bigint => sign | (BigInt(n) << BigInt(bits)) | fraction;
  const quarter = (bias + 1) >> 1;
  switch (r.below(16)) {
    case 0:
    case 1:
      return sign; // zero
    case 2:
      return exponent(1 + r.below(3));
    case 3:
      return exponent(top - 1 - r.below(3));
    case 4:
    case 5:
      return exponent(quarter + r.below(7) - 3); // products of these are denormal, or just not
    case 6:
      return exponent(bias + quarter + r.below(7) - 3);
    case 7:
      return r.below(3) === 0 ? exponent(0) : r.below(2) === 0 ? sign | (BigInt(top) << BigInt(bits)) : exponent(top);
    default:
      return exponent(bias + r.below(12) - 6);
  }
}
/** 128 bits of numbers of one size. */
function vector(r: SeededRandom, size: 32 | 64): bigint {
  let value = 0n;
  for (let at = 0; at < 128; at += size) value |= number(r, size) << BigInt(at);
  return value;
}

function instruction(r: SeededRandom, size: 32 | 64): number[] {
  const scalar = size === 64 ? [0xf2] : [0xf3];
  const packed = size === 64 ? [0x66] : [];
  const [to, from] = [r.below(8), r.below(8)];
  const registers = 0xc0 | (to << 3) | from;
  // [rax + disp8], a multiple of 16
  const operand = r.below(3) === 0 ? [0x40 | (to << 3), r.below(numbersBytes / 16) * 16 - numbersBytes / 2] : [registers];
  const bytes = (prefix: readonly number[], opcode: number, ...more: number[]): number[] => [
    ...prefix,
    0x0f,
    opcode,
    ...operand.map((b) => b & 0xff),
    ...more,
  ];
  const arithmetic = [0x58, 0x59, 0x5c, 0x5e, 0x58, 0x59, 0x51, 0x5d, 0x5f];
  switch (r.below(13)) {
    case 0:
      return bytes(packed, arithmetic[r.below(arithmetic.length)] ?? 0x58);
    case 1:
      return bytes(scalar, r.below(2) === 0 ? 0x10 : 0x11); // movsd, movss
    case 2:
      return bytes(packed, [0x28, 0x14, 0x57][r.below(3)] ?? 0x28); // movaps, unpcklps, xorps
    case 3:
      return bytes(packed, 0x2e + r.below(2)); // ucomis, comis
    case 4:
      return bytes(scalar, 0xc2, r.below(8)); // cmps
    case 5:
      return bytes(scalar, 0x5a); // to the other size
    case 6:
      return [...scalar, ...(r.below(2) === 0 ? [0x48] : []), 0x0f, [0x2a, 0x2c, 0x2d][r.below(3)] ?? 0x2a, 0xc0 | (1 << 3) | from]; // cvtsi2sd, cvttsd2si, cvtsd2si: RCX or XMM1
    case 7:
      return [0x66, 0x0f, 0x3a, size === 64 ? 0x0b : 0x0a, ...operand.map((b) => b & 0xff), r.below(16)]; // roundsd, roundss
    default:
      return bytes(scalar, arithmetic[r.below(arithmetic.length)] ?? 0x58);
  }
}

export function floatProgram(seed: number): { readonly code: Uint8Array; readonly before: CpuState } | undefined {
  const r = new SeededRandom(BigInt(seed));
  const before = makeCase(seed)?.before;
  if (!before) return undefined;
  const size = r.below(3) === 0 ? 32 : 64;
  const code: number[] = [];
  const count = 2 + r.below(longest);
  for (let n = 0; n < count; n++) code.push(...instruction(r, r.below(8) === 0 ? 64 : size));
  if (r.below(2) === 0) code.push(0x70 + r.below(16), -(code.length + 2) & 0xff); // jcc back to the start
  if (code.length % 2 === 1) code.push(0x90);
  before.gpr[0] = BigInt(windowAddress + liveStart + numbersBytes / 2);
  before.gpr[1] = [r.next64(), r.next64() >> 33n, r.next64() >> 12n, 5n][r.below(4)] ?? 0n;
  for (let n = 0; n < 16; n++) before.xmm[n] = vector(r, size);
  const view = new DataView(before.memory.buffer);
  for (let at = 0; at < numbersBytes; at += 16) {
    const value = vector(r, size);
    view.setBigUint64(liveStart + at, value & 0xffff_ffff_ffff_ffffn, true);
    view.setBigUint64(liveStart + at + 8, value >> 64n, true);
  }
  before.mxcsr = 0x1f80 | (r.below(3) === 0 ? 0 : 0x20) | (r.below(12) === 0 ? r.below(4) << 13 : 0);
  return { code: Uint8Array.from(code), before };
}
