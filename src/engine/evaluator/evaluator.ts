/**
 * The evaluator: runs meanings on bigints, one instruction at a time. Slow and obviously right: the oracle of the other executors.
 * It works on the same state and the same helpers, but computes flags eagerly and goes to memory without a TLB.
 */
import { assert, Bug } from '../../base/assert.ts';
import { Fault, Vector } from '../../cpu/fault.ts';
import { readFlags, writeStatusFlags } from '../../cpu/flags.ts';
import { accessOf } from '../../cpu/page-walk.ts';
import type { Processor } from '../../cpu/processor.ts';
import { linearAddress } from '../../cpu/segments.ts';
import { At, Flag, offsetOf, Segment, stateLayout } from '../../cpu/state.ts';
import { enterFlat } from '../../cpu/transfers.ts';
import type { Decoded, DecodedOperand } from '../../isa/decode.ts';
import { type FloatOp, floatCode } from '../../isa/float-ops.ts';
import type { HelperName } from '../../isa/helper-names.ts';
import { needsFloat } from '../../isa/instruction.ts';
import type { FlagBits, FlagName, FlagRule, Form, Operand, Ops, Size } from '../../isa/ops.ts';
import type { ReadStateName, RightsName, StateName } from '../../isa/state-names.ts';
import type { VectorOp1, VectorOp2 } from '../../isa/vector-names.ts';
import { pageBytes } from '../../memory/pool.ts';
import { vector1, vector2, vectorShift } from './vector.ts';

const u = (n: bigint, bits = 64): bigint => BigInt.asUintN(bits, n);
/** SF, ZF, AF, PF and CF. */
const loadedFlags = Flag.sign | Flag.zero | Flag.adjust | Flag.parity | Flag.carry;
const bool = (b: boolean): bigint => (b ? 1n : 0n);
const evenParity = (n: bigint): boolean => [...(n & 0xffn).toString(2)].filter((c) => c === '1').length % 2 === 0;
const rightsFields = { esRights: Segment.es, dsRights: Segment.ds, fsRights: Segment.fs, gsRights: Segment.gs } as const;
const segmentFields = { fsBase: Segment.fs, gsBase: Segment.gs, csBase: Segment.cs } as const;

type ShortName = Exclude<ReadStateName, keyof typeof segmentFields | RightsName>;
const isShort = (name: ReadStateName): name is ShortName => stateLayout.fields[name as ShortName].size === 4;

class EvaluatorOps implements Ops<bigint> {
  readonly p: Processor;
  readonly #d: Decoded;
  /** Where to go on; undefined means the next instruction. */
  jumped = false;

  constructor(p: Processor, d: Decoded) {
    this.p = p;
    this.#d = d;
  }

  constant = (value: bigint | number): bigint => u(BigInt(value));
  add = (a: bigint, b: bigint): bigint => u(a + b);
  sub = (a: bigint, b: bigint): bigint => u(a - b);
  mul = (a: bigint, b: bigint): bigint => u(a * b);
  and = (a: bigint, b: bigint): bigint => a & b;
  or = (a: bigint, b: bigint): bigint => a | b;
  xor = (a: bigint, b: bigint): bigint => a ^ b;
  shl = (a: bigint, n: bigint): bigint => u(a << (n & 63n));
  shr = (a: bigint, n: bigint): bigint => a >> (n & 63n);
  sar = (a: bigint, n: bigint): bigint => u(BigInt.asIntN(64, a) >> (n & 63n));
  divu = (a: bigint, b: bigint): bigint => a / b;
  remu = (a: bigint, b: bigint): bigint => a % b;
  divs = (a: bigint, b: bigint): bigint => u(BigInt.asIntN(64, a) / BigInt.asIntN(64, b));
  rems = (a: bigint, b: bigint): bigint => u(BigInt.asIntN(64, a) % BigInt.asIntN(64, b));
  clz = (a: bigint): bigint => BigInt(64 - (a === 0n ? 0 : a.toString(2).length));
  ctz = (a: bigint): bigint => (a === 0n ? 64n : BigInt((a & -a).toString(2).length - 1));
  popcnt = (a: bigint): bigint => BigInt([...a.toString(2)].filter((c) => c === '1').length);
  zeroExtend = (a: bigint, size: Size): bigint => u(a, size);
  signExtend = (a: bigint, size: Size): bigint => u(BigInt.asIntN(size, a));
  eq = (a: bigint, b: bigint): bigint => bool(a === b);
  ne = (a: bigint, b: bigint): bigint => bool(a !== b);
  ltu = (a: bigint, b: bigint): bigint => bool(a < b);
  lts = (a: bigint, b: bigint): bigint => bool(BigInt.asIntN(64, a) < BigInt.asIntN(64, b));
  isZero = (a: bigint): bigint => bool(a === 0n);
  select = (condition: bigint, a: bigint, b: bigint): bigint => (condition !== 0n ? a : b);
  when(condition: bigint, then: () => void, otherwise?: () => void): void {
    if (condition !== 0n) then();
    else otherwise?.();
  }

