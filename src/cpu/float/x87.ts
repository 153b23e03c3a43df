/** The x87 instructions, decoded by opcode and ModRM byte. SDM 1, chapter 8; SDM 2, chapter 3 (F*). */
import { Fault, Vector } from '../fault.ts';
import { readFlags, writeStatusFlags } from '../flags.ts';
import type { Processor } from '../processor.ts';
import { At, Cr0, Flag } from '../state.ts';
import { convert, fromInteger, roundToIntegral, toInteger } from './conversions.ts';
import { loadDecimal, storeDecimal } from './decimal.ts';
import { loadEnvironment, restoreState, saveState, storeEnvironment } from './environment.ts';
import { Status } from './registers.ts';
import { add, compare, defaultNan, divide, double, Exception, extended, type Format, multiply, round, single, squareRoot, unpack } from './soft.ts';
import { indefinite, Unit } from './unit.ts';
import { extract, remainder, scale } from './x87-exponents.ts';
import { transcendental } from './x87-functions.ts';

const signBit = 1n << 79n;

/** Executes `code` (opcode << 8 | ModRM); `address` is a memory operand's. Meanings do FNSTCW and FNSTSW by themselves. */
export function executeX87(p: Processor, code: number, address: bigint, size: number): void {
  const opcode = code >> 8;
  const modrm = code & 0xff;
  const { v } = p;
  const cr0 = v.cr0;
  if (opcode === 0x9b) {
    if ((cr0 & (Cr0.mp | Cr0.ts)) === (Cr0.mp | Cr0.ts)) throw new Fault(Vector.deviceNotAvailable);
    return checkPending(p);
  }
  const u = new Unit(p);
  const onRegister = modrm >= 0xc0;
  const digit = (modrm >> 3) & 7;
  const control = onRegister ? isControl(opcode, modrm) : (opcode === 0xd9 || opcode === 0xdd) && digit >= 4;
  if (!control) checkPending(p);
  if (onRegister) onRegisters(u, opcode, modrm);
  else onMemory(u, opcode, digit, address, size);
  if (!control) note(p, code, address);
}

/** Waiting instructions report an unmasked exception of an earlier one. */
function checkPending(p: Processor): void {
  if ((p.v.get(At.floatStatus) & Status.summary) !== 0 && (p.v.cr0 & Cr0.ne) !== 0) throw new Fault(Vector.float);
}
const isControl = (opcode: number, modrm: number): boolean => opcode === 0xdb && modrm >= 0xe0 && modrm <= 0xe4;
/** Where the last non-control instruction was, for FNSAVE and FXSAVE. */
function note(p: Processor, code: number, address: bigint): void {
  p.v.set(At.floatOpcode, code & 0x7ff);
  p.v.set64(At.floatIp, p.v.ip);
  if ((code & 0xff) < 0xc0) p.v.set64(At.floatData, address);
}

// --- memory operands

