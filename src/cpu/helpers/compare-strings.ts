/** PCMPESTRI and its three relatives. SDM 2B, 4.1. */
import type { Processor } from '../processor.ts';

interface Text {
  readonly elements: readonly number[];
  readonly length: number;
}

function elementsOf(value: bigint, control: number): number[] {
  const words = (control & 1) !== 0;
  const bits = words ? 16 : 8;
  const signed = (control & 2) !== 0;
  return Array.from({ length: words ? 8 : 16 }, (_, n) => {
    const raw = (value >> BigInt(n * bits)) & ((1n << BigInt(bits)) - 1n);
    return Number(signed ? BigInt.asIntN(bits, raw) : raw);
  });
}
function implicit(elements: number[]): Text {
  const end = elements.indexOf(0);
  return { elements, length: end < 0 ? elements.length : end };
}
function explicit(elements: number[], length: bigint): Text {
  const magnitude = length < 0n ? -length : length;
  return { elements, length: magnitude > BigInt(elements.length) ? elements.length : Number(magnitude) };
}

/** Bit j: whether element j of b matches, by the aggregation the control asks for; with its rules for elements beyond the ends. */
function aggregate(a: Text, b: Text, mode: number): number {
  const count = b.elements.length;
  const at = (t: Text, n: number): number => t.elements[n] ?? 0;
  let result = 0;
  for (let j = 0; j < count; j++) {
    let bit = false;
    switch (mode) {
      case 0: // equal any
        for (let i = 0; i < a.length; i++) bit ||= j < b.length && at(a, i) === at(b, j);
        break;
      case 1: // ranges
        for (let i = 0; i + 1 < a.length; i += 2) bit ||= j < b.length && at(b, j) >= at(a, i) && at(b, j) <= at(a, i + 1);
        break;
      case 2: // equal each
        bit = j < a.length && j < b.length ? at(a, j) === at(b, j) : j >= a.length && j >= b.length;
        break;
      default: // equal ordered: a is found in b at j
        bit = true;
        for (let i = 0; i < a.length && i + j < count; i++) bit &&= i + j < b.length && at(a, i) === at(b, i + j);
    }
    if (bit) result |= 1 << j;
  }
  return result;
}

/** Mask in bits 0 to 15, index in 16 to 20, then CF, ZF, SF, OF from bit 24 on. */
export function compareStrings(p: Processor, first: bigint, second: bigint, control: number): bigint {
  const register = (n: number): bigint => ((control & 0x200) !== 0 ? BigInt.asIntN(64, p.v.register(n)) : BigInt.asIntN(32, p.v.register(n)));
  const [ea, eb] = [elementsOf(first, control), elementsOf(second, control)];
  const [a, b] = (control & 0x100) !== 0 ? [explicit(ea, register(0)), explicit(eb, register(2))] : [implicit(ea), implicit(eb)];
  const count = eb.length;
  const all = (1 << count) - 1;
  let mask = aggregate(a, b, (control >> 2) & 3);
  const polarity = (control >> 4) & 3;
  if (polarity === 1) mask = ~mask & all;
  else if (polarity === 3) mask ^= (1 << b.length) - 1;
  const highest = (control & 0x40) !== 0;
  const index = mask === 0 ? count : highest ? 31 - Math.clz32(mask) : 31 - Math.clz32(mask & -mask);
  const flags = (mask !== 0 ? 1 : 0) | (b.length < count ? 2 : 0) | (a.length < count ? 4 : 0) | ((mask & 1) << 3);
  return BigInt(mask) | (BigInt(index) << 16n) | (BigInt(flags) << 24n);
}

/** XMM0 of the mask forms: bits as they are, or one element of ones for each. */
export function expandMask(mask: number, control: number, half: number): bigint {
  if ((control & 0x40) === 0) return half === 0 ? BigInt(mask) : 0n;
  const bits = (control & 1) !== 0 ? 16 : 8;
  const perHalf = 64 / bits;
  let out = 0n;
  for (let n = 0; n < perHalf; n++) if ((mask >> (half * perHalf + n)) & 1) out |= ((1n << BigInt(bits)) - 1n) << BigInt(n * bits);
  return out;
}
