/** Pushes and pops of TypeScript: far calls, interrupts, and the stack instructions outside 64-bit mode. */
import type { Processor } from './processor.ts';
import { linearAddress, stackSize } from './segments.ts';
import { Segment } from './state.ts';

const masks = { 16: 0xffffn, 32: 0xffff_ffffn, 64: 0xffff_ffff_ffff_ffffn } as const;
const mask = (bits: 16 | 32 | 64): bigint => masks[bits];

/** The stack pointer with a new low part of the stack's width. */
function withPointer(p: Processor, value: bigint): bigint {
  const size = stackSize(p.v);
  if (size === 64) return BigInt.asUintN(64, value);
  if (size === 32) return value & mask(32);
  return (p.v.register(4) & ~mask(16)) | (value & mask(16));
}

export function pushValue(p: Processor, value: bigint, size: number): void {
  const next = withPointer(p, p.v.register(4) - BigInt(size / 8));
  p.store(linearAddress(p.v, Segment.ss, next & mask(stackSize(p.v)), size / 8, true), size / 8, value);
  p.v.setRegister(4, next);
}

/** A value above the top of the stack; nothing moves. */
export function stackValue(p: Processor, bytesAbove: number, size: number): bigint {
  const offset = (p.v.register(4) + BigInt(bytesAbove)) & mask(stackSize(p.v));
  return p.load(linearAddress(p.v, Segment.ss, offset, size / 8, false), size / 8);
}

export function releaseStack(p: Processor, bytes: bigint): void {
  p.v.setRegister(4, withPointer(p, p.v.register(4) + bytes));
}

/** A stack that is not SS:RSP yet: an inner level's, while an interrupt or a far call is still being checked. */
export class NewStack {
  readonly #p: Processor;
  readonly #base: bigint;
  readonly #mask: bigint;
  pointer: bigint;
  readonly #flat: boolean;

  constructor(p: Processor, base: bigint, pointer: bigint, bits: 16 | 32 | 64) {
    this.#p = p;
    this.#base = base;
    this.#mask = mask(bits);
    this.#flat = bits === 64 && base === 0n;
    this.pointer = pointer;
  }
  /** System rights: the frame belongs to the level that is being entered. */
  push(value: bigint, bytes: number, system: boolean): void {
    if (this.#flat) {
      this.pointer = BigInt.asUintN(64, this.pointer - BigInt(bytes));
      if (system) this.#p.storeSystem(this.pointer, bytes, value);
      else this.#p.store(this.pointer, bytes, value);
      return;
    }
    this.pointer = (this.pointer & ~this.#mask) | ((this.pointer - BigInt(bytes)) & this.#mask);
    const address = BigInt.asUintN(this.#mask === mask(64) ? 64 : 32, this.#base + (this.pointer & this.#mask));
    if (system) this.#p.storeSystem(address, bytes, value);
    else this.#p.store(address, bytes, value);
  }
}