function onMemory(u: Unit, opcode: number, digit: number, address: bigint, size: number): void {
  const { p } = u;
  switch (opcode) {
    case 0xd8: return arithmeticWithMemory(u, digit, single, p.load(address, 4));
    case 0xdc: return arithmeticWithMemory(u, digit, double, p.load(address, 8));
    case 0xda: return arithmeticWithInteger(u, digit, BigInt.asIntN(32, p.load(address, 4)));
    case 0xde: return arithmeticWithInteger(u, digit, BigInt.asIntN(16, p.load(address, 2)));
    case 0xd9: return memoryD9(u, digit, address, size);
    case 0xdb: return memoryDb(u, digit, address);
    case 0xdd: return memoryDd(u, digit, address, size);
    default: return memoryDf(u, digit, address);
  }
}
function widen(u: Unit, bits: bigint, from: Format): bigint {
  const c = u.full();
  const value = convert(c, bits, from, extended);
  u.adopt(c);
  return value;
}
/** A memory operand is not looked at when ST(0) is missing. */
function widenBeside(u: Unit, bits: bigint, from: Format): bigint {
  return u.stack.isEmpty(0) ? 0n : widen(u, bits, from);
}
function pushWidened(u: Unit, bits: bigint, from: Format): void {
  u.push(u.stack.isEmpty(-1) ? widen(u, bits, from) : indefinite);
}
function arithmeticWithMemory(u: Unit, digit: number, f: Format, bits: bigint): void {
  if (digit === 2 || digit === 3) {
    const a = u.read(0);
    compareValues(u, a, widenBeside(u, bits, f), false);
    if (u.report() && digit === 3) u.stack.pop();
    return;
  }
  const a = u.read(0);
  const b = widenBeside(u, bits, f);
  store(u, 0, operate(u, digit, a, b));
}
function arithmeticWithInteger(u: Unit, digit: number, value: bigint): void {
  const b = fromInteger(u.full(), value, extended);
  const a = u.read(0);
  if (digit === 2 || digit === 3) {
    compareValues(u, a, b, false);
    if (u.report() && digit === 3) u.stack.pop();
    return;
  }
  store(u, 0, operate(u, digit, a, b));
}
/** ADD MUL - - SUB SUBR DIV DIVR */
function operate(u: Unit, digit: number, a: bigint, b: bigint): bigint {
  if ((u.c.flags & Exception.invalid) !== 0 && (u.p.v.get(At.floatStatus) & Status.stackFault) !== 0 && (u.stack.isEmpty(0) || a === indefinite)) return indefinite;
  switch (digit) {
    case 0: return add(u.c, a, b, extended);
    case 1: return multiply(u.c, a, b, extended);
    case 4: return add(u.c, a, b, extended, true);
    case 5: return add(u.c, b, a, extended, true);
    case 6: return divide(u.c, a, b, extended);
    default: return divide(u.c, b, a, extended);
  }
}
function store(u: Unit, i: number, value: bigint): void {
  if (u.report()) u.stack.set(i, value);
}
/** Writes to memory first, so that a page fault leaves the stack alone; then the exceptions, then the pop. */
function storeOut(u: Unit, address: bigint, bytes: number, value: bigint, pop: boolean): void {
  const unmasked = u.c.flags & ~u.c.mode.masked;
  const blocked = (unmasked & (Exception.invalid | Exception.denormal | Exception.divide)) !== 0 || (unmasked & (Exception.overflow | Exception.underflow)) !== 0;
  if (!blocked) {
    if (bytes > 8) u.p.checkStore(address + 8n, bytes - 8);
    for (let at = 0; at < bytes; at += 8) u.p.store(address + BigInt(at), Math.min(8, bytes - at), (value >> BigInt(8 * at)) & 0xffff_ffff_ffff_ffffn);
  }
  u.report();
  if (!blocked && pop) u.stack.pop();
}
function storeReal(u: Unit, address: bigint, f: Format, pop: boolean): void {
  const c = u.full();
  const empty = u.stack.isEmpty(0);
  const value = u.read(0);
  const bits = empty ? defaultNan(f) : convert(c, value, extended, f);
  // a denormal operand is not reported when storing
  c.flags &= ~Exception.denormal;
  u.adopt(c);
  storeOut(u, address, f === single ? 4 : 8, bits, pop);
}
function storeInteger(u: Unit, address: bigint, bits: number, pop: boolean, truncate = false): void {
  const value = toInteger(u.c, u.read(0), extended, bits, truncate ? 3 : u.c.mode.rounding);
  u.c.flags &= ~Exception.denormal;
  storeOut(u, address, bits / 8, value, pop);
}
function load80(u: Unit, address: bigint): bigint {
  return u.p.load(address, 8) | (u.p.load(address + 8n, 2) << 64n);
}

