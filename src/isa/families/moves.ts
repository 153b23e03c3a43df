/** Data movement: MOV, MOVZX, LEA, XCHG, PUSH, POP, CMOV, SETcc, conversions of size, flags to and from AH. SDM 2, chapters 3 and 4. */
import type { Instruction } from '../instruction.ts';
import type { Meaning } from '../ops.ts';
import { push, release, top } from '../stack.ts';
import { row } from '../table.ts';

const move: Meaning = (_o, _form, target, source) => target.write(source.read());
const signExtended: Meaning = (o, _form, target, source) => target.write(o.signExtend(source.read(), source.size as 8 | 16 | 32));
const effectiveAddress: Meaning = (_o, _form, target, source) => target.write(source.offset());

const exchange: Meaning = (_o, _form, target, source) => {
  const a = target.readForWrite();
  const b = source.read();
  target.write(b);
  source.write(a);
};

const pushValue: Meaning = (o, form, source) => push(o, form, source.read(), form.size);
/** POP to memory computes its address with the stack pointer already raised. */
const popValue: Meaning = (o, form, target) => {
  const value = top(o, form, form.size);
  if (target.isMemory) {
    const old = o.register(4, 64);
    release(o, form, o.constant(form.size / 8));
    const raised = o.register(4, 64);
    const address = target.address();
    o.setRegister(4, 64, old);
    o.store(address, form.size, value);
    o.setRegister(4, 64, raised);
    return;
  }
  release(o, form, o.constant(form.size / 8));
  target.write(value);
};

const pushAll: Meaning = (o, { size }) => void o.helper('pushAll', o.constant(size));
const popAll: Meaning = (o, { size }) => void o.helper('popAll', o.constant(size));

const conditionalMove: Meaning = (o, form, target, source) => {
  const value = source.read(); // read, and able to fault, whatever the condition says
  target.write(o.select(o.condition(form.condition), value, target.read()));
};
const setByte: Meaning = (o, form, target) => target.write(o.condition(form.condition));

/** CBW CWDE CDQE, and CWD CDQ CQO. */
const widen: Meaning = (o, { size }) => {
  const half = size === 16 ? 8 : size === 32 ? 16 : 32;
  o.setRegister(0, size, o.signExtend(o.register(0, half), half));
};
const spread: Meaning = (o, { size }) => o.setRegister(2, size, o.sar(o.signExtend(o.register(0, size), size), o.constant(63)));

const loadFlags: Meaning = (o) => {
  o.loadStatusFlags(o.shr(o.register(0, 16), o.constant(8)));
};
const storeFlags: Meaning = (o) => {
  const bit = (name: 'carry' | 'parity' | 'adjust' | 'zero' | 'sign', n: number) => o.shl(o.flag(name), o.constant(n));
  const ah = o.or(o.or(o.or(bit('carry', 0), bit('parity', 2)), o.or(bit('adjust', 4), bit('zero', 6))), o.or(bit('sign', 7), o.constant(2)));
  o.setRegister(0, 16, o.or(o.and(o.register(0, 16), o.constant(0xff)), o.shl(ah, o.constant(8))));
};

const translate: Meaning = (o, form) => {
  const offset = o.zeroExtend(o.add(o.register(3, form.addressSize), o.register(0, 8)), form.addressSize);
  o.setRegister(0, 8, o.load(o.linear(form.segment, offset, 1, false), 8));
};

/** MOV to and from a segment register, and the loads of a far pointer. */
const loadSegment: Meaning = (o, _form, target, source) => {
  target.write(source.read());
  o.exitNext();
};
const pushSegment =
  (segment: number): Meaning =>
  (o, form) =>
    push(o, form, o.helper('segmentSelector', o.constant(segment)), form.size);
const popSegment =
  (segment: number): Meaning =>
  (o, form) => {
    o.helper('loadSegment', o.constant(segment), o.zeroExtend(top(o, form, form.size), 16));
    release(o, form, o.constant(form.size / 8));
    o.exitNext();
  };
const loadFar =
  (segment: number): Meaning =>
  (o, { size }, target, memory) => {
    const offset = o.load(memory.address(), size);
    o.helper('loadSegment', o.constant(segment), o.load(memory.address(size / 8), 16), o.constant(1));
    target.write(offset);
    o.exitNext();
  };

