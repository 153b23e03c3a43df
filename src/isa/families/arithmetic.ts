/** ADD OR ADC SBB AND SUB XOR CMP, TEST, INC, DEC, NEG, NOT, XADD, CMPXCHG, ADCX, ADOX, CMPXCHG8B/16B. SDM 2, chapters 3 and 4. */
import type { Instruction } from '../instruction.ts';
import type { FlagRule, Meaning, Ops } from '../ops.ts';
import { row } from '../table.ts';

type Compute = <V>(o: Ops<V>, a: V, b: V) => V;

const binary = (rule: FlagRule, compute: Compute): Meaning => (o, { size }, target, source) => {
  const b = source.read();
  const a = target.readForWrite();
  const result = compute(o, a, b);
  target.write(result);
  o.setFlags(rule, size, a, b, result);
};

/** Flags only: CMP and TEST. */
const compare = (rule: FlagRule, compute: Compute): Meaning => (o, { size }, target, source) => {
  const b = source.read();
  const a = target.read();
  o.setFlags(rule, size, a, b, compute(o, a, b));
};

const operations: readonly (readonly [name: string, meaning: Meaning, lock: boolean])[] = [
  ['add', binary('add', (o, a, b) => o.add(a, b)), true],
  ['or', binary('logic', (o, a, b) => o.or(a, b)), true],
  ['adc', binary('add', (o, a, b) => o.add(o.add(a, b), o.flag('carry'))), true],
  ['sbb', binary('sub', (o, a, b) => o.sub(o.sub(a, b), o.flag('carry'))), true],
  ['and', binary('logic', (o, a, b) => o.and(a, b)), true],
  ['sub', binary('sub', (o, a, b) => o.sub(a, b)), true],
  ['xor', binary('logic', (o, a, b) => o.xor(a, b)), true],
  ['cmp', compare('sub', (o, a, b) => o.sub(a, b)), false],
];

const test = compare('logic', (o, a, b) => o.and(a, b));

const increment: Meaning = (o, { size }, target) => {
  const a = target.readForWrite();
  const result = o.add(a, o.constant(1));
  target.write(result);
  o.setFlags('inc', size, a, o.constant(1), result);
};
const decrement: Meaning = (o, { size }, target) => {
  const a = target.readForWrite();
  const result = o.sub(a, o.constant(1));
  target.write(result);
  o.setFlags('dec', size, a, o.constant(1), result);
};
const negate: Meaning = (o, { size }, target) => {
  const a = target.readForWrite();
  const zero = o.constant(0);
  const result = o.sub(zero, a);
  target.write(result);
  o.setFlags('sub', size, zero, a, result);
};
const complement: Meaning = (o, _form, target) => target.write(o.xor(target.readForWrite(), o.constant(-1)));

const exchangeAdd: Meaning = (o, { size }, target, source) => {
  const a = target.readForWrite();
  const b = source.read();
  const result = o.add(a, b);
  if (target.isMemory) {
    target.write(result);
    source.write(a);
  } else {
    source.write(a);
    target.write(result); // the sum wins when both name one register
  }
  o.setFlags('add', size, a, b, result);
};

/** The destination is always written, so a failing compare still needs a writable page. */
const compareExchange: Meaning = (o, { size }, target, source) => {
  const accumulator = o.register(0, size);
  const current = target.readForWrite();
  const difference = o.sub(accumulator, current);
  const equal = o.eq(accumulator, current);
  const replacement = source.read();
  if (target.isMemory) target.write(o.select(equal, replacement, current));
  o.when(
    equal,
    () => {
      if (!target.isMemory) target.write(replacement);
    },
    () => o.setRegister(0, size, current), // Differs from a select: EAX's upper half is only cleared on failure
  );
  o.setFlags('sub', size, accumulator, current, difference);
};

/** ADCX and ADOX: an addition that uses and changes one flag only. */
const addWith = (flag: 'carry' | 'overflow'): Meaning => (o, { size }, target, source) => {
  const b = source.read();
  const a = target.read();
  const carryIn = o.flag(flag);
  const sum = o.zeroExtend(o.add(a, b), size);
  const result = o.zeroExtend(o.add(sum, carryIn), size);
  const carry = o.or(o.ltu(sum, a), o.ltu(result, sum));
  target.write(result);
  o.setFlagBits(flag === 'carry' ? { carry } : { overflow: carry });
};