function memoryD9(u: Unit, digit: number, address: bigint, size: number): void {
  const { p } = u;
  switch (digit) {
    case 0: return pushWidened(u, p.load(address, 4), single);
    case 2: case 3: return storeReal(u, address, single, digit === 3);
    case 4:
      checkPending(p);
      return loadEnvironment(p, u.stack, address, size);
    case 5: {
      checkPending(p);
      u.stack.control = Number(p.load(address, 2));
      return;
    }
    case 6: return storeEnvironment(p, u.stack, address, size);
    default: throw new Fault(Vector.undefined);
  }
}
function memoryDb(u: Unit, digit: number, address: bigint): void {
  switch (digit) {
    case 0: return u.push(fromInteger(u.full(), BigInt.asIntN(32, u.p.load(address, 4)), extended));
    case 1: return storeInteger(u, address, 32, true, true);
    case 2: case 3: return storeInteger(u, address, 32, digit === 3);
    case 5: return u.push(load80(u, address));
    case 7: return storeOut(u, address, 10, u.read(0), true);
    default: throw new Fault(Vector.undefined);
  }
}
function memoryDd(u: Unit, digit: number, address: bigint, size: number): void {
  const { p } = u;
  switch (digit) {
    case 0: return pushWidened(u, p.load(address, 8), double);
    case 1: return storeInteger(u, address, 64, true, true);
    case 2: case 3: return storeReal(u, address, double, digit === 3);
    case 4:
      checkPending(p);
      return restoreState(p, u.stack, address, size);
    case 6: return saveState(p, u.stack, address, size);
    default: throw new Fault(Vector.undefined);
  }
}
function memoryDf(u: Unit, digit: number, address: bigint): void {
  const { p } = u;
  switch (digit) {
    case 0: return u.push(fromInteger(u.full(), BigInt.asIntN(16, p.load(address, 2)), extended));
    case 1: return storeInteger(u, address, 16, true, true);
    case 2: case 3: return storeInteger(u, address, 16, digit === 3);
    case 4: return u.push(loadDecimal(load80(u, address)));
    case 5: return u.push(fromInteger(u.full(), BigInt.asIntN(64, p.load(address, 8)), extended));
    case 6: return storeOut(u, address, 10, storeDecimal(u.c, u.read(0)), true);
    default: return storeInteger(u, address, 64, true);
  }
}

// --- register operands

function compareValues(u: Unit, a: bigint, b: bigint, quietly: boolean): void {
  const stackFault = (u.c.flags & Exception.invalid) !== 0 && (u.p.v.get(At.floatStatus) & Status.stackFault) !== 0;
  const order = stackFault ? undefined : compare(u.c, a, b, extended, quietly);
  const conditions = order === undefined ? Status.c0 | Status.c2 | Status.c3 : order === 0 ? Status.c3 : order < 0 ? Status.c0 : 0;
  u.setConditions(conditions);
}
function compareFlags(u: Unit, i: number, quietly: boolean, pop: boolean): void {
  const [a, b] = [u.read(0), u.read(i)];
  const stackFault = u.stack.isEmpty(0) || u.stack.isEmpty(i);
  const order = stackFault ? undefined : compare(u.c, a, b, extended, quietly);
  if (!u.report()) return;
  const { v } = u.p;
  const flags = order === undefined ? Flag.zero | Flag.parity | Flag.carry : order === 0 ? Flag.zero : order < 0 ? Flag.carry : 0;
  writeStatusFlags(v, flags);
  if (pop) u.stack.pop();
}

