/** PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM. The forms for bytes that give an index are what string functions use. SDM 2B, 4.1. */
import type { Instruction } from '../instruction.ts';
import type { Form, Meaning, Ops, Size } from '../ops.ts';
import { row } from '../table.ts';

const all = 0xffff;

/** One bit for each byte that counts: those before the first zero, or as many as a register says, whatever its sign. */
function implicit<V>(o: Ops<V>, text: V): V {
  const zeros = o.vector1('i8x16.bitmask', o.vector2('i8x16.eq', text, o.vector(o.constant(0), o.constant(0))));
  const wide = o.zeroExtend(zeros, 16);
  return o.and(o.sub(o.and(wide, o.sub(o.constant(0), wide)), o.constant(1)), o.constant(all));
}
function explicit<V>(o: Ops<V>, register: number, size: Size): V {
  const length = o.signExtend(o.register(register, size), size);
  const sign = o.sar(length, o.constant(63));
  const magnitude = o.sub(o.xor(length, sign), sign);
  const few = o.ltu(magnitude, o.constant(16));
  return o.select(few, o.sub(o.shl(o.constant(1), magnitude), o.constant(1)), o.constant(all));
}

/** Bits where b matches, before the polarity: by the four ways to aggregate. */
function aggregate<V>(o: Ops<V>, control: number, a: V, b: V, validA: V, validB: V): V {
  const mask = (v: V): V => o.zeroExtend(o.vector1('i8x16.bitmask', v), 16);
  const element = (n: number): V => o.vector1('i8x16.splat', o.lane(a, 8, n));
  /** All ones when element n of a counts. */
  const counts = (n: number): V => o.sub(o.constant(0), o.and(o.shr(validA, o.constant(n)), o.constant(1)));
  const inverted = (v: V): V => o.xor(v, o.constant(all));
  const bias = o.vector(o.constant(0x8080_8080_8080_8080n), o.constant(0x8080_8080_8080_8080n));
  const signed = (v: V): V => ((control & 2) !== 0 ? v : o.vector2('v128.xor', v, bias));
  switch ((control >> 2) & 3) {
    case 0: {
      let found = o.constant(0);
      for (let n = 0; n < 16; n++) found = o.or(found, o.and(mask(o.vector2('i8x16.eq', element(n), b)), counts(n)));
      return o.and(found, validB);
    }
    case 1: {
      let found = o.constant(0);
      for (let n = 0; n < 16; n += 2) {
        const below = o.vector2('i8x16.gt_s', signed(element(n)), signed(b));
        const above = o.vector2('i8x16.gt_s', signed(b), signed(element(n + 1)));
        found = o.or(found, o.and(inverted(mask(o.vector2('v128.or', below, above))), counts(n + 1)));
      }
      return o.and(found, validB);
    }
    case 2: {
      const same = o.and(o.and(mask(o.vector2('i8x16.eq', a, b)), validA), validB);
      return o.or(same, inverted(o.or(validA, validB)));
    }
    default: {
      let found = o.constant(all);
      for (let n = 0; n < 16; n++) {
        const same = o.and(mask(o.vector2('i8x16.eq', element(n), b)), validB);
        const here = o.or(o.shr(same, o.constant(n)), o.constant(all & (all << (16 - n))));
        found = o.and(found, o.or(here, o.xor(counts(n), o.constant(-1))));
      }
      return found;
    }
  }
}

function indexOfBytes<V>(o: Ops<V>, control: number, a: V, b: V, validA: V, validB: V): void {
  const aggregated = aggregate(o, control, a, b, validA, validB);
  const polarity = (control >> 4) & 3;
  const found = polarity === 1 ? o.xor(aggregated, o.constant(all)) : polarity === 3 ? o.xor(aggregated, validB) : aggregated;
  const index = (control & 0x40) !== 0 ? o.sub(o.constant(63), o.clz(found)) : o.ctz(found);
  o.setRegister(1, 32, o.select(found, index, o.constant(16)));
  const flag = (value: V, n: number): V => o.shl(value, o.constant(n));
  const ended = (valid: V): V => o.ne(valid, o.constant(all));
  o.loadStatusFlags(o.or(o.or(o.ne(found, o.constant(0)), flag(ended(validB), 6)), flag(ended(validA), 7)));
  o.setFlagBits({ overflow: o.and(found, o.constant(1)) });
}

const strings = (hasLengths: boolean, givesMask: boolean): Meaning => (o, form, first, second) => {
  const { immediate } = form;
  const [a, b] = [first.read(), second.read()];
  const lengthSize: Size = form.size === 64 ? 64 : 32;
  if (!givesMask && (immediate & 1) === 0) {
    const valid = (text: typeof a, register: number): typeof a => (hasLengths ? explicit(o, register, lengthSize) : implicit(o, text));
    return indexOfBytes(o, immediate, a, b, valid(a, 0), valid(b, 2));
  }
  general(o, form, a, b, hasLengths, givesMask);
};
function general<V>(o: Ops<V>, { immediate, size }: Form, a: V, b: V, hasLengths: boolean, givesMask: boolean): void {
  const half = (v: V, n: number): V => o.lane(v, 64, n);
  const control = immediate | (hasLengths ? 0x100 : 0) | (size === 64 ? 0x200 : 0);
  const result = o.helper('compareStrings', half(a, 0), half(a, 1), half(b, 0), half(b, 1), o.constant(control));
  // result: bits 0-15 the mask, 16-20 the index, 24 carry, 25 zero, 26 sign, 27 overflow
  const bit = (n: number): V => o.and(o.shr(result, o.constant(n)), o.constant(1));
  const expanded = (n: number): V => o.helper('expandMask', result, o.constant(immediate), o.constant(n));
  if (givesMask) o.setXmm(0, o.vector(expanded(0), expanded(1)));
  else o.setRegister(1, 32, o.and(o.shr(result, o.constant(16)), o.constant(0x1f)));
  o.loadStatusFlags(o.or(o.or(bit(24), o.shl(bit(25), o.constant(6))), o.shl(bit(26), o.constant(7))));
  o.setFlagBits({ overflow: bit(27) });
}

const options = { prefix: 0x66, feature: 'sse4_2', immediateInShape: true } as const;
export const textFamily: readonly Instruction[] = [
  row('pcmpestrm', 0x0f3a60, 'Vx Wx Ib', strings(true, true), options),
  row('pcmpestri', 0x0f3a61, 'Vx Wx Ib', strings(true, false), options),
  row('pcmpistrm', 0x0f3a62, 'Vx Wx Ib', strings(false, true), options),
  row('pcmpistri', 0x0f3a63, 'Vx Wx Ib', strings(false, false), options),
];
