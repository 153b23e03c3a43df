/** MUL IMUL DIV IDIV MULX and the adjustments for decimal arithmetic. SDM 2, chapters 3 and 4. */
import type { Instruction } from '../instruction.ts';
import type { Meaning, Ops, Size } from '../ops.ts';
import { row } from '../table.ts';

/** High 64 bits of an unsigned product, from four 32-bit products. */
export function highProduct<V>(o: Ops<V>, a: V, b: V): V {
  const half = o.constant(32);
  const [a0, a1, b0, b1] = [o.zeroExtend(a, 32), o.shr(a, half), o.zeroExtend(b, 32), o.shr(b, half)];
  const middle = o.add(o.mul(a1, b0), o.shr(o.mul(a0, b0), half)); // at most (2^32-1)^2 + 2^32-1: fits
  const cross = o.add(o.mul(a0, b1), o.zeroExtend(middle, 32));
  return o.add(o.add(o.mul(a1, b1), o.shr(middle, half)), o.shr(cross, half));
}

/** Signed: the unsigned one less each factor where the other is negative. */
function signedHighProduct<V>(o: Ops<V>, a: V, b: V): V {
  const all = o.constant(63);
  return o.sub(o.sub(highProduct(o, a, b), o.and(o.sar(a, all), b)), o.and(o.sar(b, all), a));
}

/** The low register pair that holds a double-width value: AX, DX:AX, EDX:EAX, RDX:RAX. */
function writeDouble<V>(o: Ops<V>, size: Size, low: V, high: V): void {
  if (size === 8) return o.setRegister(0, 16, o.or(o.zeroExtend(low, 8), o.shl(o.zeroExtend(high, 8), o.constant(8))));
  o.setRegister(0, size, low);
  o.setRegister(2, size, high);
}

const unsigned: Meaning = (o, { size }, source) => {
  const a = o.register(0, size);
  const b = source.read();
  const low = o.mul(a, b);
  const high = size === 64 ? highProduct(o, a, b) : o.shr(low, o.constant(size));
  writeDouble(o, size, low, high);
  const carry = o.isZero(o.isZero(high));
  // sign, zero, parity and adjust are undefined: what the low half gives
  o.setFlagBits({ carry, overflow: carry, adjust: o.constant(0), result: { value: low, size } });
};

const signed: Meaning = (o, { size }, source) => {
  const a = o.signExtend(o.register(0, size), size);
  const b = o.signExtend(source.read(), size);
  const low = o.mul(a, b);
  const high = size === 64 ? signedHighProduct(o, a, b) : o.sar(low, o.constant(size));
  writeDouble(o, size, low, high);
  const carry = o.ne(high, o.sar(o.signExtend(low, size), o.constant(63)));
  o.setFlagBits({ carry, overflow: carry, adjust: o.constant(0), result: { value: low, size } });
};

/** Two- and three-operand IMUL. */
const truncated = <V>(o: Ops<V>, size: Size, x: V, y: V): { low: V; carry: V } => {
  const a = o.signExtend(x, size);
  const b = o.signExtend(y, size);
  const low = o.mul(a, b);
  const carry = size === 64 ? o.ne(signedHighProduct(o, a, b), o.sar(low, o.constant(63))) : o.ne(low, o.signExtend(low, size));
  return { low, carry };
};
const signedTwo: Meaning = (o, { size }, target, source) => {
  const { low, carry } = truncated(o, size, source.read(), target.read());
  target.write(low);
  o.setFlagBits({ carry, overflow: carry, adjust: o.constant(0), result: { value: low, size } });
};
const signedThree: Meaning = (o, { size }, target, source, factor) => {
  const { low, carry } = truncated(o, size, source.read(), factor.read());
  target.write(low);
  o.setFlagBits({ carry, overflow: carry, adjust: o.constant(0), result: { value: low, size } });
};

const divisionError = 0;