function onRegisters(u: Unit, opcode: number, modrm: number): void {
  const digit = (modrm >> 3) & 7;
  const i = modrm & 7;
  switch (opcode) {
    case 0xd8:
      if (digit === 2 || digit === 3) {
        const [a, b] = [u.read(0), u.read(i)];
        compareValues(u, a, b, false);
        if (u.report() && digit === 3) u.stack.pop();
        return;
      }
      return arithmetic(u, digit, 0, i, false);
    case 0xd9: return registersD9(u, modrm, digit, i);
    case 0xda: return registersDa(u, modrm, digit, i);
    case 0xdb: return registersDb(u, modrm, digit, i);
    case 0xdc: case 0xde: return registersDcDe(u, opcode, modrm, digit, i);
    case 0xdd: return registersDd(u, digit, i);
    default: return registersDf(u, digit, i);
  }
}
/** Result in ST(target), operands ST(target) and ST(other). */
function arithmetic(u: Unit, digit: number, target: number, other: number, pop: boolean): void {
  const empty = u.stack.isEmpty(target) || u.stack.isEmpty(other);
  const [a, b] = [u.read(target), u.read(other)];
  const value = empty ? indefinite : operate(u, digit, a, b);
  if (!u.report()) return;
  u.stack.set(target, value);
  if (pop) u.stack.pop();
}
function registersDcDe(u: Unit, opcode: number, modrm: number, digit: number, i: number): void {
  const pop = opcode === 0xde;
  if (digit === 2 || digit === 3) {
    if (pop && digit === 3 && modrm !== 0xd9) throw new Fault(Vector.undefined);
    const [a, b] = [u.read(0), u.read(i)];
    compareValues(u, a, b, false);
    if (!u.report()) return;
    if (digit === 3 || pop) u.stack.pop();
    if (pop && digit === 3) u.stack.pop();
    return;
  }
  // the reversed forms are exchanged here: DC E0 is FSUBR, DC E8 is FSUB
  const reversed = digit >= 4 ? digit ^ 1 : digit;
  arithmetic(u, reversed, i, 0, pop);
}

function registersD9(u: Unit, modrm: number, digit: number, i: number): void {
  const { stack } = u;
  if (digit === 0) {
    if (!u.stack.isEmpty(i)) return u.push(u.stack.get(i));
    u.stackFault(false); // the missing operand comes before the missing place
    if (u.report()) u.stack.push(indefinite);
    return;
  }
  if (digit === 1) {
    const empty = stack.isEmpty(0) || stack.isEmpty(i);
    const [a, b] = [u.read(0), u.read(i)];
    if (!u.report()) return;
    stack.set(0, empty && b === indefinite ? indefinite : b);
    stack.set(i, a);
    u.p.v.set(At.floatStatus, u.p.v.get(At.floatStatus) & ~(empty ? 0 : Status.c1));
    return;
  }
  if (digit === 3) return registersDd(u, 3, i); // an old alias of FSTP ST(i)
  switch (modrm) {
    case 0xd0: return;
    case 0xe0: return unary(u, (a) => a ^ signBit);
    case 0xe1: return unary(u, (a) => a & ~signBit);
    case 0xe4: {
      compareValues(u, u.read(0), 0n, false);
      u.report();
      return;
    }
    case 0xe5: return examine(u);
    case 0xe8: return u.push(fromInteger(u.full(), 1n, extended));
    case 0xe9: case 0xea: case 0xeb: case 0xec: case 0xed: return u.push(constant(u, modrm));
    case 0xee: return u.push(0n);
    case 0xf6: stack.rotate(-1); return u.setConditions(0);
    case 0xf7: stack.rotate(1); return u.setConditions(0);
    case 0xfa: return unary(u, (a) => squareRoot(u.c, a, extended));
    case 0xfc: return unary(u, (a) => roundToIntegral(u.c, a, extended, u.c.mode.rounding));
    case 0xf8: case 0xf5: return remainder(u, modrm === 0xf5);
    case 0xfd: return scale(u);
    case 0xf4: return extract(u);
    case 0xf0: case 0xf1: case 0xf2: case 0xf3: case 0xf9: case 0xfb: case 0xfe: case 0xff: return transcendental(u, modrm);
    default: throw new Fault(Vector.undefined);
  }
}
function unary(u: Unit, f: (a: bigint) => bigint): void {
  const empty = u.stack.isEmpty(0);
  const a = u.read(0);
  store(u, 0, empty ? indefinite : f(a));
}
function examine(u: Unit): void {
  const raw = u.stack.get(0);
  const a = unpack(raw, extended);
  const sign = (raw & signBit) !== 0n ? Status.c1 : 0;
  const { c0, c2, c3 } = Status;
  const kinds = { unsupported: 0, nan: c0, infinity: c0 | c2, zero: c3, finite: a.denormal ? c2 | c3 : c2 } as const;
  u.setConditions(sign | (u.stack.isEmpty(0) ? c0 | c3 : kinds[a.kind]));
}
/** FLDL2T FLDL2E FLDPI FLDLG2 FLDLN2: 67 and more bits, rounded by the rounding control. */
const constants: Readonly<Record<number, readonly [significand: bigint, exponent: number]>> = {
  233: [0x3_5269_e12f_346e_2bf9_24afdbfd_36bfn, -112], // log2 10
  234: [0x1_7154_7652_b82f_e177_7d0ffda0_d23an, -112], // log2 e
  235: [0x3_243f_6a88_85a3_08d3_13198a2e_0370n, -112], // pi
  236: [0x4d10_4d42_7de7_fbcc_47c4acd6_05ben, -112], // log10 2
  237: [0xb172_17f7_d1cf_79ab_c9e3b398_03f2n, -112], // ln 2
};
function constant(u: Unit, modrm: number): bigint {
  const [significand, exponent] = constants[modrm] ?? [1n, 0];
  return round(u.full(), 0, significand, exponent, true, extended);
}

