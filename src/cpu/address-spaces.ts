/**
 * Address spaces and the TLB contexts that hold their translations: the machine's own software and what runs below a hypervisor are told apart by VPID and
 * EPT pointer (or ASID and nested tables), and processes of each by PCID, so that a switch of level flushes nothing, and one of processes what CR3 says.
 * What is known of the contexts lies in the processor's state. SDM 3A, 4.10; SDM 3C, 29.4; APM 2, 15.16.
 */
import { At, Cr0, Cr4, Efer, tlbContexts } from './state.ts';
import type { Vcpu } from './vcpu.ts';

const pagingBits = BigInt(Cr0.pg | Cr0.wp | Cr0.pe);
const noExecution = BigInt(Efer.nxe);
const enabledBreakpoints = 0xff;
const pcidMask = 0xfff;
/** The tag of a context that holds nothing, and of the machine's own software. */
const unused = (1n << 64n) - 1n;
const root = unused - 1n;

/** A VPID or ASID. */
type GuestTag = number;

export class AddressSpaces {
  readonly #v: Vcpu;

  constructor(v: Vcpu) {
    this.#v = v;
    for (let n = 0; n < tlbContexts; n++) v.set64(At.spaceTag, n === 0 ? root : unused, n);
    v.set64(At.spaceUsed, 1n);
    v.set64(At.spaceEntries, 1n);
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
  #enter(tag: bigint, tables: bigint, guarded: bigint): void {
    const v = this.#v;
    const n = this.#find(tag, tables, (v.cr4 & Cr4.pcide) === 0 ? 0 : v.cr3 & pcidMask);
    v.useTlbContext(n);
    const holds =
      v.get64(At.spaceCr0, n) === (v.get64(At.cr0) & pagingBits) &&
      v.get64(At.spaceCr4, n) === v.get64(At.cr4) &&
      v.get64(At.spaceEfer, n) === (v.get64(At.efer) & noExecution) &&
      v.get64(At.spaceGuarded, n) === guarded &&
      (v.dr7 & enabledBreakpoints) === 0; // pages with data breakpoints are kept out of it
    if (!holds) v.flushTlb();
    else if (v.get64(At.spaceCr3, n) !== v.get64(At.cr3)) v.filled.flushLocal();
    v.set64(At.spaceGuarded, guarded, n);
    const now = v.get64(At.spaceEntries) + 1n;
    v.set64(At.spaceEntries, now);
    v.set64(At.spaceUsed, now, n);
  }
  /** The context of a space, empty when it had none: then it is the one that was not used for longest. */
  #find(tag: bigint, tables: bigint, pcid: number): number {
    const v = this.#v;
    let oldest = 0;
    for (let n = 0; n < tlbContexts; n++) {
      if (v.get64(At.spaceTag, n) === tag && v.get64(At.spaceTables, n) === tables && v.get(At.spacePcid, n) === pcid) return n;
      if (v.get64(At.spaceUsed, n) < v.get64(At.spaceUsed, oldest)) oldest = n;
    }
    v.set64(At.spaceTag, tag, oldest);
    v.set64(At.spaceTables, tables, oldest);
    v.set(At.spacePcid, pcid, oldest);
    v.flushTlbContext(oldest);
    return oldest;
  }
  enterRoot(flush: boolean): void {
    this.#enter(root, 0n, 0n);
    if (flush) this.flush();
  }
  /** Tag 0 means that there are none: then nothing outlives the switch. `guarded`: address of the page whose accesses are not plain ones, or 0. */
  enterGuest(tag: GuestTag, tables: bigint, guarded: bigint): void {
    this.#enter(BigInt(tag), tables, guarded);
    if (tag === 0) this.flush();
  }
  /** Other tables for the guest that runs. */
  switchTables(tag: GuestTag, tables: bigint): void {
    this.leave();
    this.enterGuest(tag, tables, this.#v.get64(At.spaceGuarded, this.#v.currentTlbContext));
    this.#v.refreshMode();
  }
  /** MOV to CR3 with PCIDs. `keeps`: translations of the new one's PCID may be used on. */
  switchProcess(cr3: bigint, keeps: boolean): void {
    const v = this.#v;
    const n = v.currentTlbContext;
    this.leave();
    v.set64(At.cr3, cr3);
    this.#enter(v.get64(At.spaceTag, n), v.get64(At.spaceTables, n), v.get64(At.spaceGuarded, n));
    if (!keeps) v.filled.flushLocal();
    v.refreshMode();
  }

  /** The contexts of the software that runs now: one for each of its PCIDs. */
  get current(): number[] {
    const v = this.#v;
    const n = v.currentTlbContext;
    return this.#where((tag, tables) => tag === v.get64(At.spaceTag, n) && tables === v.get64(At.spaceTables, n));
  }
  /** Those that hold translations of one of its PCIDs. */
  ofProcess(pcid: number): number[] {
    return this.current.filter((n) => this.#v.get(At.spacePcid, n) === pcid);
  }
  /** Those of the guests with a tag. */
  of(tag: GuestTag): number[] {
    return this.#where((of) => of === BigInt(tag));
  }
  get ofRoot(): number[] {
    return this.#where((tag) => tag === root);
  }
  #where(test: (tag: bigint, tables: bigint) => boolean): number[] {
    const v = this.#v;
    const found: number[] = [];
    for (let n = 0; n < tlbContexts; n++) if (test(v.get64(At.spaceTag, n), v.get64(At.spaceTables, n))) found.push(n);
    return found;
  }
  /** Drops all translations of the software that runs now. */
  flush(): void {
    for (const n of this.current) this.#v.flushTlbContext(n);
  }
  /** Drops the translations of the guests' spaces that the test names. */
  drop(test: (tag: GuestTag, tables: bigint) => boolean): void {
    for (const n of this.#where((tag, tables) => tag < root && test(Number(tag), tables))) this.#v.flushTlbContext(n);
  }
}
