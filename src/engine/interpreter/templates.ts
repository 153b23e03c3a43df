/**
 * Records of instructions that were met before: those with the same prefixes, opcode, ModRM and SIB differ in displacement and immediate only, so most
 * instructions of 64-bit code are not decoded but copied. What is not in the cache, or not of this kind, is the decoder's.
 */
import { type Decoded, type Decoder, longestInstruction } from '../../isa/decode.ts';
import { mapSize } from '../../isa/encodings.ts';
import { pageBytes } from '../../memory/pool.ts';
import { isFar, isFarRelative, isRelative } from './handler.ts';
import { Record, recordBytes } from './record.ts';

/** A power of two; each place holds what was met last of those that share it. */
const places = 32_768;
const placeShift = 32 - Math.log2(places);
const recordWords = recordBytes / 4;

/** Words of a place: the key's two, what is to be filled in, the record. */
const Place = { prefixes: 0, opcode: 1, rule: 2, record: 3 } as const;
const placeWords = Place.record + recordWords;

/** What is to be filled in: how many bytes of immediate; how many bits of it count when its sign is extended, 0 when it is not; which operand has it, 3 for none. */
const Rule = { bytes: 0xf, bitsShift: 4, bits: 0x7f, operandShift: 11, operand: 3, ends: 1 << 13, relative: 1 << 14 } as const;

/** Prefixes in the key: which bits a byte sets, and which it takes back. */
const Prefix = {
  operand: 1,
  address: 2,
  lock: 4,
  repeats: 0x18,
  segments: 0x60,
  rexShift: 7,
  restricted: 1 << 12,
  valid: 1 << 13,
} as const;
const prefixBits = new Map([
  [0x66, Prefix.operand],
  [0x67, Prefix.address],
  [0xf0, Prefix.lock],
  [0xf2, 0x08],
  [0xf3, 0x10],
  [0x64, 0x20],
  [0x65, 0x40],
]);
/** By byte: 0 for an opcode; the legacy segments', which 64-bit code ignores, have a bit that no key keeps. */
const ignored = 0x8000;
const prefixes = new Uint16Array(256);
for (const [byte, bits] of prefixBits) prefixes[byte] = bits;
for (const byte of [0x26, 0x2e, 0x36, 0x3e]) prefixes[byte] = ignored;

/** What is known of an opcode: its map and byte make no row, or one without or with ModRM. */
const Known = { none: 0, plain: 1, modrm: 2 } as const;

export class Templates {
  /** The instruction at hand: its length, whether control ends there, and where in the page a relative jump leads, -1 when it is none. */
  length = 0;
  ends = false;
  target = -1;
  readonly #known: Uint8Array;
  readonly #places = new Int32Array(places * placeWords);
  // what was scanned last
  #prefixes = 0;
  #opcode = 0;
  #behind = 0;
  #displacementBytes = 0;
  #ripRelative = false;

  constructor(decoder: Decoder) {
    this.#known = Uint8Array.from(decoder.opcodes, (rows) => (!rows ? Known.none : rows.hasModrm ? Known.modrm : Known.plain));
  }
  /** Forgets all; their handlers are no longer what they were. */
  clear(): void {
    this.#places.fill(0);
  }

