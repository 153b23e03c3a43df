/**
 * Meanings as WebAssembly: the verbs that compute values, over a graph of nodes. Where registers, flags and memory are is for the
 * executors to say: the interpreter's handlers find them through a record, the translator's regions keep them in locals.
 */
import {
  offsetOf,
  Rights,
  readTlbOffset,
  Segment,
  type StateField,
  stateLayout,
  tlbBankBytes,
  userCode,
  writeTlbOffset,
} from '../../cpu/state.ts';
import type { FloatOp } from '../../isa/float-ops.ts';
import type { HelperName } from '../../isa/helper-names.ts';
import type { FlagBits, FlagName, FlagRule, Form, Ops, Size } from '../../isa/ops.ts';
import type { ReadStateName, StateName } from '../../isa/state-names.ts';
import type { VectorOp1, VectorOp2 } from '../../isa/vector-names.ts';
import type { X87Name } from '../../isa/x87-names.ts';
import { floatOfBits } from './float-values.ts';
import type { Node } from './graph.ts';
import { extractLaneCodes, floatLaneCodes, Op, replaceLaneCodes, Simd, vector1Codes, vector2Codes, vectorShiftCodes } from './opcodes.ts';
import { memoryCode, simdCode } from './pieces.ts';
import { WasmValues } from './wasm-values.ts';

const rightsFields = { esRights: Segment.es, dsRights: Segment.ds, fsRights: Segment.fs, gsRights: Segment.gs } as const;
const segmentFields = { fsBase: Segment.fs, gsBase: Segment.gs, csBase: Segment.cs } as const;

export abstract class WasmOps extends WasmValues implements Ops<Node> {
  /** Address of the vCPU's state. */
  abstract readonly state: Node;

