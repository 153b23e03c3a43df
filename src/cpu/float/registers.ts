/** The x87 register stack in the vCPU's state: eight physical registers, the top, one "empty" bit each. */
import { At, offsetOf } from '../state.ts';
import type { Vcpu } from '../vcpu.ts';

export const Status = { stackFault: 0x40, summary: 0x80, c0: 0x100, c1: 0x200, c2: 0x400, c3: 0x4000, busy: 0x8000 } as const;

export class FloatStack {
  readonly #v: Vcpu;
  constructor(v: Vcpu) {
    this.#v = v;
  }
  #physical(i: number): number {
    return (this.#v.get(At.floatTop) + i) & 7;
  }
  /** 80 bits: sign and exponent above a 64-bit significand. */
  raw(physical: number): bigint {
    const v = this.#v;
    const at = v.base + offsetOf('float', physical);
    return (BigInt(v.pool.view.getUint16(at + 8, true)) << 64n) | v.pool.view.getBigUint64(at, true);
  }
  setRaw(physical: number, value: bigint): void {
    const at = this.#v.base + offsetOf('float', physical);
    this.#v.pool.view.setBigUint64(at, value & 0xffff_ffff_ffff_ffffn, true);
    this.#v.pool.view.setUint16(at + 8, Number((value >> 64n) & 0xffffn), true);
  }
  isEmpty(i: number): boolean {
    return (this.#v.get(At.floatEmpty) & (1 << this.#physical(i))) !== 0;
  }
  get(i: number): bigint {
    return this.raw(this.#physical(i));
  }
  set(i: number, value: bigint): void {
    const n = this.#physical(i);
    this.setRaw(n, value);
    this.#v.set(At.floatEmpty, this.#v.get(At.floatEmpty) & ~(1 << n));
  }
  free(i: number): void {
    this.#v.set(At.floatEmpty, this.#v.get(At.floatEmpty) | (1 << this.#physical(i)));
  }
  push(value: bigint): void {
    this.#v.set(At.floatTop, (this.#v.get(At.floatTop) - 1) & 7);
    this.set(0, value);
  }
  pop(): void {
    this.free(0);
    this.rotate(1);
  }
  rotate(by: number): void {
    this.#v.set(At.floatTop, (this.#v.get(At.floatTop) + by) & 7);
  }
  /** Status word with the top in place. */
  get status(): number {
    return (this.#v.get(At.floatStatus) & ~0x3800) | (this.#v.get(At.floatTop) << 11);
  }
  set status(word: number) {
    this.#v.set(At.floatTop, (word >> 11) & 7);
    this.#v.set(At.floatStatus, word & 0xc7ff);
    this.summarise();
  }
  get control(): number {
    return this.#v.get(At.floatControl);
  }
  set control(word: number) {
    this.#v.set(At.floatControl, (word & 0x1f7f) | 0x40);
    this.summarise();
  }
  /** ES and B follow from unmasked exceptions. */
  summarise(): void {
    const pending = (this.#v.get(At.floatStatus) & ~this.control & 0x3f) !== 0;
    const rest = this.#v.get(At.floatStatus) & ~(Status.summary | Status.busy);
    this.#v.set(At.floatStatus, pending ? rest | Status.summary | Status.busy : rest);
  }
  /** Full tag word: valid, zero, special, empty. */
  get tags(): number {
    let word = 0;
    for (let n = 0; n < 8; n++) {
      const raw = this.raw(n);
      const exponent = (raw >> 64n) & 0x7fffn;
      const significand = raw & 0xffff_ffff_ffff_ffffn;
      const empty = (this.#v.get(At.floatEmpty) & (1 << n)) !== 0;
      const special = exponent === 0x7fffn || (exponent === 0n && significand !== 0n) || (exponent !== 0n && significand >> 63n === 0n);
      word |= (empty ? 3 : exponent === 0n && significand === 0n ? 1 : special ? 2 : 0) << (2 * n);
    }
    return word;
  }
  set tags(word: number) {
    let empty = 0;
    for (let n = 0; n < 8; n++) if (((word >> (2 * n)) & 3) === 3) empty |= 1 << n;
    this.#v.set(At.floatEmpty, empty);
  }
  initialise(): void {
    this.#v.set(At.floatControl, 0x37f);
    this.#v.set(At.floatStatus, 0);
    this.#v.set(At.floatTop, 0);
    this.#v.set(At.floatEmpty, 0xff);
    this.#v.set(At.floatOpcode, 0);
    this.#v.set64(At.floatIp, 0n);
    this.#v.set64(At.floatData, 0n);
  }
}
