/**
 * The x87's operations on plain numbers (isa/x87-names.ts), on 64-bit significands: exact, rounded once, as cpu/float/soft.ts does it with
 * bigints. Every function (state, value, form) gives zero, with nothing changed, where it leaves the instruction to the helper.
 */
import { type X87Name, x87Names } from '../../isa/x87-names.ts';
import type { Node } from '../wasm/graph.ts';
import type { ModuleBuilder, Signature } from '../wasm/module.ts';
import { type Extended, X87Function } from './x87-function.ts';

export const x87Signature: Signature = { parameters: ['i32', 'i64', 'i32'], results: ['i32'] };

/** Control word: all exceptions masked, 64 bits, to nearest. */
const plainControl = { mask: 0xf3f, value: 0x33f } as const;
const masked = 0x3f;
const [divides, subtracts] = [6, 4] as const;
const half = 1n << 63n;
const statusC1 = 0x200;

/** operate(state, slot, digit, significand and sign with exponent of a, of b): a op b goes to the slot. */
const operateParameters = ['i32', 'i32', 'i64', 'i64', 'i64', 'i64', 'i64'] as const;

function operate(): X87Function {
  const f = new X87Function(operateParameters);
  const c = (n: number | bigint): Node => f.constant(n);
  f.giveUpUnless(f.eq(f.and(f.field('floatControl'), c(plainControl.mask)), c(plainControl.value)));
  const slot = f.graph.parameter(1);
  const digit = f.parameter(2);
  const isProduct = f.eq(digit, c(1));
  const isQuotient = f.ltu(c(divides - 1), digit);
  const isReversed = f.and(f.ltu(c(subtracts), digit), f.narrow(f.and(digit, c(1))));
  const given: readonly [Extended, Extended] = [
    { significand: f.parameter(3), signExponent: f.parameter(4) },
    { significand: f.parameter(5), signExponent: f.parameter(6) },
  ];
  const pick = (first: Extended, second: Extended): Extended => ({
    significand: f.select(isReversed, second.significand, first.significand),
    signExponent: f.select(isReversed, second.signExponent, first.signExponent),
  });
  const a = pick(...given);
  const unsigned = pick(given[1], given[0]);
  const isDifference = f.eq(f.and(digit, c(6)), c(subtracts));
  const b = { ...unsigned, signExponent: f.xor(unsigned.signExponent, f.select(isDifference, c(0x8000), c(0))) };
  const sign = f.and(f.xor(a.signExponent, b.signExponent), c(0x8000));

  f.when(f.not(f.and(f.isNormal(a), f.isNormal(b))), () => {
    const [zeroA, zeroB] = [f.isZeroNumber(a), f.isZeroNumber(b)];
    f.giveUpUnless(f.and(f.or(f.isNormal(a), zeroA), f.or(f.isNormal(b), zeroB)));
    const give = (n: Extended): void => {
      f.store(slot, n);
      f.clearConditions(statusC1);
      f.return(1);
    };
    f.when(isProduct, () => give({ significand: c(0), signExponent: sign }));
    f.when(isQuotient, () => {
      f.giveUpUnless(f.not(zeroB));
      give({ significand: c(0), signExponent: sign });
    });
    f.when(f.and(zeroA, zeroB), () => give({ significand: c(0), signExponent: f.and(a.signExponent, b.signExponent) }));
    give({ significand: f.select(zeroA, b.significand, a.significand), signExponent: f.select(zeroA, b.signExponent, a.signExponent) });
  });

  const r = { high: f.local(), low: f.local(), exponent: f.local(), sign: f.local() };
  f.setLocal(r.sign, sign);
  f.when(
    isProduct,
    () => multiply(f, a, b, r),
    () =>
      f.when(
        isQuotient,
        () => divide(f, a, b, r),
        () => add(f, a, b, r),
      ),
  );
  const unrounded = { high: f.read(r.high), low: f.read(r.low) };
  const up = f.roundsUp(unrounded);
  const rounded = f.add(unrounded.high, f.wide(up));
  const overflows = f.and(up, f.isZero(rounded));
  const exponent = f.add(f.read(r.exponent), f.wide(overflows));
  f.giveUpUnless(f.ltu(f.sub(exponent, c(1)), c(0x7ffe)));
  f.store(slot, { significand: f.select(overflows, c(half), rounded), signExponent: f.or(f.read(r.sign), exponent) });
  f.setField('floatStatus', f.statusOf(f.ne(unrounded.low, c(0)), up));
  f.return(1);
  return f;
}
interface Result {
  readonly high: number;
  readonly low: number;
  readonly exponent: number;
  readonly sign: number;
}
/** 64 by 64 bits from four products of 32 by 32. */
function multiply(f: X87Function, a: Extended, b: Extended, r: Result): void {
  const c = (n: number | bigint): Node => f.constant(n);
  const lower = (n: Node): Node => f.and(n, c(0xffff_ffffn));
  const upper = (n: Node): Node => f.shr(n, c(32));
  const [al, ah, bl, bh] = [lower(a.significand), upper(a.significand), lower(b.significand), upper(b.significand)];
  const least = f.mul(al, bl);
  const first = f.add(f.mul(ah, bl), upper(least));
  const second = f.add(f.mul(al, bh), lower(first));
  const high = f.add(f.add(f.mul(ah, bh), upper(first)), upper(second));
  const low = f.or(f.shl(second, c(32)), lower(least));
  const isShort = f.not(f.lts(high, c(0)));
  f.setLocal(r.high, f.select(isShort, f.or(f.shl(high, c(1)), f.shr(low, c(63))), high));
  f.setLocal(r.low, f.select(isShort, f.shl(low, c(1)), low));
  f.setLocal(r.exponent, f.sub(f.add(f.exponent(a), f.exponent(b)), f.add(c(16382), f.wide(isShort))));
}
/** 128 by 64 bits in two digits of 32 (Knuth, The Art of Computer Programming 2, 4.3.1, algorithm D). */
function divide(f: X87Function, a: Extended, b: Extended, r: Result): void {
  const c = (n: number | bigint): Node => f.constant(n);
  const divisor = b.significand;
  const isLess = f.ltu(a.significand, divisor);
  const high = f.select(isLess, a.significand, f.shr(a.significand, c(1)));
  const low = f.select(isLess, c(0), f.shl(a.significand, c(63)));
  const [upper, lower] = [f.shr(divisor, c(32)), f.and(divisor, c(0xffff_ffffn))];
  const [q, rest] = [f.local(), f.local()];
  /** One digit of the quotient, and what is left of 96 bits. */
  const digit = (dividend: Node, next: Node): { readonly digit: Node; readonly left: Node } => {
    f.setLocal(q, f.divu(dividend, upper));
    f.setLocal(rest, f.sub(dividend, f.mul(f.read(q), upper)));
    for (let n = 0; n < 2; n++) {
      const isLarge = f.or(f.ne(f.shr(f.read(q), c(32)), c(0)), f.ltu(f.or(f.shl(f.read(rest), c(32)), next), f.mul(f.read(q), lower)));
      f.when(f.and(f.isZero(f.shr(f.read(rest), c(32))), isLarge), () => {
        f.setLocal(q, f.sub(f.read(q), c(1)));
        f.setLocal(rest, f.add(f.read(rest), upper));
      });
    }
    const left = f.sub(f.add(f.shl(dividend, c(32)), next), f.mul(f.read(q), divisor));
    return { digit: f.read(q), left };
  };
  const first = digit(high, f.shr(low, c(32)));
  const leading = f.local();
  f.setLocal(leading, f.shl(first.digit, c(32)));
  const middle = f.local();
  f.setLocal(middle, first.left);
  const second = digit(f.read(middle), f.and(low, c(0xffff_ffffn)));
  f.setLocal(r.high, f.add(f.read(leading), second.digit));
  const missing = f.sub(divisor, second.left);
  const beyondHalf = f.select(f.ltu(missing, second.left), c(half + 1n), c(half));
  f.setLocal(r.low, f.select(f.isZero(second.left), c(0), f.select(f.ltu(second.left, missing), c(1), beyondHalf)));
  f.setLocal(r.exponent, f.sub(f.add(f.sub(f.exponent(a), f.exponent(b)), c(16383)), f.wide(isLess)));
}
function add(f: X87Function, a: Extended, b: Extended, r: Result): void {
  const c = (n: number | bigint): Node => f.constant(n);
  const [ea, eb] = [f.exponent(a), f.exponent(b)];
  const swaps = f.or(f.ltu(ea, eb), f.and(f.eq(ea, eb), f.ltu(a.significand, b.significand)));
  const large = f.select(swaps, b.significand, a.significand);
  const small = f.select(swaps, a.significand, b.significand);
  const exponent = f.select(swaps, eb, ea);
  const { high, low } = f.shiftedDown(small, f.sub(exponent, f.select(swaps, ea, eb)));
  const differ = f.read(r.sign); // so far that of a times b
  f.when(
    f.isZero(differ),
    () => {
      const sum = f.add(large, high);
      const carries = f.ltu(sum, large); // only when the distance was below 64, so that the lowest bit of `low` is clear
      f.setLocal(r.high, f.select(carries, f.or(f.shr(sum, c(1)), c(half)), sum));
      f.setLocal(r.low, f.select(carries, f.or(f.shr(low, c(1)), f.shl(sum, c(63))), low));
      f.setLocal(r.exponent, f.add(exponent, f.wide(carries)));
    },
    () => {
      const below = f.sub(c(0), low);
      const difference = f.sub(f.sub(large, high), f.wide(f.ne(low, c(0))));
      const isSmall = f.isZero(difference);
      f.when(f.isZero(f.or(difference, below)), () => {
        f.store(f.graph.parameter(1), { significand: c(0), signExponent: c(0) });
        f.clearConditions(statusC1);
        f.return(1);
      });
      const high64 = f.select(isSmall, below, difference);
      const low64 = f.select(isSmall, c(0), below);
      const shift = f.clz(high64);
      const carried = f.select(f.isZero(shift), c(0), f.shr(low64, f.sub(c(64), shift)));
      f.setLocal(r.high, f.or(f.shl(high64, shift), carried));
      f.setLocal(r.low, f.shl(low64, shift));
      f.setLocal(r.exponent, f.sub(f.sub(exponent, shift), f.select(isSmall, c(64), c(0))));
    },
  );
  f.setLocal(r.sign, f.and(f.select(swaps, b.signExponent, a.signExponent), c(0x8000)));
}