  /** Reads up to the displacement, which is at `#behind` then. False when it may be no instruction of 64-bit code that templates are for. */
  #scan(bytes: Uint8Array, start: number, restricted: boolean): boolean {
    let at = start;
    let key = Prefix.valid | (restricted ? Prefix.restricted : 0);
    let byte = bytes[at++] as number;
    for (let bits = prefixes[byte] as number; bits !== 0; bits = prefixes[byte] as number) {
      if ((bits & Prefix.repeats) !== 0) key &= ~Prefix.repeats;
      if ((bits & Prefix.segments) !== 0) key &= ~Prefix.segments;
      key |= bits & ~ignored;
      byte = bytes[at++] as number;
      if (at - start >= longestInstruction) return false;
    }
    if ((byte & 0xf0) === 0x40) {
      key |= ((byte & 0x1f) | 0x10) << Prefix.rexShift;
      byte = bytes[at++] as number;
      if (prefixes[byte] !== 0 || (byte & 0xf0) === 0x40) return false; // a REX that is ignored
    }
    if (byte === 0xc4 || byte === 0xc5) return false; // VEX
    let opcode = byte;
    if (byte === 0x0f) {
      byte = bytes[at++] as number;
      const map = byte === 0x38 ? 2 : byte === 0x3a ? 3 : 1;
      if (map !== 1) byte = bytes[at++] as number;
      opcode = map * mapSize + byte;
    }
    const known = this.#known[opcode];
    if (known === Known.none) return false;
    let displacementBytes = 0;
    this.#ripRelative = false;
    opcode <<= 16;
    if (known === Known.modrm) {
      const modrm = bytes[at++] as number;
      opcode |= modrm;
      const mod = modrm >> 6;
      if (mod !== 3) {
        let base = modrm & 7;
        if (base === 4) {
          const sib = bytes[at++] as number;
          opcode |= sib << 8;
          base = sib & 7;
        } else this.#ripRelative = base === 5 && mod === 0;
        displacementBytes = mod === 1 ? 1 : mod === 2 || base === 5 ? 4 : 0;
      }
    }
    this.#prefixes = key;
    this.#opcode = opcode;
    this.#behind = at;
    this.#displacementBytes = displacementBytes;
    return true;
  }
  #place(): number {
    return (Math.imul(Math.imul(this.#prefixes, 0x85eb_ca6b) ^ this.#opcode, 0x9e37_79b1) >>> placeShift) * placeWords;
  }

  /**
   * Writes the record at `record` of the instruction at `start` (15 bytes must be there), `offset` in its page; false when there is no template for it,
   * and `add` may make one.
   */
  write(
    memory: { readonly bytes: Uint8Array; readonly view: DataView; readonly words: Int32Array },
    start: number,
    restricted: boolean,
    record: number,
    offset: number,
  ): boolean {
    const { bytes, view, words } = memory;
    if (!this.#scan(bytes, start, restricted)) {
      this.#prefixes = 0;
      return false;
    }
    const place = this.#place();
    const all = this.#places;
    if (all[place + Place.prefixes] !== this.#prefixes || all[place + Place.opcode] !== this.#opcode) return false;
    const rule = all[place + Place.rule] as number;
    const behind = this.#behind;
    const immediateAt = behind + this.#displacementBytes;
    const count = rule & Rule.bytes;
    const length = immediateAt + count - start;
    if (length > longestInstruction) return false;
    const displacement =
      this.#displacementBytes === 0 ? 0 : this.#displacementBytes === 1 ? view.getInt8(behind) : view.getInt32(behind, true);
    if (this.#ripRelative && isFar(displacement)) return false;
    const word = record >>> 2;
    for (let n = 0; n < recordWords; n++) words[word + n] = all[place + Place.record + n] as number;
    view.setUint8(record + Record.length, length);
    view.setUint16(record + Record.offset, offset, true);
    if (this.#displacementBytes !== 0)
      words[(record + Record.displacement) >>> 2] = displacement + (this.#ripRelative ? offset + length : 0);
    this.length = length;
    this.ends = (rule & Rule.ends) !== 0;
    this.target = -1;
    if (count === 0) return true;
    const low = immediateLow(view, immediateAt, count, (rule >> Rule.bitsShift) & Rule.bits);
    words[(record + Record.immediate) >>> 2] = low;
    words[(record + Record.immediate + 4) >>> 2] =
      count === 8 ? view.getInt32(immediateAt + 4, true) : ((rule >> Rule.bitsShift) & Rule.bits) === 64 ? low >> 31 : 0;
    const operand = (rule >> Rule.operandShift) & Rule.operand;
    if (operand !== Rule.operand) view.setUint16(record + Record.operands + 2 * operand, low & 0xffff, true);
    if ((rule & Rule.relative) !== 0) {
      const target = offset + length + low;
      const inPage = target >= 0 && target < pageBytes;
      this.target = inPage ? target : -1;
      view.setUint8(record + Record.inPage, inPage ? 1 : 0);
    }
    return true;
  }

  /** Keeps the record of the instruction that `write` did not have. */
  add(decoded: Decoded, words: Int32Array, start: number, record: number): void {
    const { row, form, immediates, operands } = decoded;
    if (this.#prefixes === 0 || row.immediateInShape || immediates.length > 1 || isFarRelative(decoded)) return;
    const count = start + decoded.length - this.#behind - this.#displacementBytes;
    const notation = row.operands.find((o) => o[0] === 'I' || o[0] === 'J');
    if (count < 0) return; // ModRM names no memory, whatever it looks like
    const signed = isRelative(decoded) || notation === 'Is' || (notation === 'Iz' && form.size !== 16);
    const bits = !signed ? 0 : isRelative(decoded) ? 64 : form.size;
    const operand = notation === undefined ? -1 : operands.findIndex((o) => o.kind === 'immediate');
    const place = this.#place();
    this.#places[place + Place.prefixes] = this.#prefixes;
    this.#places[place + Place.opcode] = this.#opcode;
    this.#places[place + Place.rule] =
      count |
      (bits << Rule.bitsShift) |
      ((operand < 0 ? Rule.operand : operand) << Rule.operandShift) |
      (row.ends ? Rule.ends : 0) |
      (isRelative(decoded) ? Rule.relative : 0);
    this.#places.set(words.subarray(record >>> 2, (record >>> 2) + recordWords), place + Place.record);
  }
}

/** The lower half of an immediate of so many bytes. */
function immediateLow(view: DataView, at: number, count: number, bits: number): number {
  const value = count === 1 ? view.getInt8(at) : count === 2 ? view.getInt16(at, true) : view.getInt32(at, true);
  if (bits === 0) return count === 1 ? value & 0xff : count === 2 ? value & 0xffff : value;
  return bits === 16 ? value & 0xffff : bits === 8 ? value & 0xff : value;
}
