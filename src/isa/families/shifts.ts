/** Shifts, rotates, double shifts and the BMI2 forms without flags. A count of zero leaves the flags alone. SDM 2, chapter 4. */
import type { Instruction } from '../instruction.ts';
import type { FlagBits, Meaning, Ops, Size } from '../ops.ts';
import { row } from '../table.ts';

interface Shifted<V> { readonly result: V; readonly carry: V; readonly overflow: V }
type Shift = <V>(o: Ops<V>, size: Size, a: V, n: V) => Shifted<V>;

const bit = <V>(o: Ops<V>, a: V, index: V): V => o.and(o.shr(a, index), o.constant(1));
const topBit = <V>(o: Ops<V>, a: V, size: Size): V => o.and(o.shr(a, o.constant(size - 1)), o.constant(1));

/** A shift whose count may exceed the size for 8 and 16 bits; with 64-bit values nothing is lost before the extension. */
const left: Shift = (o, size, a, n) => {
  const result = o.zeroExtend(o.shl(a, n), size);
  const carry = o.and(o.ltu(n, o.constant(size + 1)), bit(o, a, o.sub(o.constant(size), n)));
  return { result, carry, overflow: o.xor(topBit(o, result, size), carry) };
};
const right: Shift = (o, size, a, n) => ({
  result: o.shr(a, n),
  carry: bit(o, a, o.sub(n, o.constant(1))),
  overflow: topBit(o, a, size),
});
const arithmeticRight: Shift = (o, size, a, n) => {
  const wide = o.signExtend(a, size);
  return { result: o.zeroExtend(o.sar(wide, n), size), carry: o.and(o.sar(wide, o.sub(n, o.constant(1))), o.constant(1)), overflow: o.constant(0) };
};

const shift = (compute: Shift): Meaning => (o, { size }, target, source) => {
  const count = o.and(source.read(), o.constant(size === 64 ? 63 : 31));
  const a = target.readForWrite();
  const { result, carry, overflow } = compute(o, size, a, count);
  target.write(result); // even for a count of zero: a 32-bit write clears the upper half
  o.when(count, () => o.setFlagBits({ carry, overflow, adjust: o.constant(0), result: { value: result, size } }));
};

/** Rotates change carry and overflow only. The count for the flags is taken before the reduction modulo the size. */
const rotate = (leftward: boolean): Meaning => (o, { size }, target, source) => {
  const count = o.and(source.read(), o.constant(size === 64 ? 63 : 31));
  const a = target.readForWrite();
  const n = o.and(count, o.constant(size - 1));
  const back = o.and(o.sub(o.constant(size), n), o.constant(size - 1));
  const result = o.zeroExtend(leftward ? o.or(o.shl(a, n), o.shr(a, back)) : o.or(o.shr(a, n), o.shl(a, back)), size);
  target.write(result);
  o.when(count, () => {
    const top = topBit(o, result, size);
    const flags: FlagBits<typeof top> = leftward
      ? { carry: o.and(result, o.constant(1)), overflow: o.xor(top, o.and(result, o.constant(1))) }
      : { carry: top, overflow: o.xor(top, bit(o, result, o.constant(size - 2))) };
    o.setFlagBits(flags);
  });
};

/** Rotates through carry: size + 1 bits turn, so the work is done by a helper on the rare sizes where the count may exceed it. */
const rotateCarry = (leftward: boolean): Meaning => (o, { size }, target, source) => {
  const masked = o.and(source.read(), o.constant(size === 64 ? 63 : 31));
  const count = size < 32 ? o.remu(masked, o.constant(size + 1)) : masked;
  const a = target.readForWrite();
  const carry = o.flag('carry');
  const one = o.constant(1);
  // left by n: a << n | carry << (n-1) | a >> (size+1-n); the last term is split so that a shift by 64 cannot happen
  const up = leftward ? count : o.sub(o.constant(size + 1), count);
  const down = leftward ? o.sub(o.constant(size), count) : o.sub(count, one);
  const upper = leftward ? o.shl(a, up) : o.shl(o.shl(a, o.sub(up, one)), one);
  const lower = leftward ? o.shr(o.shr(a, down), one) : o.shr(o.shr(a, down), one);
  const middle = leftward ? o.shl(carry, o.sub(count, one)) : o.shl(carry, o.sub(o.constant(size), count));
  const turned = o.zeroExtend(o.or(o.or(upper, lower), middle), size);
  const result = o.select(count, turned, a);
  target.write(result);
  o.when(count, () => {
    const out = bit(o, a, leftward ? o.sub(o.constant(size), count) : o.sub(count, one));
    const top = topBit(o, result, size);
    o.setFlagBits({ carry: out, overflow: leftward ? o.xor(top, out) : o.xor(top, bit(o, result, o.constant(size - 2))) });
  });
};