/** The order of plain numbers a and b: what equality, less and greater are, chosen. */
function order(f: X87Function, a: Extended, b: Extended, [equal, less]: readonly [number, number]): Node {
  for (const n of [a, b]) f.giveUpUnless(f.or(f.isNormal(n), f.isZeroNumber(n)));
  const c = (n: number | bigint): Node => f.constant(n);
  const [ea, eb] = [f.exponent(a), f.exponent(b)];
  const same = f.and(f.eq(ea, eb), f.eq(a.significand, b.significand));
  const [signA, signB] = [f.sign(a), f.sign(b)];
  const bothZero = f.isZero(f.or(f.or(a.significand, b.significand), f.or(ea, eb)));
  const isEqual = f.or(bothZero, f.and(same, f.eq(signA, signB)));
  const lower = f.or(f.ltu(ea, eb), f.and(f.eq(ea, eb), f.ltu(a.significand, b.significand)));
  const isLess = f.select(f.eq(signA, signB), f.xor(f.wide(lower), f.select(signA, c(1), c(0))), f.shr(signA, c(15)));
  return f.select(isEqual, c(equal), f.select(isLess, c(less), c(0)));
}
const [statusC3, statusC0] = [0x4000, 0x100] as const;
const [zeroFlag, carryFlag] = [0x40, 1] as const;
const done = 0x100;

