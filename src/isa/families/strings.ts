/** MOVS STOS LODS CMPS SCAS INS OUTS. With REP an execution is one iteration, so that interrupts and faults find exact registers. */
import type { Instruction } from '../instruction.ts';
import type { Form, Meaning, Ops, Size } from '../ops.ts';
import { row } from '../table.ts';

const source = <V>(o: Ops<V>, form: Form): V => o.linear(form.segment, o.register(6, form.addressSize), form.size / 8, false);
const target = <V>(o: Ops<V>, form: Form, write: boolean): V => o.linear(0, o.register(7, form.addressSize), form.size / 8, write);

/** Moves an index register by the element's size, down when DF is set. */
function advance<V>(o: Ops<V>, form: Form, ...registers: number[]): void {
  const bytes = form.size / 8;
  const down = o.and(o.get('systemFlags'), o.constant(0x400));
  const step = o.select(down, o.constant(-bytes), o.constant(bytes));
  for (const n of registers) o.setRegister(n, form.addressSize, o.add(o.register(n, form.addressSize), step));
}

type Step = <V>(o: Ops<V>, form: Form) => void;

/** One iteration, then again while the count lasts; `compares` adds the test of ZF (REPE, REPNE). */
const repeated = (step: Step, compares: boolean, bulk?: 'moveRun' | 'storeRun'): Meaning => (o, form) => {
  if (form.rep === 0) return step(o, form);
  const size = form.addressSize;
  o.when(o.register(1, size), () => {
    if (bulk) o.bulk(bulk, form);
    step(o, form);
    const count = o.zeroExtend(o.sub(o.register(1, size), o.constant(1)), size);
    o.setRegister(1, size, count);
    const more = o.ne(count, o.constant(0));
    const zero = o.flag('zero');
    o.when(compares ? o.and(more, form.rep === 0xf3 ? zero : o.isZero(zero)) : more, () => o.again());
  });
};

const move: Step = (o, form) => {
  const value = o.load(source(o, form), form.size);
  o.store(target(o, form, true), form.size, value);
  advance(o, form, 6, 7);
};
const store: Step = (o, form) => {
  o.store(target(o, form, true), form.size, o.register(0, form.size));
  advance(o, form, 7);
};
const load: Step = (o, form) => {
  o.setRegister(0, form.size, o.load(source(o, form), form.size));
  advance(o, form, 6);
};
const compare: Step = (o, form) => {
  const a = o.load(source(o, form), form.size);
  const b = o.load(target(o, form, false), form.size);
  o.setFlags('sub', form.size, a, b, o.sub(a, b));
  advance(o, form, 6, 7);
};
const scan: Step = (o, form) => {
  const a = o.register(0, form.size);
  const b = o.load(target(o, form, false), form.size);
  o.setFlags('sub', form.size, a, b, o.sub(a, b));
  advance(o, form, 7);
};
/** Permission, and a hypervisor's wish, come before what may be wrong with the memory. SDM 3C, 26.1.1. */
function checkPort<V>(o: Ops<V>, size: Size, input: boolean): void {
  o.helper('checkPort', o.register(2, 16), o.constant(size), o.constant(input ? 1 : 0));
}
const input: Step = (o, form) => {
  const size: Size = form.size === 64 ? 32 : form.size;
  const address = o.linear(0, o.register(7, form.addressSize), size / 8, true);
  checkPort(o, size, true);
  o.loadForWrite(address, size); // the port is read only if the store cannot fault
  o.store(address, size, o.helper('portIn', o.register(2, 16), o.constant(size)));
  advance(o, { ...form, size }, 7);
};
const output: Step = (o, form) => {
  const size: Size = form.size === 64 ? 32 : form.size;
  checkPort(o, size, false);
  const value = o.load(o.linear(form.segment, o.register(6, form.addressSize), size / 8, false), size);
  o.helper('portOut', o.register(2, 16), value, o.constant(size));
  advance(o, { ...form, size }, 6);
};

const pair = (name: string, opcode: number, meaning: Meaning): Instruction[] => [
  row(`${name}b`, opcode, '', meaning, { size: 8, string: true }),
  row(name, opcode + 1, '', meaning, { string: true }),
];

export const stringFamily: readonly Instruction[] = [
  ...pair('ins', 0x6c, repeated(input, false)),
  ...pair('outs', 0x6e, repeated(output, false)),
  ...pair('movs', 0xa4, repeated(move, false, 'moveRun')),
  ...pair('cmps', 0xa6, repeated(compare, true)),
  ...pair('stos', 0xaa, repeated(store, false, 'storeRun')),
  ...pair('lods', 0xac, repeated(load, false)),
  ...pair('scas', 0xae, repeated(scan, true)),
];
