/**
 * The verbs in which an instruction's meaning is written. A meaning is one function over `Ops`; the evaluator runs it on bigints,
 * the interpreter turns it into WebAssembly. Integer values are 64 bits wide and always zero-extended from their operand size;
 * truth values are 0 or 1; vectors are 128 bits.
 *
 * Order rule: every access that can fault comes before the first architectural write, so that faults are precise.
 */
import type { FloatOp } from './float-ops.ts';
import type { HelperName } from './helper-names.ts';
import type { ReadStateName, StateName } from './state-names.ts';
import type { VectorOp1, VectorOp2 } from './vector-names.ts';
import type { X87Name } from './x87-names.ts';

/** Operand sizes in bits. */
export type Size = 8 | 16 | 32 | 64;
/** How flags follow from operands and result: as the manual's ADD, SUB, AND families; `inc` and `dec` keep the carry. */
export type FlagRule = 'add' | 'sub' | 'logic' | 'inc' | 'dec';

/** Flags that an instruction computes by itself; what is not named keeps its value. `result` gives zero, sign and parity. */
export interface FlagBits<V> {
  readonly carry?: V;
  readonly overflow?: V;
  readonly adjust?: V;
  readonly zero?: V;
  readonly result?: { readonly value: V; readonly size: Size };
}

export type FlagName = 'carry' | 'parity' | 'adjust' | 'zero' | 'sign' | 'overflow';

export interface Operand<V> {
  /** Width of the operand in bits (8 to 128; 80 for x87 memory). */
  readonly size: number;
  readonly isMemory: boolean;
  /** The constant of an immediate, or a register's number; undefined for memory. */
  read(): V;
  /** A read whose page fault says "write": the operand will be written by the same instruction. */
  readForWrite(): V;
  write(value: V): void;
  /** Linear address of a memory operand, plus a byte offset. */
  address(offset?: number): V;
  /** Effective address before the segment base is added (LEA). */
  offset(): V;
  /** Segment-checked address, moved by a signed bit index in units of the operand (BT and its family). */
  addressAt(displacement: V): V;
}

/** What is known about an instruction when its code is made: all of it constant for one decoded record. */
export interface Form {
  /** Size of the operation in bits. */
  readonly size: Size;
  /** Address size in bits. */
  readonly addressSize: 16 | 32 | 64;
  /** Running in 64-bit mode. */
  readonly long: boolean;
  /** 0xF3, 0xF2 or 0 where they mean REP (string instructions). */
  readonly rep: 0 | 0xf2 | 0xf3;
  /** Low bits of the opcode byte: condition codes and the like. */
  readonly condition: number;
  /** The segment of the memory operand or of a string source: 0 ES to 5 GS. */
  readonly segment: number;
  /** The last immediate byte, for rows whose shape includes it (`immediateInShape`); otherwise 0. */
  readonly immediate: number;
}

export interface Ops<V> {
  constant(value: bigint | number): V;
  add(a: V, b: V): V;
  sub(a: V, b: V): V;
  mul(a: V, b: V): V;
  and(a: V, b: V): V;
  or(a: V, b: V): V;
  xor(a: V, b: V): V;
  /** Shift counts are taken modulo 64. */
  shl(a: V, n: V): V;
  shr(a: V, n: V): V;
  sar(a: V, n: V): V;
  /** Division; the divisor is not zero, and signed division does not overflow (the meaning has checked). */
  divu(a: V, b: V): V;
  remu(a: V, b: V): V;
  divs(a: V, b: V): V;
  rems(a: V, b: V): V;
  clz(a: V): V;
  ctz(a: V): V;
  popcnt(a: V): V;
  zeroExtend(a: V, size: Size): V;
  signExtend(a: V, size: Size): V;

  eq(a: V, b: V): V;
  ne(a: V, b: V): V;
  /** Unsigned and signed less-than on 64 bits. */
  ltu(a: V, b: V): V;
  lts(a: V, b: V): V;
  isZero(a: V): V;
  select(condition: V, a: V, b: V): V;
  when(condition: V, then: () => void, otherwise?: () => void): void;

  get(name: ReadStateName): V;
  set(name: StateName, value: V): void;
  register(number: number, size: Size): V;
  setRegister(number: number, size: Size, value: V): void;
  xmm(number: number): V;
  setXmm(number: number, value: V): void;

  /** Memory by linear address. */
  load(address: V, size: Size): V;
  loadForWrite(address: V, size: Size): V;
  store(address: V, size: Size, value: V): void;
  load128(address: V): V;
  store128(address: V, value: V): void;
  /** Linear address of an offset in a segment, checked for an access of `bytes` bytes; fault #GP, or #SS for SS. */
  linear(segment: number, offset: V, bytes: number, write: boolean): V;

  flag(name: FlagName): V;
  /** The 16 condition codes of Jcc, SETcc and CMOVcc. */
  condition(code: number): V;
  setFlags(rule: FlagRule, size: Size, a: V, b: V, result: V): void;
  setFlagBits(bits: FlagBits<V>): void;
  /** All status flags but OF, from an image with the bits of AH in LAHF and SAHF. */
  loadStatusFlags(image: V): void;

  /** Address of this instruction and of the next one, as offsets in CS. */
  ip(): V;
  next(): V;
  /** SYSCALL's and SYSRET's way into another level of 64-bit mode: flat segments and the CPL. Alignment checks are off, and AC is clear. */
  enterFlat(level: 0 | 3, codeSelector: V, stackSelector: V): void;
  /** Continues at an offset in CS. */
  jump(target: V): void;
  /** Continues at next + displacement, in the code's own width. */
  jumpRelative(): void;
  /** Runs the same instruction again: one iteration of a REP is done and more remain. */
  again(): void;
  /** A hint before one iteration of REP MOVS or STOS: an executor may do all but the last iterations at once. */
  bulk(kind: 'moveRun' | 'storeRun', form: Form): void;
  /** Ends the run after this instruction so that interrupts are looked for; `exitHere` when a helper has set the next address. */
  exitNext(): void;
  exitHere(): void;
  fault(vector: number, error?: number): void;

  /** Scalar floating point by MXCSR: exact bits and exceptions; may fault with #XM. */
  float(op: FloatOp, size: 32 | 64, a: V, b: V, extra?: V): V;
  /** An operation of the x87 on plain numbers: zero, with nothing changed, where the `x87` helper has to do the instruction. */
  x87(name: X87Name, value: V, form: V): V;
  /** What an x87 operation has left for a store; `upper` is the upper part of 80 bits. */
  x87Out(upper: boolean): V;
  /** Rare and privileged work in TypeScript; may fault. */
  helper(name: HelperName, ...args: V[]): V;

  vector1(op: VectorOp1, a: V): V;
  vector2(op: VectorOp2, a: V, b: V): V;
  vectorShift(op: 'shl' | 'shr_u' | 'shr_s', lane: 16 | 32 | 64, a: V, count: V): V;
  shuffle(a: V, b: V, lanes: readonly number[]): V;
  lane(a: V, size: Size, index: number): V;
  withLane(a: V, size: Size, index: number, value: V): V;
  /** A vector from its two halves. */
  vector(low: V, high: V): V;
}

export type Meaning = <V>(o: Ops<V>, form: Form, a: Operand<V>, b: Operand<V>, c: Operand<V>) => void;