/** ST(0) in fewer bits, in `floatOut`. */
function narrowed(f: X87Function, size: 32 | 64): void {
  const c = (n: number | bigint): Node => f.constant(n);
  f.giveUpUnless(f.eq(f.and(f.field('floatControl'), c(0xc3f)), c(masked)));
  const n = f.operand(c(0));
  const sign = f.shl(f.shr(n.signExponent, c(15)), c(size - 1));
  f.when(f.isZeroNumber(n), () => {
    f.setOut(sign);
    f.setField('floatOutStatus', f.statusOf(f.i32(0), f.i32(0)));
    f.return(1);
  });
  const [fractionBits, top, rebias] = size === 64 ? [52, 0x7ff, 15360] : [23, 0xff, 16256];
  const dropped = 63 - fractionBits;
  const exponent = f.sub(f.exponent(n), c(rebias));
  f.giveUpUnless(f.and(f.lts(n.significand, c(0)), f.and(f.lts(c(0), exponent), f.lts(exponent, c(top)))));
  const unrounded = { high: f.shr(n.significand, c(dropped)), low: f.shl(n.significand, c(64 - dropped)) };
  const up = f.roundsUp(unrounded);
  // the leading one adds one to the exponent, and so does a carry out of the fraction
  const magnitude = f.add(f.add(f.shl(f.sub(exponent, c(1)), c(fractionBits)), unrounded.high), f.wide(up));
  f.giveUpUnless(f.ltu(magnitude, c(BigInt(top) << BigInt(fractionBits))));
  f.setOut(f.or(sign, magnitude));
  f.setField('floatOutStatus', f.statusOf(f.ne(unrounded.low, c(0)), up));
  f.return(1);
}
function integral(f: X87Function): void {
  const c = (n: number | bigint): Node => f.constant(n);
  const control = f.field('floatControl');
  f.giveUpUnless(f.eq(f.and(control, c(masked)), c(masked)));
  const rounding = f.bits(control, 10, 3);
  const cuts = f.or(f.narrow(f.formBits(7, 1)), f.eq(rounding, c(3)));
  f.giveUpUnless(f.or(cuts, f.isZero(rounding)));
  const n = f.operand(c(0));
  f.giveUpUnless(f.or(f.isNormal(n), f.isZeroNumber(n)));
  const exponent = f.exponent(n);
  const whole = c(16383 + 63);
  f.giveUpUnless(f.ltu(exponent, whole));
  const unrounded = f.shiftedDown(n.significand, f.sub(whole, exponent));
  const up = f.and(f.roundsUp(unrounded), f.not(cuts));
  const magnitude = f.add(unrounded.high, f.wide(up));
  const bits = f.sub(f.formBits(0, 0x7f), c(1));
  f.giveUpUnless(f.isZero(f.shr(magnitude, bits)));
  f.setOut(f.select(f.sign(n), f.sub(c(0), magnitude), magnitude));
  f.setField('floatOutStatus', f.statusOf(f.ne(unrounded.low, c(0)), up));
  f.return(1);
}