  // --- flags as result and carry vector, see cpu/flags.ts
  protected bit(value: Node, n: number): Node {
    const shifted = n === 0 ? value : this.graph.node('i32', [Op.i32ShrU], [value, this.i32(n)], true, 32);
    return n === 31 ? shifted : this.graph.node('i32', [Op.i32And], [shifted, this.i32(1)], true, 1);
  }
  protected xor32(a: Node, b: Node): Node {
    return this.graph.node('i32', [Op.i32Xor], [a, b], true, Math.max(a.bits, b.bits));
  }
  flag(name: FlagName): Node {
    const bits = name === 'zero' ? this.i32(0) : this.flagBits();
    switch (name) {
      case 'zero':
        return this.isZero(this.flagResult());
      case 'sign':
        return this.xor32(this.lts(this.flagResult(), this.constant(0)), this.bit(bits, 7));
      case 'carry':
        return this.bit(bits, 31);
      case 'adjust':
        return this.bit(bits, 3);
      case 'overflow':
        return this.bit(this.xor32(bits, this.graph.node('i32', [Op.i32Shl], [bits, this.i32(1)], true, 32)), 31);
      case 'parity':
        return this.xor32(this.parityOf(this.flagResult()), this.bit(bits, 2));
    }
  }
  /** 1 when the low byte has an even number of ones. */
  protected parityOf(result: Node): Node {
    const odd = this.narrow(this.and(this.popcnt(this.and(result, this.constant(0xff))), this.constant(1)));
    return this.xor32(odd, this.i32(1));
  }
  setFlags(rule: FlagRule, size: Size, a: Node, b: Node, result: Node): void {
    if (rule === 'logic') return this.putFlags(this.i32(0), this.signExtend(result, size));
    const bits = this.bitsOfCarries(this.carries(rule === 'add' || rule === 'inc', a, b, result), size);
    this.putFlags(rule === 'inc' || rule === 'dec' ? this.#keepCarry(bits) : bits, this.signExtend(result, size));
  }
  /** The old carry with the new overflow: bit 30 holds carry xor overflow, so both upper bits turn when the carry differs. */
  #keepCarry(bits: Node): Node {
    const different = this.graph.node('i32', [Op.i32And], [this.xor32(this.flagBits(), bits), this.i32(-0x8000_0000)], true, 32);
    const both = this.graph.node('i32', [Op.i32ShrS], [different, this.i32(1)], true, 32);
    return this.xor32(bits, both);
  }
  setFlagBits(bits: FlagBits<Node>): void {
    const carry = this.narrow(bits.carry ?? this.flag('carry'));
    const overflow = this.narrow(bits.overflow ?? this.flag('overflow'));
    const adjust = this.narrow(bits.adjust ?? this.flag('adjust'));
    const shifted = (value: Node, n: number): Node => this.graph.node('i32', [Op.i32Shl], [value, this.i32(n)], true, 32);
    const or = (a: Node, b: Node): Node => this.graph.node('i32', [Op.i32Or], [a, b], true, 32);
    const value = or(or(shifted(carry, 31), shifted(this.xor32(carry, overflow), 30)), shifted(adjust, 3));
    if (bits.zero !== undefined) {
      const sign = this.flag('sign');
      const parity = this.flag('parity');
      const zero = this.narrow(bits.zero);
      this.putFlags(or(value, or(shifted(sign, 7), shifted(this.xor32(parity, zero), 2))), this.wide(this.isZero(zero)));
    } else if (bits.result) this.putFlags(value, this.signExtend(bits.result.value, bits.result.size));
    else this.putFlags(or(value, this.graph.node('i32', [Op.i32And], [this.flagBits(), this.i32(0x84)], true, 8)), undefined);
  }
  loadStatusFlags(image: Node): void {
    const take = (n: number): Node => this.bit(this.narrow(image), n);
    const shifted = (value: Node, n: number): Node => this.graph.node('i32', [Op.i32Shl], [value, this.i32(n)], true, 32);
    const or = (a: Node, b: Node): Node => this.graph.node('i32', [Op.i32Or], [a, b], true, 32);
    const [carry, parity, adjust, zero, sign] = [take(0), take(2), take(4), take(6), take(7)];
    const upper = or(shifted(carry, 31), shifted(this.xor32(carry, this.narrow(this.flag('overflow'))), 30));
    this.putFlags(
      or(or(upper, shifted(adjust, 3)), or(shifted(sign, 7), shifted(this.xor32(parity, zero), 2))),
      this.wide(this.isZero(zero)),
    );
  }
  condition(code: number): Node {
    const base = ((): Node => {
      switch (code >> 1) {
        case 0:
          return this.flag('overflow');
        case 1:
          return this.flag('carry');
        case 2:
          return this.flag('zero');
        case 3:
          return this.or(this.flag('carry'), this.flag('zero'));
        case 4:
          return this.flag('sign');
        case 5:
          return this.flag('parity');
        case 6:
          return this.xor(this.flag('sign'), this.flag('overflow'));
        default:
          return this.or(this.flag('zero'), this.xor(this.flag('sign'), this.flag('overflow')));
      }
    })();
    return code & 1 ? this.isZero(base) : base;
  }
  /** The carry vector of a + b = result (or a - b), before it is cut to `flagBits`. */
  protected carries(adds: boolean, a: Node, b: Node, result: Node): Node {
    const notA = this.xor(a, this.constant(-1));
    // carries out of each bit: of an addition (a & b) | ((a | b) & ~r), of a subtraction (~a & b) | ((~a | b) & r)
    return adds
      ? this.or(this.and(a, b), this.and(this.or(a, b), this.xor(result, this.constant(-1))))
      : this.or(this.and(notA, b), this.and(this.or(notA, b), result));
  }
  /** `flagBits` from a carry vector of a width: carry in bit 31, carry xor overflow in bit 30, adjust in bit 3. */
  protected bitsOfCarries(carries: Node, size: Size): Node {
    const top =
      size >= 32 ? this.narrow(this.shr(carries, this.constant(size - 32))) : this.narrow(this.shl(carries, this.constant(32 - size)));
    const low = this.graph.node('i32', [Op.i32And], [this.narrow(carries), this.i32(8)], true, 4);
    const upper = this.graph.node('i32', [Op.i32And], [top, this.i32(-0x4000_0000)], true, 32);
    return this.graph.node('i32', [Op.i32Or], [upper, low], true, 32);
  }

  // --- vectors
  vector1(op: VectorOp1, a: Node): Node {
    const code = simdCode(vector1Codes[op]);
    if (op.endsWith('bitmask')) return this.graph.node('i32', code, [a], true, 16);
    return this.graph.node('v128', code, [op.endsWith('splat') ? this.narrow(a) : a], true);
  }
  vector2(op: VectorOp2, a: Node, b: Node): Node {
    return this.graph.node('v128', simdCode(vector2Codes[op]), [a, b], true);
  }
  vectorShift(op: 'shl' | 'shr_u' | 'shr_s', lane: 16 | 32 | 64, a: Node, count: Node): Node {
    return this.graph.node('v128', simdCode(vectorShiftCodes[op][lane]), [a, this.narrow(count)], true);
  }
  shuffle(a: Node, b: Node, lanes: readonly number[]): Node {
    return this.graph.node('v128', simdCode(Simd.shuffle, ...lanes), [a, b], true);
  }
  lane(a: Node, size: Size, index: number): Node {
    return this.graph.node(size === 64 ? 'i64' : 'i32', simdCode(extractLaneCodes[size], index), [a], true, size);
  }
  withLane(a: Node, size: Size, index: number, value: Node): Node {
    const float = size >= 32 ? floatOfBits(value, size as 32 | 64) : undefined;
    if (float) return this.graph.node('v128', simdCode(floatLaneCodes.replace[size as 32 | 64], index), [a, float], true);
    return this.graph.node('v128', simdCode(replaceLaneCodes[size], index), [a, size === 64 ? this.wide(value) : this.narrow(value)], true);
  }
  vector(low: Node, high: Node): Node {
    const splat = this.graph.node('v128', simdCode(Simd.splat64), [this.wide(low)], true);
    return this.withLane(splat, 64, 1, high);
  }