  get(name: ReadStateName): bigint {
    if (name in segmentFields) return this.p.v.get64(At.segmentBase, segmentFields[name as keyof typeof segmentFields]);
    if (name in rightsFields) return BigInt(this.p.v.get(At.segmentRights, rightsFields[name as keyof typeof rightsFields]));
    return isShort(name) ? BigInt(this.p.v.get(At[name]) >>> 0) : this.p.v.get64(At[name as 'cr0']);
  }
  set(name: StateName, value: bigint): void {
    if (name in segmentFields) this.p.v.set64(At.segmentBase, value, segmentFields[name as keyof typeof segmentFields]);
    else if (isShort(name)) this.p.v.set(At[name], Number(u(value, 32)));
    else this.p.v.set64(At[name as 'cr0'], value);
  }
  register = (n: number, size: Size): bigint => u(this.p.v.register(n), size);
  setRegister(n: number, size: Size, value: bigint): void {
    const old = this.p.v.register(n);
    const kept = size >= 32 ? 0n : (old >> BigInt(size)) << BigInt(size);
    this.p.v.setRegister(n, kept | u(value, size));
  }
  xmm(n: number): bigint {
    const at = this.#vectorIndex('xmm', n);
    return (this.p.v.quads[at] ?? 0n) | ((this.p.v.quads[at + 1] ?? 0n) << 64n);
  }
  #vectorIndex(field: 'xmm' | 'float', n: number): number {
    return (this.p.v.base + offsetOf(field, n)) >>> 3;
  }
  setXmm(n: number, value: bigint): void {
    const at = this.#vectorIndex('xmm', n);
    this.p.v.quads[at] = u(value);
    this.p.v.quads[at + 1] = value >> 64n;
  }
  mmx = (n: number): bigint => this.p.v.quads[this.#vectorIndex('float', n)] ?? 0n;
  setMmx(n: number, value: bigint): void {
    const at = this.#vectorIndex('float', n);
    this.p.v.quads[at] = u(value);
    this.p.v.pool.view.setUint16(at * 8 + 8, 0xffff, true);
  }

  load = (address: bigint, size: Size): bigint => this.p.load(address, size / 8);
  loadForWrite = (address: bigint, size: Size): bigint => this.p.paging.read(u(address), size / 8, accessOf(this.p.v, 'write'));
  store(address: bigint, size: Size, value: bigint): void {
    this.p.store(address, size / 8, u(value, size));
  }
  load128(address: bigint): bigint {
    return this.p.paging.readWide(u(address), accessOf(this.p.v, 'read'));
  }
  store128(address: bigint, value: bigint): void {
    this.p.paging.writeWide(u(address), value, accessOf(this.p.v, 'write'));
  }
  linear(segment: number, offset: bigint, bytes: number, write: boolean): bigint {
    return linearAddress(this.p.v, segment, offset, bytes, write);
  }

  flag(name: FlagName): bigint {
    const flags = readFlags(this.p.v);
    return bool((flags & { carry: 1, parity: 4, adjust: 0x10, zero: 0x40, sign: 0x80, overflow: 0x800 }[name]) !== 0);
  }
  condition(code: number): bigint {
    const f = readFlags(this.p.v);
    const has = (mask: number): boolean => (f & mask) !== 0;
    const less = has(Flag.sign) !== has(Flag.overflow);
    const base =
      [
        has(Flag.overflow),
        has(Flag.carry),
        has(Flag.zero),
        has(Flag.carry) || has(Flag.zero),
        has(Flag.sign),
        has(Flag.parity),
        less,
        less || has(Flag.zero),
      ][code >> 1] ?? false;
    return bool(base !== ((code & 1) === 1));
  }
  /** By the definitions of the manual: carry and overflow from the exact sum or difference. */
  setFlags(rule: FlagRule, size: Size, a: bigint, b: bigint, result: bigint): void {
    const r = u(result, size);
    const [x, y] = [u(a, size), u(b, size)];
    const old = readFlags(this.p.v);
    let flags = (r === 0n ? Flag.zero : 0) | (r >> BigInt(size - 1) === 1n ? Flag.sign : 0) | (evenParity(r) ? Flag.parity : 0);
    if (rule !== 'logic') {
      const subtracts = rule === 'sub' || rule === 'dec';
      // the carry that came in is what the result has beyond a ± b
      const carryIn = u(subtracts ? x - y - r : r - x - y, size);
      const signed = (n: bigint): bigint => BigInt.asIntN(size, n);
      const exact = subtracts ? x - y - carryIn : x + y + carryIn;
      const exactSigned = subtracts ? signed(x) - signed(y) - carryIn : signed(x) + signed(y) + carryIn;
      const keepsCarry = rule === 'inc' || rule === 'dec';
      if (keepsCarry ? (old & Flag.carry) !== 0 : exact < 0n || exact >> BigInt(size) !== 0n) flags |= Flag.carry;
      if (exactSigned !== signed(r)) flags |= Flag.overflow;
      const nibble = subtracts ? (x & 15n) - (y & 15n) - carryIn : (x & 15n) + (y & 15n) + carryIn;
      if (nibble < 0n || nibble > 15n) flags |= Flag.adjust;
    }
    writeStatusFlags(this.p.v, flags);
  }
  loadStatusFlags(image: bigint): void {
    writeStatusFlags(this.p.v, (Number(image) & loadedFlags) | (readFlags(this.p.v) & Flag.overflow));
  }
  setFlagBits({ carry, overflow, adjust, zero, result }: FlagBits<bigint>): void {
    let flags = readFlags(this.p.v);
    const put = (mask: number, value: boolean): void => {
      flags = value ? flags | mask : flags & ~mask;
    };
    if (result) {
      const r = u(result.value, result.size);
      put(Flag.zero, r === 0n);
      put(Flag.sign, r >> BigInt(result.size - 1) === 1n);
      put(Flag.parity, evenParity(r));
    }
    if (carry !== undefined) put(Flag.carry, carry !== 0n);
    if (overflow !== undefined) put(Flag.overflow, overflow !== 0n);
    if (adjust !== undefined) put(Flag.adjust, adjust !== 0n);
    if (zero !== undefined) put(Flag.zero, zero !== 0n);
    writeStatusFlags(this.p.v, flags);
  }

  ip = (): bigint => this.p.v.ip;
  next = (): bigint => (this.p.v.long ? this.p.v.nextIp : u(this.p.v.ip + BigInt(this.#d.length)));
  #go(target: bigint): void {
    assert(!this.jumped, 'a meaning jumps twice');
    this.jumped = true;
    this.p.v.jump(target);
  }
  enterFlat(level: 0 | 3, codeSelector: bigint, stackSelector: bigint): void {
    enterFlat(this.p.v, Number(codeSelector), Number(stackSelector), level, true);
    this.p.v.refreshMode();
  }
  jump(target: bigint): void {
    this.#go(target);
  }
  jumpRelative(): void {
    this.#go(u(this.p.v.ip + BigInt(this.#d.length) + (this.#d.immediates.at(-1) ?? 0n), this.#d.form.size));
  }
  again(): void {
    this.#go(this.p.v.ip);
  }
  bulk(): void {}
  exitNext(): void {
    this.#go(this.p.v.nextIp);
  }
  exitHere(): void {
    this.jumped = true;
  }
  fault(vector: number, error = 0): void {
    throw new Fault(vector, vector === Vector.protection || vector === Vector.stack ? error : undefined);
  }
  float(op: FloatOp, size: 32 | 64, a: bigint, b: bigint, extra = 0n): bigint {
    return this.helper('float', BigInt(floatCode(op, size)), a, b, extra);
  }
  /** Nothing is left out of the helper here: it is what the fast paths are compared with. */
  x87(): bigint {
    return 0n;
  }
  x87Out(): bigint {
    throw new Bug("x87 operations are the helper's");
  }
  helper(name: HelperName, ...args: bigint[]): bigint {
    const [a = 0n, b = 0n, c = 0n, d = 0n, e = 0n] = args.map((n) => u(n));
    return u(this.p.helpers[name](this.p, a, b, c, d, e) ?? 0n);
  }

  vector1 = (op: VectorOp1, a: bigint): bigint => vector1(op, a);
  vector2 = (op: VectorOp2, a: bigint, b: bigint): bigint => vector2(op, a, b);
  vectorShift = (op: 'shl' | 'shr_u' | 'shr_s', lane: 16 | 32 | 64, a: bigint, count: bigint): bigint => vectorShift(op, lane, a, count);
  shuffle(a: bigint, b: bigint, lanes: readonly number[]): bigint {
    const both = a | (b << 128n);
    return lanes.reduce((out, lane, n) => out | (((both >> BigInt(8 * lane)) & 0xffn) << BigInt(8 * n)), 0n);
  }
  lane = (a: bigint, size: Size, index: number): bigint => u(a >> BigInt(size * index), size);
  withLane(a: bigint, size: Size, index: number, value: bigint): bigint {
    const shift = BigInt(size * index);
    return (a & ~(((1n << BigInt(size)) - 1n) << shift)) | (u(value, size) << shift);
  }
  vector = (low: bigint, high: bigint): bigint => u(low) | (u(high) << 64n);
}

class EvaluatorOperand implements Operand<bigint> {
  readonly size: number;
  readonly isMemory: boolean;
  readonly #o: EvaluatorOps;
  readonly #d: Decoded;
  readonly #operand: DecodedOperand;

  constructor(o: EvaluatorOps, d: Decoded, operand: DecodedOperand) {
    this.#o = o;
    this.#d = d;
    this.#operand = operand;
    this.size = operand.size;
    this.isMemory = operand.kind === 'memory';
  }
  read(): bigint {
    return this.#read(false);
  }
  readForWrite(): bigint {
    return this.#read(true);
  }
  #read(write: boolean): bigint {
    const o = this.#o;
    const { kind, number } = this.#operand;
    const size = this.size as Size;
    switch (kind) {
      case 'register':
        return o.register(number, size);
      case 'high':
        return o.register(number, 16) >> 8n;
      case 'memory':
        return this.size === 128
          ? o.load128(this.#linear(write))
          : write
            ? o.loadForWrite(this.#linear(true), size)
            : o.load(this.#linear(false), size);
      case 'immediate':
        return u(this.#d.immediates[number] ?? 0n);
      case 'segment':
        return o.helper('segmentSelector', BigInt(number));
      case 'control':
        return o.helper('readControl', BigInt(number));
      case 'debug':
        return o.helper('readDebug', BigInt(number));
      case 'xmm':
        return u(o.xmm(number), this.size);
      case 'mmx':
        return u(o.mmx(number), this.size);
    }
  }
  write(value: bigint): void {
    const o = this.#o;
    const { kind, number } = this.#operand;
    const size = this.size as Size;
    switch (kind) {
      case 'register':
        return o.setRegister(number, size, value);
      case 'high':
        return o.setRegister(number, 16, (o.register(number, 16) & 0xffn) | (u(value, 8) << 8n));
      case 'memory':
        return this.size === 128 ? o.store128(this.#linear(true), value) : o.store(this.#linear(true), size, value);
      case 'segment':
        return void o.helper('loadSegment', BigInt(number), value);
      case 'control':
        return void o.helper('writeControl', BigInt(number), value);
      case 'debug':
        return void o.helper('writeDebug', BigInt(number), value);
      case 'xmm':
        return o.setXmm(number, this.size === 128 ? value : (o.xmm(number) & ~((1n << BigInt(this.size)) - 1n)) | u(value, this.size));
      case 'mmx':
        return o.setMmx(number, value);
      case 'immediate':
        assert(false, 'write to an immediate');
    }
  }
  offset(): bigint {
    const { memory, form, length } = this.#d;
    assert(memory, 'a memory operand without an address');
    const register = (n: number): bigint => (n < 0 ? 0n : n === 16 ? this.#o.p.v.ip + BigInt(length) : this.#o.p.v.register(n));
    return u(register(memory.base) + (register(memory.index) << BigInt(memory.scale)) + memory.displacement, form.addressSize);
  }
  #linear(write: boolean, offset = this.offset()): bigint {
    return linearAddress(this.#o.p.v, this.#d.memory?.segment ?? Segment.ds, offset, Math.max(1, this.size / 8), write);
  }
  address(offset = 0): bigint {
    return u(this.#linear(false) + BigInt(offset));
  }
  addressAt(displacement: bigint): bigint {
    return this.#linear(false, u(this.offset() + displacement, this.#d.form.addressSize));
  }
}

export class Evaluator {
  readonly #p: Processor;

  constructor(p: Processor) {
    this.#p = p;
  }

  /** One instruction, or one iteration of a REP. Faults of the guest are thrown. */
  step(): void {
    const { v } = this.#p;
    const ip = v.ip;
    v.jump(ip);
    const d = this.#fetch();
    if (typeof d === 'string') throw d === 'undefined' ? new Fault(Vector.undefined) : new Fault(Vector.protection, 0);
    v.set(At.length, d.length);
    v.set(At.inStack, (d.memory?.segment ?? Segment.ss) === Segment.ss ? 1 : 0);
    const o = new EvaluatorOps(this.#p, d);
    const kind = v.floatRestricted ? needsFloat(d.row) : undefined;
    if (kind) o.helper(kind === 'x87' ? 'checkFloat' : 'checkVector');
    const [a, b, c] = d.operands.map((operand) => new EvaluatorOperand(o, d, operand));
    const absent = undefined as unknown as Operand<bigint>;
    try {
      d.row.meaning(o, d.form as Form, a ?? absent, b ?? absent, c ?? absent);
    } finally {
      v.set(At.inStack, 0);
    }
    if (!o.jumped) v.jump(v.nextIp);
  }

  #fetch(): Decoded | 'undefined' | 'long' {
    const { v, paging } = this.#p;
    const linear = u(v.ip + v.get64(At.segmentBase, Segment.cs), v.long ? 64 : 32);
    const access = accessOf(v, 'fetch');
    const bytes = new Uint8Array(16);
    const read = (address: bigint, at: number, count: number): void => {
      const page = paging.translate(Number(u(address, 32)) | 0, Number(address >> 32n) | 0, access);
      const frame = v.space.frameOf(page);
      if (frame === 0) throw new Fault(Vector.undefined);
      const start = frame * pageBytes + Number(address & 0xfffn);
      bytes.set(v.pool.bytes.subarray(start, start + count), at);
    };
    const here = Math.min(16, pageBytes - Number(linear & 0xfffn));
    read(linear, 0, here);
    const first = this.#p.decoder.decode(bytes, 0, here, v.codeSize);
    if (first !== 'short') return first;
    read(u(linear + BigInt(here)), here, 16 - here);
    const whole = this.#p.decoder.decode(bytes, 0, 16, v.codeSize);
    return whole === 'short' ? 'long' : whole;
  }
}