type Write = (f: X87Function, operate: number) => void;
const pushing =
  (number: (f: X87Function) => Extended): Write =>
  (f) => {
    f.push(number(f));
    f.return(1);
  };
/** A memory operand as a number; the function gives up when it is not plain. */
const plain =
  (size: 32 | 64) =>
  (f: X87Function): Extended => {
    const { n, isPlain } = f.widened(f.value, size);
    f.giveUpUnless(isPlain);
    return n;
  };
const withMemory =
  (number: (f: X87Function) => Extended): Write =>
  (f, operateIndex) => {
    const b = number(f);
    const a = f.operand(f.constant(0));
    f.return(f.call(operateIndex, f.state, a.slot, f.form, a.significand, a.signExponent, b.significand, b.signExponent));
  };
const comparing =
  (number: (f: X87Function) => Extended, pops: (f: X87Function) => Node): Write =>
  (f) => {
    const a = f.operand(f.constant(0));
    const conditions = order(f, a, number(f), [statusC3, statusC0]);
    f.setConditions(conditions);
    f.pop(pops(f));
    f.return(1);
  };
const register = (f: X87Function): Node => f.formBits(0, 7);
const pops = (f: X87Function): Node => f.formBits(3, 3);

const functions: Readonly<Record<X87Name, Write>> = {
  push80: pushing((f) => ({ significand: f.value, signExponent: f.form })),
  push64: pushing(plain(64)),
  push32: pushing(plain(32)),
  pushInteger: pushing((f) => f.fromInteger(f.value)),
  pushCopy: pushing((f) => f.operand(f.form)),
  arithmetic: (f, operateIndex) => {
    const a = f.operand(f.formBits(3, 7));
    const b = f.operand(f.formBits(6, 7));
    const args = [f.formBits(0, 7), a.significand, a.signExponent, b.significand, b.signExponent];
    f.giveUpUnless(f.call(operateIndex, f.state, a.slot, ...args));
    f.pop(f.formBits(9, 3));
    f.return(1);
  },
  arithmetic64: withMemory(plain(64)),
  arithmetic32: withMemory(plain(32)),
  arithmeticInteger: withMemory((f) => f.fromInteger(f.value)),
  compare: comparing((f) => f.operand(register(f)), pops),
  compare64: comparing(plain(64), (f) => f.form),
  compare32: comparing(plain(32), (f) => f.form),
  compareInteger: comparing(
    (f) => f.fromInteger(f.value),
    (f) => f.form,
  ),
  compareFlags: (f) => {
    const a = f.operand(f.constant(0));
    const flags = order(f, a, f.operand(register(f)), [zeroFlag, carryFlag]);
    f.clearConditions(statusC1);
    f.pop(pops(f));
    f.return(f.or(flags, f.constant(done)));
  },
  to80: (f) => {
    const n = f.operand(f.constant(0));
    f.setOut(n.significand, n.signExponent);
    f.setField('floatOutStatus', f.statusOf(f.i32(0), f.i32(0)));
    f.return(1);
  },
  to64: (f) => narrowed(f, 64),
  to32: (f) => narrowed(f, 32),
  toInteger: integral,
  stored: (f) => {
    f.setField('floatStatus', f.outStatus());
    f.pop(f.form);
    f.return(1);
  },
  storeRegister: (f) => {
    const n = f.operand(f.constant(0));
    const target = f.physical(register(f));
    f.setField('floatEmpty', f.and(f.field('floatEmpty'), f.xor(f.shl(f.constant(1), target), f.constant(0xff))));
    f.store(f.slot(target), n);
    f.clearConditions(statusC1);
    f.pop(pops(f));
    f.return(1);
  },
  exchange: (f) => {
    const a = f.operand(f.constant(0));
    const b = f.operand(f.form);
    f.store(a.slot, b);
    f.store(b.slot, a);
    f.clearConditions(statusC1);
    f.return(1);
  },
  changeSign: (f) => {
    const n = f.operand(f.constant(0));
    const signExponent = f.select(f.form, f.exponent(n), f.xor(n.signExponent, f.constant(0x8000)));
    f.store(n.slot, { significand: n.significand, signExponent });
    f.clearConditions(statusC1);
    f.return(1);
  },
};

/** Adds `x87:NAME` for every operation. */
export function addX87Functions(module: ModuleBuilder): void {
  const index = module.add(operate().body('operateExtended'));
  for (const name of x87Names) {
    const f = new X87Function();
    functions[name](f, index);
    module.add(f.body(`x87:${name}`));
  }
}