  abstract register(number: number, size: Size): Node;
  abstract setRegister(number: number, size: Size, value: Node): void;
  abstract xmm(number: number): Node;
  abstract setXmm(number: number, value: Node): void;
  abstract load(address: Node, size: Size): Node;
  abstract loadForWrite(address: Node, size: Size): Node;
  abstract store(address: Node, size: Size, value: Node): void;
  abstract load128(address: Node): Node;
  abstract store128(address: Node, value: Node): void;
  abstract linear(segment: number, offset: Node, bytes: number, write: boolean): Node;
  protected abstract flagBits(): Node;
  protected abstract flagResult(): Node;
  /** Without a result the one before stays. */
  protected abstract putFlags(bits: Node, result: Node | undefined): void;
  /** A 32- or 64-bit field of the state. */
  field(name: StateField, index = 0): Node {
    return stateLayout.fields[name].size === 4
      ? this.graph.node('i32', memoryCode(Op.i32Load, offsetOf(name, index)), [this.state], false, 32)
      : this.graph.node('i64', memoryCode(Op.i64Load, offsetOf(name, index)), [this.state], false);
  }
  setField(name: StateField, value: Node, index = 0): void {
    if (stateLayout.fields[name].size === 4)
      this.graph.effect(memoryCode(Op.i32Store, offsetOf(name, index)), [this.state, this.narrow(value)]);
    else this.graph.effect(memoryCode(Op.i64Store, offsetOf(name, index)), [this.state, this.wide(value)]);
  }
  get(name: ReadStateName): Node {
    if (name === 'fsBase' || name === 'gsBase' || name === 'csBase') return this.field('segmentBase', segmentFields[name]);
    if (name === 'esRights' || name === 'dsRights' || name === 'fsRights' || name === 'gsRights')
      return this.field('segmentRights', rightsFields[name]);
    return this.field(name);
  }
  set(name: StateName, value: Node): void {
    if (name === 'fsBase' || name === 'gsBase' || name === 'csBase') this.setField('segmentBase', value, segmentFields[name]);
    else this.setField(name, value);
  }
  /** Flat segments and the CPL with what follows from it: see `Vcpu.refreshMode`. */
  protected storeFlatLevel(level: 0 | 3, codeSelector: Node, stackSelector: Node): void {
    const rights = (type: number, size: number): Node =>
      this.i32(type | Rights.system | Rights.present | (level << Rights.dplShift) | Rights.granular | size);
    const segments = [
      { index: Segment.cs, selector: codeSelector, rights: rights(0xb, Rights.long) },
      { index: Segment.ss, selector: stackSelector, rights: rights(3, Rights.big) },
    ];
    for (const s of segments) {
      this.setField('segmentSelector', s.selector, s.index);
      this.setField('segmentBase', this.constant(0), s.index);
      this.setField('segmentLimit', this.i32(-1), s.index);
      this.setField('segmentRights', s.rights, s.index);
    }
    const bank = level === 3 ? 0 : tlbBankBytes;
    this.setField('cpl', this.i32(level));
    const banks = this.add32(this.state, this.field('tlbContext'));
    this.setField('tlbRead', this.add32(banks, this.i32(readTlbOffset + bank)));
    this.setField('tlbWrite', this.add32(banks, this.i32(writeTlbOffset + bank)));
    const mode = this.or(this.and(this.field('codeMode'), this.constant(~userCode)), this.constant(level === 3 ? userCode : 0));
    this.setField('codeMode', mode);
    this.setField('jumpKey', this.or(this.wide(this.field('jumpEpoch', level === 3 ? 1 : 0)), mode));
  }
  abstract enterFlat(level: 0 | 3, codeSelector: Node, stackSelector: Node): void;
  abstract ip(): Node;
  abstract next(): Node;
  abstract jump(target: Node): void;
  abstract jumpRelative(): void;
  abstract again(): void;
  abstract bulk(kind: 'moveRun' | 'storeRun', form: Form): void;
  abstract exitNext(): void;
  abstract exitHere(): void;
  abstract fault(vector: number, error?: number): void;
  abstract float(op: FloatOp, size: 32 | 64, a: Node, b: Node, extra?: Node): Node;
  abstract x87(name: X87Name, value: Node, form: Node): Node;
  x87Out(upper: boolean): Node {
    return this.field('floatOut', upper ? 1 : 0);
  }
  abstract helper(name: HelperName, ...args: Node[]): Node;
}
