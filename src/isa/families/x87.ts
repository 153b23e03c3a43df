/**
 * x87: what is common is an operation on plain numbers (isa/x87-names.ts); everything else one helper does whole, by the opcode with its
 * ModRM byte and the address of a memory operand. SDM 1, chapter 8.
 */
import type { Instruction } from '../instruction.ts';
import type { Meaning, Ops, Size } from '../ops.ts';
import { row } from '../table.ts';
import { arithmeticForm, integerForm, type X87Name } from '../x87-names.ts';

const [summary, exceptions] = [0x80, 0x3f] as const;
const [compare, compareAndPop] = [2, 3] as const;

/** Noted of an instruction when it is done: where it is, what it is, where its operand is. */
function note<V>(o: Ops<V>, code: number, address: V | undefined): void {
  o.set('floatOpcode', o.constant(code & 0x7ff));
  o.set('floatIp', o.ip());
  if (address !== undefined) o.set('floatData', address);
}
/** Whether no exception of an earlier instruction waits to be reported. */
const isClear = <V>(o: Ops<V>): V => o.eq(o.and(o.get('floatStatus'), o.constant(summary)), o.constant(0));

interface Instance<V> {
  readonly o: Ops<V>;
  readonly code: number;
  readonly address: V;
  /** The helper does the instruction. */
  readonly slow: () => void;
}
/** The operation `name`, or the helper. */
function attempt<V>({ o, code, address, slow }: Instance<V>, name: X87Name, value: V, form: number | V): void {
  const done = o.x87(name, value, typeof form === 'number' ? o.constant(form) : form);
  o.when(done, () => note(o, code, address), slow);
}
/** The operation `name`, then a store of what it leaves, then the pops. */
function storing<V>({ o, code, address, slow }: Instance<V>, name: X87Name, form: number, size: Size, pops: number): void {
  o.when(
    o.x87(name, o.constant(0), o.constant(form)),
    () => {
      o.store(address, size, o.x87Out(false));
      o.x87('stored', o.constant(0), o.constant(pops));
      note(o, code, address);
    },
    slow,
  );
}
function storeWhole<V>({ o, code, address, slow }: Instance<V>): void {
  o.when(
    o.x87('to80', o.constant(0), o.constant(0)),
    () => {
      const upper = o.add(address, o.constant(8));
      o.loadForWrite(upper, 16);
      o.store(address, 64, o.x87Out(false));
      o.store(upper, 16, o.x87Out(true));
      o.x87('stored', o.constant(0), o.constant(1));
      note(o, code, address);
    },
    slow,
  );
}
function loadControl<V>({ o, address, slow }: Instance<V>): void {
  const word = o.load(address, 16);
  const unmasked = o.and(o.and(o.get('floatStatus'), o.xor(word, o.constant(0xffff))), o.constant(exceptions));
  o.when(unmasked, slow, () => o.set('floatControl', o.or(o.and(word, o.constant(0x1f7f)), o.constant(0x40))));
}
const status = <V>(o: Ops<V>): V => o.or(o.and(o.get('floatStatus'), o.constant(0xc7ff)), o.shl(o.get('floatTop'), o.constant(11)));

/** What an instruction with a memory operand does when no exception is pending; undefined: always the helper. */
type OnMemory = <V>(i: Instance<V>) => void;
const arithmeticOn = (size: 32 | 64, digit: number): OnMemory => (i) => {
  const value = i.o.load(i.address, size);
  if (digit === compare || digit === compareAndPop) attempt(i, `compare${size}`, value, digit - compare);
  else attempt(i, `arithmetic${size}`, value, digit);
};
const arithmeticOnInteger = (size: 16 | 32, digit: number): OnMemory => (i) => {
  const value = i.o.signExtend(i.o.load(i.address, size), size);
  if (digit === compare || digit === compareAndPop) attempt(i, 'compareInteger', value, digit - compare);
  else attempt(i, 'arithmeticInteger', value, digit);
};
const pushInteger = (size: 16 | 32 | 64): OnMemory => (i) => attempt(i, 'pushInteger', i.o.signExtend(i.o.load(i.address, size), size), 0);
const storeInteger = (size: 16 | 32 | 64, pops: number, truncates = false): OnMemory => (i) => storing(i, 'toInteger', integerForm(size, truncates), size, pops);

function onMemory(opcode: number, digit: number): OnMemory | undefined {
  switch (opcode) {
    case 0xd8: return arithmeticOn(32, digit);
    case 0xdc: return arithmeticOn(64, digit);
    case 0xda: return arithmeticOnInteger(32, digit);
    case 0xde: return arithmeticOnInteger(16, digit);
    case 0xd9: switch (digit) {
      case 0: return (i) => attempt(i, 'push32', i.o.load(i.address, 32), 0);
      case 2: case 3: return (i) => storing(i, 'to32', 0, 32, digit - 2);
      case 5: return loadControl;
      default: return undefined;
    }
    case 0xdb: switch (digit) {
      case 0: return pushInteger(32);
      case 1: return storeInteger(32, 1, true);
      case 2: case 3: return storeInteger(32, digit - 2);
      case 5: return (i) => attempt(i, 'push80', i.o.load(i.address, 64), i.o.load(i.o.add(i.address, i.o.constant(8)), 16));
      case 7: return storeWhole;
      default: return undefined;
    }
    case 0xdd: switch (digit) {
      case 0: return (i) => attempt(i, 'push64', i.o.load(i.address, 64), 0);
      case 1: return storeInteger(64, 1, true);
      case 2: case 3: return (i) => storing(i, 'to64', 0, 64, digit - 2);
      default: return undefined;
    }
    default: switch (digit) {
      case 0: return pushInteger(16);
      case 1: return storeInteger(16, 1, true);
      case 2: case 3: return storeInteger(16, digit - 2);
      case 5: return pushInteger(64);
      case 7: return storeInteger(64, 1);
      default: return undefined;
    }
  }
}

