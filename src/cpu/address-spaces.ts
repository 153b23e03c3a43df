/**
 * Address spaces and the TLB contexts that hold their translations: what runs below a hypervisor is tagged by VPID and EPT pointer (or ASID and nested
 * tables), so that a switch of level flushes nothing. Context 0 is the hypervisor's own. What is known of them lies in the processor's state.
 * SDM 3C, 29.4; APM 2, 15.16.
 */
import { At, Cr0, Efer, tlbContexts } from './state.ts';
import type { Vcpu } from './vcpu.ts';

const pagingBits = BigInt(Cr0.pg | Cr0.wp | Cr0.pe);
const noExecution = BigInt(Efer.nxe);
/** The tag of a context that holds nothing. */
const unused = (1n << 64n) - 1n;

export class AddressSpaces {
  readonly #v: Vcpu;

  constructor(v: Vcpu) {
    this.#v = v;
    for (let n = 1; n < tlbContexts; n++) v.set64(At.spaceTag, unused, n);
  }

  /** To be called before the control registers change: remembers under which the translations of this space were made. */
  leave(): void {
    const v = this.#v;
    const n = v.currentTlbContext;
    v.set64(At.spaceCr0, v.get64(At.cr0) & pagingBits, n);
    v.set64(At.spaceCr4, v.get64(At.cr4), n);
    v.set64(At.spaceEfer, v.get64(At.efer) & noExecution, n);
    v.set64(At.spaceCr3, v.get64(At.cr3), n);
  }
  /** To be called after. */
  #enter(n: number): void {
    const v = this.#v;
    v.useTlbContext(n);
    const holds =
      v.get64(At.spaceCr0, n) === (v.get64(At.cr0) & pagingBits) &&
      v.get64(At.spaceCr4, n) === v.get64(At.cr4) &&
      v.get64(At.spaceEfer, n) === (v.get64(At.efer) & noExecution);
    if (!holds) v.flushTlb();
    else if (v.get64(At.spaceCr3, n) !== v.get64(At.cr3)) v.filled.flushLocal();
    const now = v.get64(At.spaceEntries) + 1n;
    v.set64(At.spaceEntries, now);
    v.set64(At.spaceUsed, now, n);
  }
  enterRoot(flush: boolean): void {
    this.#enter(0);
    if (flush) this.#v.flushTlb();
  }
  /** Tag 0 means that there are none: then nothing outlives the switch. `guarded`: address of the page whose accesses are not plain ones, or 0. */
  enterGuest(tag: number, tables: bigint, guarded: bigint): void {
    const v = this.#v;
    let found = 0;
    for (let n = 1; n < tlbContexts && found === 0; n++)
      if (v.get64(At.spaceTag, n) === BigInt(tag) && v.get64(At.spaceTables, n) === tables) found = n;
    if (found === 0) {
      found = 1;
      for (let n = 2; n < tlbContexts; n++) if (v.get64(At.spaceUsed, n) < v.get64(At.spaceUsed, found)) found = n;
      v.set64(At.spaceTag, BigInt(tag), found);
      v.set64(At.spaceTables, tables, found);
      v.set64(At.spaceGuarded, guarded, found);
      v.flushTlbContext(found);
    }
    this.#enter(found);
    if (tag === 0 || v.get64(At.spaceGuarded, found) !== guarded) v.flushTlb();
    v.set64(At.spaceGuarded, guarded, found);
  }
  /** Drops the translations of the guests' spaces that the test names. */
  drop(test: (tag: number, tables: bigint) => boolean): void {
    const v = this.#v;
    for (let n = 1; n < tlbContexts; n++) {
      const tag = v.get64(At.spaceTag, n);
      if (tag !== unused && test(Number(tag), v.get64(At.spaceTables, n))) v.flushTlbContext(n);
    }
  }
  /** The TLB contexts of the guests with a tag. */
  of(tag: number): number[] {
    return Array.from({ length: tlbContexts - 1 }, (_, n) => n + 1).filter((n) => this.#v.get64(At.spaceTag, n) === BigInt(tag));
  }
  /** Other tables for the guest that runs. */
  switchTables(tag: number, tables: bigint): void {
    this.leave();
    this.enterGuest(tag, tables, this.#v.get64(At.spaceGuarded, this.#v.currentTlbContext));
    this.#v.refreshMode();
  }
}
