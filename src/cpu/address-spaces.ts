/**
 * Address spaces and the TLB contexts that hold their translations: what runs below a hypervisor is tagged by VPID and EPT pointer, so that a
 * switch of level flushes nothing. Context 0 is the hypervisor's own. SDM 3C, 29.4.
 */
import { At, Cr0, Efer, tlbContexts } from './state.ts';
import type { Vcpu } from './vcpu.ts';

interface Space {
  vpid: number;
  eptPointer: bigint;
  /** Address of the page whose accesses are not plain ones; 0: none. */
  guarded: bigint;
  /** What its translations were made with: they hold only under the same. */
  cr0: number;
  cr3: bigint;
  cr4: number;
  efer: number;
  used: number;
}

const fresh = (): Space => ({ vpid: -1, eptPointer: 0n, guarded: 0n, cr0: 0, cr3: 0n, cr4: 0, efer: 0, used: 0 });
const pagingBits = Cr0.pg | Cr0.wp | Cr0.pe;

export class AddressSpaces {
  readonly #v: Vcpu;
  readonly #spaces: readonly Space[] = Array.from({ length: tlbContexts }, fresh);
  #now = 0;
  #at = 0;

  constructor(v: Vcpu) {
    this.#v = v;
    const root = this.#spaces[0];
    if (root) root.vpid = 0;
  }

  /** To be called before the control registers change: remembers under which the translations of this space were made. */
  leave(): void {
    const v = this.#v;
    const space = this.#spaces[this.#at];
    if (!space) return;
    space.cr0 = v.cr0 & pagingBits;
    space.cr3 = v.get64(At.cr3);
    space.cr4 = v.cr4;
    space.efer = v.efer & Efer.nxe;
  }
  /** To be called after. */
  #enter(n: number): void {
    const v = this.#v;
    const space = this.#spaces[n];
    if (!space) return;
    this.#at = n;
    v.useTlbContext(n);
    if (space.cr0 !== (v.cr0 & pagingBits) || space.cr4 !== v.cr4 || space.efer !== (v.efer & Efer.nxe)) v.flushTlb();
    else if (space.cr3 !== v.get64(At.cr3)) v.filled.flushLocal();
    space.used = ++this.#now;
  }
  enterRoot(flush: boolean): void {
    this.#enter(0);
    if (flush) this.#v.flushTlb();
  }
  /** VPID 0 means that it is off: then nothing outlives the switch. */
  enterGuest(vpid: number, eptPointer: bigint, guarded: bigint): void {
    let found = this.#spaces.findIndex((s, n) => n > 0 && s.vpid === vpid && s.eptPointer === eptPointer);
    if (found < 0) {
      found = 1;
      for (let n = 2; n < tlbContexts; n++) if ((this.#spaces[n]?.used ?? 0) < (this.#spaces[found]?.used ?? 0)) found = n;
      const space = this.#spaces[found];
      if (space) Object.assign(space, fresh(), { vpid, eptPointer });
      this.#v.flushTlbContext(found);
    }
    this.#enter(found);
    const space = this.#spaces[found];
    if (vpid === 0 || space?.guarded !== guarded) this.#v.flushTlb();
    if (space) space.guarded = guarded;
  }
  /** Drops the translations of the spaces that the test names; also those of the root for VPID 0. */
  drop(test: (vpid: number, eptPointer: bigint) => boolean): void {
    this.#spaces.forEach((s, n) => {
      if (n > 0 && s.vpid >= 0 && test(s.vpid, s.eptPointer)) this.#v.flushTlbContext(n);
    });
  }
  /** Another EPT pointer for the guest that runs. */
  switchEpt(vpid: number, eptPointer: bigint): void {
    this.leave();
    this.enterGuest(vpid, eptPointer, this.#spaces[this.#at]?.guarded ?? 0n);
    this.#v.refreshMode();
  }
}
