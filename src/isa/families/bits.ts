/** Bit tests and scans, byte swaps, CRC32, BMI1 and BMI2. SDM 2, chapters 3 and 4. */
import type { Instruction } from '../instruction.ts';
import type { Meaning, Ops } from '../ops.ts';
import { row } from '../table.ts';
import { vexShifts } from './shifts.ts';

type Change = (<V>(o: Ops<V>, value: V, mask: V) => V) | undefined;

/** With a register index, a memory operand is a bit string that reaches beyond the operand. */
const bitTest = (change: Change): Meaning => (o, { size }, target, source) => {
  const index = source.read();
  const n = o.and(index, o.constant(size - 1));
  const mask = o.shl(o.constant(1), n);
  if (target.isMemory && source.size !== 8) {
    const address = target.addressAt(o.shl(o.sar(o.signExtend(index, size), o.constant(Math.log2(size))), o.constant(Math.log2(size / 8))));
    const value = change ? o.loadForWrite(address, size) : o.load(address, size);
    if (change) o.store(address, size, change(o, value, mask));
    o.setFlagBits({ carry: o.and(o.shr(value, n), o.constant(1)) });
    return;
  }
  const value = change ? target.readForWrite() : target.read();
  if (change) target.write(change(o, value, mask));
  o.setFlagBits({ carry: o.and(o.shr(value, n), o.constant(1)) });
};
const changes: readonly (readonly [name: string, digit: number, change: Change])[] = [
  ['bt', 4, undefined],
  ['bts', 5, (o, value, mask) => o.or(value, mask)],
  ['btr', 6, (o, value, mask) => o.and(value, o.xor(mask, o.constant(-1)))],
  ['btc', 7, (o, value, mask) => o.xor(value, mask)],
];

/** BSF and BSR of zero leave the destination alone; Linux relies on it. */
const scan = (forward: boolean): Meaning => (o, { size }, target, source) => {
  const value = source.read();
  o.when(value, () => target.write(forward ? o.ctz(value) : o.sub(o.constant(63), o.clz(value))));
  o.setFlagBits({ carry: o.constant(0), overflow: o.constant(0), adjust: o.constant(0), result: { value, size } });
};
const count = (forward: boolean): Meaning => (o, { size }, target, source) => {
  const value = source.read();
  const result = forward
    ? o.select(value, o.ctz(value), o.constant(size))
    : o.sub(o.clz(value), o.constant(64 - size));
  target.write(result);
  o.setFlagBits({ carry: o.isZero(value), overflow: o.constant(0), adjust: o.constant(0), result: { value: result, size } });
};
const populationCount: Meaning = (o, { size }, target, source) => {
  const value = source.read();
  target.write(o.popcnt(value));
  const zero = o.isZero(value); // sign and parity are cleared whatever the count: a result of 0 would set the parity, so one of 1 stands in
  o.setFlagBits({ carry: o.constant(0), overflow: o.constant(0), adjust: o.constant(0), result: { value: o.constant(1), size } });
  o.setFlagBits({ zero });
};

function swapBytes<V>(o: Ops<V>, value: V, size: number): V {
  const step = (v: V, mask: bigint, shift: number): V =>
    o.or(o.and(o.shr(v, o.constant(shift)), o.constant(mask)), o.shl(o.and(v, o.constant(mask)), o.constant(shift)));
  let v = step(value, 0x00ff_00ff_00ff_00ffn, 8);
  v = step(v, 0x0000_ffff_0000_ffffn, 16);
  v = o.or(o.shr(v, o.constant(32)), o.shl(v, o.constant(32)));
  return size === 64 ? v : o.shr(v, o.constant(64 - size));
}
/** With a 16-bit operand the result is undefined; processors clear it. */
const byteSwap: Meaning = (o, { size }, target) => target.write(size === 16 ? o.constant(0) : swapBytes(o, target.read(), size));
const moveSwapped: Meaning = (o, { size }, target, source) => target.write(swapBytes(o, source.read(), size));

const crc: Meaning = (o, _form, target, source) => target.write(o.helper('crc32c', target.read(), source.read(), o.constant(source.size)));

const and = <V>(o: Ops<V>, size: 32 | 64 | 16 | 8, result: V, carry: V) =>
  o.setFlagBits({ carry, overflow: o.constant(0), adjust: o.constant(0), result: { value: result, size } });