export const moveFamily: readonly Instruction[] = [
  row('mov', 0x88, 'Eb Gb', move, { size: 8 }),
  row('mov', 0x89, 'Ev Gv', move),
  row('mov', 0x8a, 'Gb Eb', move, { size: 8 }),
  row('mov', 0x8b, 'Gv Ev', move),
  row('mov', 0x8c, 'Ev Sw', move, { mod: 'register' }),
  row('mov', 0x8c, 'Mw Sw', move, { mod: 'memory' }),
  row('mov', 0x8e, 'Sw Ew', loadSegment),
  row('mov', 0xa0, 'AL Ob', move, { size: 8 }),
  row('mov', 0xa1, 'rAX Ov', move),
  row('mov', 0xa2, 'Ob AL', move, { size: 8 }),
  row('mov', 0xa3, 'Ov rAX', move),
  ...Array.from({ length: 8 }, (_, n) => row('mov', 0xb0 + n, 'Zb Ib', move, { size: 8 })),
  ...Array.from({ length: 8 }, (_, n) => row('mov', 0xb8 + n, 'Zv Iv', move)),
  row('mov', 0xc6, 'Eb Ib', move, { digit: 0, size: 8 }),
  row('mov', 0xc7, 'Ev Iz', move, { digit: 0 }),
  row('movzx', 0x0fb6, 'Gv Eb', move),
  row('movzx', 0x0fb7, 'Gv Ew', move),
  row('movsx', 0x0fbe, 'Gv Eb', signExtended),
  row('movsx', 0x0fbf, 'Gv Ew', signExtended),
  row('movsxd', 0x63, 'Gv Ez', (o, form, t, s) => (form.size === 64 ? signExtended(o, form, t, s, s) : t.write(s.read())), { long: 'only' }),
  row('lea', 0x8d, 'Gv Mn', effectiveAddress),
  row('xchg', 0x86, 'Eb Gb', exchange, { size: 8, lock: true }),
  row('xchg', 0x87, 'Ev Gv', exchange, { lock: true }),
  ...Array.from({ length: 8 }, (_, n) => row('xchg', 0x90 + n, 'Zv rAX', exchange)),
  row('movnti', 0x0fc3, 'My Gy', move, { prefix: 0 }),
  ...Array.from({ length: 8 }, (_, n) => row('push', 0x50 + n, 'Zv', pushValue, { long: 'default' })),
  ...Array.from({ length: 8 }, (_, n) => row('pop', 0x58 + n, 'Zv', popValue, { long: 'default' })),
  row('push', 0x68, 'Iz', pushValue, { long: 'default' }),
  row('push', 0x6a, 'Is', pushValue, { long: 'default' }),
  row('push', 0xff, 'Ev', pushValue, { digit: 6, long: 'default' }),
  row('pop', 0x8f, 'Ev', popValue, { digit: 0, long: 'default' }),
  row('pusha', 0x60, '', pushAll, { long: 'never' }),
  row('popa', 0x61, '', popAll, { long: 'never' }),
  row('push', 0x06, '', pushSegment(0), { long: 'never' }),
  row('push', 0x0e, '', pushSegment(1), { long: 'never' }),
  row('push', 0x16, '', pushSegment(2), { long: 'never' }),
  row('push', 0x1e, '', pushSegment(3), { long: 'never' }),
  row('push', 0x0fa0, '', pushSegment(4), { long: 'default' }),
  row('push', 0x0fa8, '', pushSegment(5), { long: 'default' }),
  row('pop', 0x07, '', popSegment(0), { long: 'never' }),
  row('pop', 0x17, '', popSegment(2), { long: 'never' }),
  row('pop', 0x1f, '', popSegment(3), { long: 'never' }),
  row('pop', 0x0fa1, '', popSegment(4), { long: 'default' }),
  row('pop', 0x0fa9, '', popSegment(5), { long: 'default' }),
  row('les', 0xc4, 'Gz Mn', loadFar(0), { long: 'never' }),
  row('lds', 0xc5, 'Gz Mn', loadFar(3), { long: 'never' }),
  row('lss', 0x0fb2, 'Gv Mn', loadFar(2)),
  row('lfs', 0x0fb4, 'Gv Mn', loadFar(4)),
  row('lgs', 0x0fb5, 'Gv Mn', loadFar(5)),
  ...Array.from({ length: 16 }, (_, n) => row('cmovcc', 0x0f40 + n, 'Gv Ev', conditionalMove)),
  ...Array.from({ length: 16 }, (_, n) => row('setcc', 0x0f90 + n, 'Eb', setByte, { size: 8 })),
  row('cbw', 0x98, '', widen),
  row('cwd', 0x99, '', spread),
  row('sahf', 0x9e, '', loadFlags),
  row('lahf', 0x9f, '', storeFlags),
  row('xlat', 0xd7, '', translate, { size: 8 }),
];