const doubleShift = (leftward: boolean): Meaning => (o, { size }, target, source, counter) => {
  const count = o.and(counter.read(), o.constant(size === 64 ? 63 : 31));
  const b = source.read();
  const a = target.readForWrite();
  const back = o.sub(o.constant(size), count);
  // b shifted by size - count; at 64 bits a count of zero would be a shift by nothing, so that one is split in two
  const one = o.constant(1);
  const far = (shift: (value: typeof b, n: typeof b) => typeof b): typeof b => (size === 64 ? shift(shift(b, o.sub(back, one)), one) : shift(b, back));
  const result = o.zeroExtend(
    leftward ? o.or(o.shl(a, count), far((value, n) => o.shr(value, n))) : o.or(o.shr(a, count), far((value, n) => o.shl(value, n))),
    size,
  );
  target.write(result);
  o.when(count, () => {
    const carry = bit(o, a, leftward ? back : o.sub(count, one));
    o.setFlagBits({ carry, overflow: o.xor(topBit(o, result, size), topBit(o, a, size)), adjust: o.constant(0), result: { value: result, size } });
  });
};

const shiftWithoutFlags = (compute: Shift): Meaning => (o, { size }, target, source, counter) => {
  const n = o.and(counter.read(), o.constant(size - 1));
  target.write(compute(o, size, source.read(), n).result);
};
const rotateImmediate: Meaning = (o, { size }, target, source, counter) => {
  const n = o.and(counter.read(), o.constant(size - 1));
  const a = source.read();
  target.write(o.zeroExtend(o.or(o.shr(a, n), o.shl(a, o.and(o.sub(o.constant(size), n), o.constant(size - 1)))), size));
};

const operations: readonly (readonly [name: string, digit: number, meaning: Meaning])[] = [
  ['rol', 0, rotate(true)],
  ['ror', 1, rotate(false)],
  ['rcl', 2, rotateCarry(true)],
  ['rcr', 3, rotateCarry(false)],
  ['shl', 4, shift(left)],
  ['shr', 5, shift(right)],
  ['shl', 6, shift(left)], // undocumented twin of /4
  ['sar', 7, shift(arithmeticRight)],
];

export const shiftFamily: readonly Instruction[] = [
  ...operations.flatMap(([name, digit, meaning]) => [
    row(name, 0xc0, 'Eb Ib', meaning, { digit, size: 8 }),
    row(name, 0xc1, 'Ev Ib', meaning, { digit }),
    row(name, 0xd0, 'Eb 1', meaning, { digit, size: 8 }),
    row(name, 0xd1, 'Ev 1', meaning, { digit }),
    row(name, 0xd2, 'Eb CL', meaning, { digit, size: 8 }),
    row(name, 0xd3, 'Ev CL', meaning, { digit }),
  ]),
  row('shld', 0x0fa4, 'Ev Gv Ib', doubleShift(true)),
  row('shld', 0x0fa5, 'Ev Gv CL', doubleShift(true)),
  row('shrd', 0x0fac, 'Ev Gv Ib', doubleShift(false)),
  row('shrd', 0x0fad, 'Ev Gv CL', doubleShift(false)),
];
/** VEX-encoded; the decoder reaches them once VEX is offered. */
export const vexShifts = { left: shiftWithoutFlags(left), right: shiftWithoutFlags(right), arithmeticRight: shiftWithoutFlags(arithmeticRight), rotateImmediate };