function conditionalMove(u: Unit, holds: boolean, i: number): void {
  const empty = u.stack.isEmpty(0) || u.stack.isEmpty(i);
  const value = u.read(i);
  if (empty) u.stackFault(false);
  if (!u.report()) return;
  if (empty) u.stack.set(0, indefinite);
  else if (holds) u.stack.set(0, value);
}
function registersDa(u: Unit, modrm: number, digit: number, i: number): void {
  const flags = readFlags(u.p.v);
  if (modrm === 0xe9) {
    const [a, b] = [u.read(0), u.read(1)];
    compareValues(u, a, b, true);
    if (!u.report()) return;
    u.stack.pop();
    u.stack.pop();
    return;
  }
  if (digit > 3) throw new Fault(Vector.undefined);
  conditionalMove(u, [flags & Flag.carry, flags & Flag.zero, flags & (Flag.carry | Flag.zero), flags & Flag.parity][digit] !== 0, i);
}
function registersDb(u: Unit, modrm: number, digit: number, i: number): void {
  const flags = readFlags(u.p.v);
  if (digit <= 3) return conditionalMove(u, [flags & Flag.carry, flags & Flag.zero, flags & (Flag.carry | Flag.zero), flags & Flag.parity][digit] === 0, i);
  if (digit === 5 || digit === 6) return compareFlags(u, i, digit === 5, false);
  switch (modrm) {
    case 0xe0: case 0xe1: case 0xe4: return; // FENI, FDISI, FSETPM: nothing since the 387
    case 0xe2:
      u.p.v.set(At.floatStatus, u.p.v.get(At.floatStatus) & 0x7f00);
      return;
    case 0xe3: return u.stack.initialise();
    default: throw new Fault(Vector.undefined);
  }
}
function registersDd(u: Unit, digit: number, i: number): void {
  switch (digit) {
    case 0: return u.stack.free(i);
    case 1: return registersD9(u, 0xc8 | i, 1, i);
    case 2: case 3: {
      const value = u.read(0);
      if (!u.report()) return;
      u.stack.set(i, value);
      if (digit === 3) u.stack.pop();
      return;
    }
    case 4: case 5: {
      const [a, b] = [u.read(0), u.read(i)];
      compareValues(u, a, b, true);
      if (u.report() && digit === 5) u.stack.pop();
      return;
    }
    default: throw new Fault(Vector.undefined);
  }
}
function registersDf(u: Unit, digit: number, i: number): void {
  switch (digit) {
    case 0: // FFREEP
      u.stack.free(i);
      return u.stack.pop();
    case 1: return registersD9(u, 0xc8 | i, 1, i);
    case 2: case 3: return registersDd(u, 3, i);
    case 5: case 6: return compareFlags(u, i, digit === 5, true);
    default: throw new Fault(Vector.undefined);
  }
}
