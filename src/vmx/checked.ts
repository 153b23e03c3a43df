/**
 * Which VMCSs need no checks at their next entry: those that passed them, and whose fields nobody wrote since but an exit, which saves what is legal.
 * Most entries of a hypervisor follow VMWRITEs of RIP, of the preemption timer and of the interrupt status alone. The manual lets a processor keep such knowledge; plain stores to a region are undefined.
 */

import { present } from '../base/assert.ts';
import { F, FieldType, fieldDescriptions, fieldType } from './fields.ts';

const remembered = 32;
/** RIP has a check of its own at every entry, and any value of the timer and of the interrupt status is legal. */
const harmless = new Set(
  [F.guestRip, F.preemptionTimer, F.guestInterruptStatus].map((field) => present(fieldDescriptions[field], 'field').encoding),
);

export class CheckedRegions {
  readonly #pointers = new Set<bigint>();

  has(pointer: bigint): boolean {
    return this.#pointers.has(pointer);
  }
  add(pointer: bigint): void {
    if (this.#pointers.size >= remembered) this.#pointers.clear();
    this.#pointers.add(pointer);
  }
  clear(): void {
    this.#pointers.clear();
  }
  forget(pointer: bigint): void {
    this.#pointers.delete(pointer);
  }
  written(pointer: bigint, encoding: number): void {
    if (!harmless.has(encoding) && fieldType(encoding) !== FieldType.readOnly) this.#pointers.delete(pointer);
  }
}
