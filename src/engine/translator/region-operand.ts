/** Operands of an instruction in a region: registers by their locals, addresses folded as far as they are known. */
import { Bug } from '../../base/assert.ts';
import type { Decoded, DecodedOperand } from '../../isa/decode.ts';
import type { Operand, Size } from '../../isa/ops.ts';
import { GuestOperation } from '../../isa/state-names.ts';
import { isAbsolute } from '../interpreter/handler.ts';
import type { Node } from '../wasm/graph.ts';
import { NotTranslated } from './not-translated.ts';
import type { RegionOps } from './region-ops.ts';

const instructionPointer = 16;
/** CR2, which handlers of page faults read; of the others a hypervisor's guest may have another view. */
const faultAddressRegister = 2;

export class RegionOperand implements Operand<Node> {
  readonly size: number;
  readonly isMemory: boolean;
  readonly #o: RegionOps;
  readonly #operand: DecodedOperand;
  readonly #decoded: Decoded;
  #offset: Node | undefined;
  #linear: Node | undefined;

  constructor(o: RegionOps, operand: DecodedOperand, decoded: Decoded) {
    this.size = operand.size;
    this.isMemory = operand.kind === 'memory';
    this.#o = o;
    this.#operand = operand;
    this.#decoded = decoded;
  }

  read(): Node {
    return this.#read(false);
  }
  readForWrite(): Node {
    return this.#read(true);
  }
  #read(write: boolean): Node {
    const o = this.#o;
    const { kind, number } = this.#operand;
    const size = this.size as Size;
    switch (kind) {
      case 'register':
        return o.register(number, size);
      case 'high':
        return o.highByte(number);
      case 'memory':
        if (this.size === 128) return o.load128(this.address());
        return write ? o.loadForWrite(this.address(), size) : o.load(this.address(), size);
      case 'immediate':
        return o.constant(number === 0 ? (this.#decoded.immediates[0] ?? 0n) : (this.#decoded.immediates[number] ?? 0n) & 0xffffn);
      case 'xmm':
        return this.size === 128 ? o.xmm(number) : this.#lane(number);
      case 'segment':
        return o.selector(number);
      case 'control':
        if (number !== faultAddressRegister) throw new NotTranslated(kind);
        o.when(o.or(o.get('cpl'), o.ltu(o.constant(GuestOperation.vmx), o.get('vmxOperation'))), () =>
          o.helper('readControl', o.constant(number)),
        );
        return o.get('cr2');
      default:
        throw new NotTranslated(kind);
    }
  }
  #lane(number: number): Node {
    const lane = this.#o.zeroExtend(this.#o.lane(this.#o.xmm(number), this.size as Size, 0), this.size as Size);
    this.#o.noteLane(lane, number);
    return lane;
  }
  write(value: Node): void {
    const o = this.#o;
    const { kind, number } = this.#operand;
    const size = this.size as Size;
    switch (kind) {
      case 'register':
        o.setRegister(number, size, value);
        return;
      case 'high':
        o.setHighByte(number, value);
        return;
      case 'memory':
        if (this.size === 128) o.store128(this.address(), value);
        else o.store(this.address(), size, value);
        return;
      case 'xmm':
        if (this.size === 128) o.setXmm(number, value);
        else o.setLane(number, size, value);
        return;
      case 'immediate':
        throw new Bug('write to an immediate');
      default:
        throw new NotTranslated(kind);
    }
  }
  offset(): Node {
    this.#offset ??= this.#makeOffset();
    return this.#offset;
  }
  #makeOffset(): Node {
    const o = this.#o;
    const { memory } = this.#decoded;
    if (!memory) throw new Bug('no memory operand');
    const displacement = o.constant(memory.displacement);
    if (isAbsolute(this.#decoded)) return displacement;
    let sum: Node | undefined;
    if (memory.base === instructionPointer) sum = o.next();
    else if (memory.base >= 0) sum = o.register(memory.base, 64);
    if (memory.index >= 0) {
      const index = o.register(memory.index, 64);
      const scaled = memory.scale === 0 ? index : o.shl(index, o.constant(memory.scale));
      sum = sum ? o.add(sum, scaled) : scaled;
    }
    sum = sum ? o.add(sum, displacement) : displacement;
    const { addressSize } = this.#decoded.form;
    return addressSize === 64 ? sum : o.zeroExtend(sum, addressSize);
  }
  address(offset = 0): Node {
    this.#linear ??= this.#inSegment(this.offset());
    return offset === 0 ? this.#linear : this.#o.add(this.#linear, this.#o.constant(offset));
  }
  addressAt(displacement: Node): Node {
    const { addressSize } = this.#decoded.form;
    const sum = this.#o.add(this.offset(), displacement);
    return this.#inSegment(addressSize === 64 ? sum : this.#o.zeroExtend(sum, addressSize));
  }
  #inSegment(offset: Node): Node {
    const segment = this.#decoded.memory?.segment ?? 0;
    return this.#o.linear(segment, offset);
  }
}