/** An operation on registers: its name, value and form. */
type OnRegisters = readonly [name: X87Name, value: bigint, form: number];
const one = 1n << 63n;
const unit = 0x3fff;

function arithmeticOnRegisters(opcode: number, digit: number, i: number): OnRegisters | undefined {
  const isCompare = digit === compare || digit === compareAndPop;
  if (opcode === 0xde) {
    if (isCompare) return digit === compareAndPop && i === 1 ? ['compare', 0n, 1 | (2 << 3)] : undefined;
  } else if (isCompare) return ['compare', 0n, i | ((digit - compare) << 3)];
  if (opcode === 0xd8) return ['arithmetic', 0n, arithmeticForm(digit, 0, i, 0)];
  return ['arithmetic', 0n, arithmeticForm(digit >= 4 ? digit ^ 1 : digit, i, 0, opcode === 0xde ? 1 : 0)];
}
function onRegisters(opcode: number, modrm: number): OnRegisters | undefined {
  const digit = (modrm >> 3) & 7;
  const i = modrm & 7;
  switch (opcode) {
    case 0xd8: case 0xdc: case 0xde: return arithmeticOnRegisters(opcode, digit, i);
    case 0xd9: switch (modrm) {
      case 0xe0: case 0xe1: return ['changeSign', 0n, modrm & 1];
      case 0xe8: return ['push80', one, unit];
      case 0xee: return ['push80', 0n, 0];
      default: return digit === 0 ? ['pushCopy', 0n, i] : digit === 1 ? ['exchange', 0n, i] : undefined;
    }
    case 0xda: return modrm === 0xe9 ? ['compare', 0n, 1 | (2 << 3)] : undefined;
    case 0xdb: return digit === 5 || digit === 6 ? ['compareFlags', 0n, i] : undefined;
    case 0xdd:
      if (digit === 2 || digit === 3) return ['storeRegister', 0n, i | ((digit - 2) << 3)];
      return digit === 4 || digit === 5 ? ['compare', 0n, i | ((digit - 4) << 3)] : undefined;
    default: return digit === 5 || digit === 6 ? ['compareFlags', 0n, i | 8] : undefined;
  }
}

const memoryRow = (opcode: number): Meaning => (o, { immediate, size }, memory) => {
  const digit = (immediate >> 3) & 7;
  const address = memory.address();
  const code = (opcode << 8) | immediate;
  if ((opcode === 0xd9 || opcode === 0xdd) && digit === 7) {
    o.store(address, 16, opcode === 0xd9 ? o.get('floatControl') : status(o));
    return;
  }
  const slow = (): void => void o.helper('x87', o.constant(code), address, o.constant(size));
  const fast = onMemory(opcode, digit);
  if (fast) o.when(isClear(o), () => fast({ o, code, address, slow }), slow);
  else slow();
};
const registerRow = (opcode: number): Meaning => (o, { immediate, size }) => {
  const code = (opcode << 8) | immediate;
  if (code === 0xdfe0) {
    o.setRegister(0, 16, status(o));
    return;
  }
  const slow = (): void => void o.helper('x87', o.constant(code), o.constant(0), o.constant(size));
  const fast = onRegisters(opcode, immediate);
  if (!fast) return slow();
  const [name, value, form] = fast;
  const attempted = (): void => {
    const done = o.x87(name, o.constant(value), o.constant(form));
    const finish = (): void => {
      if (name === 'compareFlags') {
        o.loadStatusFlags(o.zeroExtend(done, 8));
        o.setFlagBits({ overflow: o.constant(0) });
      }
      note(o, code, undefined);
    };
    o.when(done, finish, slow);
  };
  o.when(isClear(o), attempted, slow);
};
const [monitorCoprocessor, taskSwitched] = [2, 8] as const;
const wait: Meaning = (o) => {
  const both = o.constant(monitorCoprocessor | taskSwitched);
  const isUnavailable = o.eq(o.and(o.get('cr0'), both), both);
  o.when(o.or(o.isZero(isClear(o)), isUnavailable), () => void o.helper('x87', o.constant(0x9b00), o.constant(0), o.constant(0)));
};
const opcodes = [0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf];

export const x87Family: readonly Instruction[] = [
  ...opcodes.flatMap((opcode) => [
    row(`x87 ${opcode.toString(16)}`, opcode, 'Mn', memoryRow(opcode), { mod: 'memory', feature: 'x87', modrmInShape: true }),
    row(`x87 ${opcode.toString(16)}`, opcode, '', registerRow(opcode), { mod: 'register', feature: 'x87', modrmInShape: true }),
  ]),
  row('fwait', 0x9b, '', wait),
];