const divide: Meaning = (o, { size }, source) => {
  const divisor = source.read();
  o.when(o.isZero(divisor), () => o.fault(divisionError));
  if (size === 64) {
    o.when(
      o.isZero(o.register(2, 64)),
      () => {
        const a = o.register(0, 64);
        const quotient = o.divu(a, divisor);
        o.setRegister(2, 64, o.remu(a, divisor));
        o.setRegister(0, 64, quotient);
      },
      () => {
        o.helper('divide128', divisor);
      },
    );
    return;
  }
  const dividend = size === 8 ? o.register(0, 16) : o.or(o.register(0, size), o.shl(o.register(2, size), o.constant(size)));
  const quotient = o.divu(dividend, divisor);
  o.when(o.shr(quotient, o.constant(size)), () => o.fault(divisionError));
  writeDouble(o, size, quotient, o.remu(dividend, divisor));
};

const divideSigned: Meaning = (o, { size }, source) => {
  const divisor = o.signExtend(source.read(), size);
  o.when(o.isZero(divisor), () => o.fault(divisionError));
  if (size === 64) {
    const low = o.register(0, 64);
    o.when(
      o.eq(o.register(2, 64), o.sar(low, o.constant(63))),
      () => {
        o.when(o.and(o.eq(divisor, o.constant(-1)), o.eq(low, o.constant(-(2n ** 63n)))), () => o.fault(divisionError));
        const quotient = o.divs(low, divisor);
        o.setRegister(2, 64, o.rems(low, divisor));
        o.setRegister(0, 64, quotient);
      },
      () => {
        o.helper('divideSigned128', divisor);
      },
    );
    return;
  }
  const dividend =
    size === 8
      ? o.signExtend(o.register(0, 16), 16)
      : o.signExtend(o.or(o.register(0, size), o.shl(o.register(2, size), o.constant(size))), size === 16 ? 32 : 64);
  // the one case that overflows 64-bit division overflows here too
  o.when(o.and(o.eq(divisor, o.constant(-1)), o.eq(dividend, o.constant(-(2n ** 63n)))), () => o.fault(divisionError));
  const quotient = o.divs(dividend, divisor);
  o.when(o.ne(quotient, o.signExtend(quotient, size)), () => o.fault(divisionError));
  writeDouble(o, size, quotient, o.rems(dividend, divisor));
};

const wideWithoutFlags: Meaning = (o, { size }, high, low, source) => {
  const a = o.register(2, size);
  const b = source.read();
  const product = o.mul(a, b);
  const upper = size === 64 ? highProduct(o, a, b) : o.shr(product, o.constant(32));
  low.write(product);
  high.write(upper); // the high half wins when both name one register
};

const decimal = (name: 'daa' | 'das' | 'aaa' | 'aas'): Meaning => (o) => {
  o.helper(name);
};

export const multiplyFamily: readonly Instruction[] = [
  row('mul', 0xf6, 'Eb', unsigned, { digit: 4, size: 8 }),
  row('mul', 0xf7, 'Ev', unsigned, { digit: 4 }),
  row('imul', 0xf6, 'Eb', signed, { digit: 5, size: 8 }),
  row('imul', 0xf7, 'Ev', signed, { digit: 5 }),
  row('div', 0xf6, 'Eb', divide, { digit: 6, size: 8 }),
  row('div', 0xf7, 'Ev', divide, { digit: 6 }),
  row('idiv', 0xf6, 'Eb', divideSigned, { digit: 7, size: 8 }),
  row('idiv', 0xf7, 'Ev', divideSigned, { digit: 7 }),
  row('imul', 0x0faf, 'Gv Ev', signedTwo),
  row('imul', 0x69, 'Gv Ev Iz', signedThree),
  row('imul', 0x6b, 'Gv Ev Is', signedThree),
  row('mulx', 0x0f38f6, 'Gy By Ey', wideWithoutFlags, { vex: true, prefix: 0xf2, feature: 'bmi2' }),
  row('daa', 0x27, '', decimal('daa'), { long: 'never' }),
  row('das', 0x2f, '', decimal('das'), { long: 'never' }),
  row('aaa', 0x37, '', decimal('aaa'), { long: 'never' }),
  row('aas', 0x3f, '', decimal('aas'), { long: 'never' }),
  row('aam', 0xd4, 'Ib', (o, _f, base) => void o.helper('aam', base.read()), { long: 'never', size: 8 }),
  row('aad', 0xd5, 'Ib', (o, _f, base) => void o.helper('aad', base.read()), { long: 'never', size: 8 }),
];