const andNot: Meaning = (o, { size }, target, inverted, source) => {
  const result = o.and(o.xor(inverted.read(), o.constant(-1)), source.read());
  target.write(result);
  and(o, size, o.zeroExtend(result, size), o.constant(0));
};
const lowestBit = (compute: <V>(o: Ops<V>, a: V, less: V) => V, carryIfZero: boolean): Meaning => (o, { size }, target, source) => {
  const a = source.read();
  const result = o.zeroExtend(compute(o, a, o.sub(a, o.constant(1))), size);
  target.write(result);
  and(o, size, result, carryIfZero ? o.isZero(a) : o.isZero(o.isZero(a)));
};
const extract: Meaning = (o, { size }, target, source, control) => {
  const c = control.read();
  const start = o.and(c, o.constant(0xff));
  const length = o.and(o.shr(c, o.constant(8)), o.constant(0xff));
  const shifted = o.select(o.ltu(start, o.constant(size)), o.shr(source.read(), start), o.constant(0));
  const result = o.select(o.ltu(length, o.constant(size)), o.and(shifted, o.sub(o.shl(o.constant(1), length), o.constant(1))), shifted);
  target.write(result);
  and(o, size, result, o.constant(0));
};
const zeroHigh: Meaning = (o, { size }, target, source, control) => {
  const n = o.and(control.read(), o.constant(0xff));
  const short = o.ltu(n, o.constant(size));
  const a = source.read();
  const result = o.select(short, o.and(a, o.sub(o.shl(o.constant(1), n), o.constant(1))), a);
  target.write(result);
  and(o, size, result, o.isZero(short));
};
const gather = (name: 'pext' | 'pdep'): Meaning => (o, _form, target, source, mask) => target.write(o.helper(name, source.read(), mask.read()));

export const bitFamily: readonly Instruction[] = [
  ...changes.flatMap(([name, digit, change]) => [
    row(name, 0x0fa3 + (digit - 4) * 8, 'Ev Gv', bitTest(change), change ? { lock: true } : {}),
    row(name, 0x0fba, 'Ev Ib', bitTest(change), { digit, ...(change ? { lock: true } : {}) }),
  ]),
  row('bsf', 0x0fbc, 'Gv Ev', scan(true)),
  row('bsr', 0x0fbd, 'Gv Ev', scan(false)),
  row('tzcnt', 0x0fbc, 'Gv Ev', count(true), { prefix: 0xf3, feature: 'bmi1', fallback: true }),
  row('lzcnt', 0x0fbd, 'Gv Ev', count(false), { prefix: 0xf3, feature: 'lzcnt', fallback: true }),
  row('popcnt', 0x0fb8, 'Gv Ev', populationCount, { prefix: 0xf3, feature: 'popcnt' }),
  ...Array.from({ length: 8 }, (_, n) => row('bswap', 0x0fc8 + n, 'Zv', byteSwap)),
  row('movbe', 0x0f38f0, 'Gv Mv', moveSwapped, { feature: 'movbe' }),
  row('movbe', 0x0f38f1, 'Mv Gv', moveSwapped, { feature: 'movbe' }),
  row('crc32', 0x0f38f0, 'Gy Eb', crc, { prefix: 0xf2, feature: 'sse4_2' }),
  row('crc32', 0x0f38f1, 'Gy Ev', crc, { prefix: 0xf2, feature: 'sse4_2' }),
  row('andn', 0x0f38f2, 'Gy By Ey', andNot, { vex: true, prefix: 0, feature: 'bmi1' }),
  row('blsr', 0x0f38f3, 'By Ey', lowestBit((o, a, less) => o.and(a, less), true), { vex: true, prefix: 0, digit: 1, feature: 'bmi1' }),
  row('blsmsk', 0x0f38f3, 'By Ey', lowestBit((o, a, less) => o.xor(a, less), true), { vex: true, prefix: 0, digit: 2, feature: 'bmi1' }),
  row('blsi', 0x0f38f3, 'By Ey', lowestBit((o, a, less) => o.and(a, o.xor(less, o.constant(-1))), false), { vex: true, prefix: 0, digit: 3, feature: 'bmi1' }),
  row('bextr', 0x0f38f7, 'Gy Ey By', extract, { vex: true, prefix: 0, feature: 'bmi1' }),
  row('bzhi', 0x0f38f5, 'Gy Ey By', zeroHigh, { vex: true, prefix: 0, feature: 'bmi2' }),
  row('pext', 0x0f38f5, 'Gy By Ey', gather('pext'), { vex: true, prefix: 0xf3, feature: 'bmi2' }),
  row('pdep', 0x0f38f5, 'Gy By Ey', gather('pdep'), { vex: true, prefix: 0xf2, feature: 'bmi2' }),
  row('shlx', 0x0f38f7, 'Gy Ey By', vexShifts.left, { vex: true, prefix: 0x66, feature: 'bmi2' }),
  row('shrx', 0x0f38f7, 'Gy Ey By', vexShifts.right, { vex: true, prefix: 0xf2, feature: 'bmi2' }),
  row('sarx', 0x0f38f7, 'Gy Ey By', vexShifts.arithmeticRight, { vex: true, prefix: 0xf3, feature: 'bmi2' }),
  row('rorx', 0x0f3af0, 'Gy Ey Ib', vexShifts.rotateImmediate, { vex: true, prefix: 0xf2, feature: 'bmi2' }),
];