const compareExchange8: Meaning = (o, _form, memory) => {
  const address = memory.address();
  const current = o.loadForWrite(address, 64);
  const expected = o.or(o.register(0, 32), o.shl(o.register(2, 32), o.constant(32)));
  const replacement = o.or(o.register(3, 32), o.shl(o.register(1, 32), o.constant(32)));
  const equal = o.eq(current, expected);
  o.store(address, 64, o.select(equal, replacement, current));
  o.when(equal, () => {}, () => {
    o.setRegister(0, 32, o.zeroExtend(current, 32));
    o.setRegister(2, 32, o.shr(current, o.constant(32)));
  });
  o.setFlagBits({ zero: equal });
};

const compareExchange16: Meaning = (o, _form, memory) => {
  const address = memory.address();
  o.when(o.and(address, o.constant(15)), () => o.fault(13, 0));
  const low = o.loadForWrite(address, 64);
  const high = o.loadForWrite(o.add(address, o.constant(8)), 64);
  const equal = o.and(o.eq(low, o.register(0, 64)), o.eq(high, o.register(2, 64)));
  o.store128(address, o.vector(o.select(equal, o.register(3, 64), low), o.select(equal, o.register(1, 64), high)));
  o.when(equal, () => {}, () => {
    o.setRegister(0, 64, low);
    o.setRegister(2, 64, high);
  });
  o.setFlagBits({ zero: equal });
};

export const arithmeticFamily: readonly Instruction[] = [
  ...operations.flatMap(([name, meaning, lock], digit) => {
    const base = digit * 8;
    const options = lock ? { lock } : {};
    return [
      row(name, base, 'Eb Gb', meaning, { size: 8, ...options }),
      row(name, base + 1, 'Ev Gv', meaning, options),
      row(name, base + 2, 'Gb Eb', meaning, { size: 8 }),
      row(name, base + 3, 'Gv Ev', meaning),
      row(name, base + 4, 'AL Ib', meaning, { size: 8 }),
      row(name, base + 5, 'rAX Iz', meaning),
      row(name, 0x80, 'Eb Ib', meaning, { digit, size: 8, ...options }),
      row(name, 0x81, 'Ev Iz', meaning, { digit, ...options }),
      row(name, 0x82, 'Eb Ib', meaning, { digit, size: 8, long: 'never', ...options }),
      row(name, 0x83, 'Ev Is', meaning, { digit, ...options }),
    ];
  }),
  row('test', 0x84, 'Eb Gb', test, { size: 8 }),
  row('test', 0x85, 'Ev Gv', test),
  row('test', 0xa8, 'AL Ib', test, { size: 8 }),
  row('test', 0xa9, 'rAX Iz', test),
  ...[0, 1].flatMap((digit) => [row('test', 0xf6, 'Eb Ib', test, { digit, size: 8 }), row('test', 0xf7, 'Ev Iz', test, { digit })]),
  row('not', 0xf6, 'Eb', complement, { digit: 2, size: 8, lock: true }),
  row('not', 0xf7, 'Ev', complement, { digit: 2, lock: true }),
  row('neg', 0xf6, 'Eb', negate, { digit: 3, size: 8, lock: true }),
  row('neg', 0xf7, 'Ev', negate, { digit: 3, lock: true }),
  row('inc', 0xfe, 'Eb', increment, { digit: 0, size: 8, lock: true }),
  row('dec', 0xfe, 'Eb', decrement, { digit: 1, size: 8, lock: true }),
  row('inc', 0xff, 'Ev', increment, { digit: 0, lock: true }),
  row('dec', 0xff, 'Ev', decrement, { digit: 1, lock: true }),
  ...Array.from({ length: 8 }, (_, n) => row('inc', 0x40 + n, 'Zv', increment, { long: 'never' })),
  ...Array.from({ length: 8 }, (_, n) => row('dec', 0x48 + n, 'Zv', decrement, { long: 'never' })),
  row('xadd', 0x0fc0, 'Eb Gb', exchangeAdd, { size: 8, lock: true }),
  row('xadd', 0x0fc1, 'Ev Gv', exchangeAdd, { lock: true }),
  row('cmpxchg', 0x0fb0, 'Eb Gb', compareExchange, { size: 8, lock: true }),
  row('cmpxchg', 0x0fb1, 'Ev Gv', compareExchange, { lock: true }),
  row('cmpxchg8b', 0x0fc7, 'Mq', compareExchange8, { digit: 1, w: 0, lock: true }),
  row('cmpxchg16b', 0x0fc7, 'Mx', compareExchange16, { digit: 1, w: 1, lock: true, feature: 'cx16' }),
  row('adcx', 0x0f38f6, 'Gy Ey', addWith('carry'), { prefix: 0x66, feature: 'adx' }),
  row('adox', 0x0f38f6, 'Gy Ey', addWith('overflow'), { prefix: 0xf3, feature: 'adx' }),
];
