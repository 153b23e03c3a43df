/** What the checks of a VM entry look at, and the small tests they share. */
import { At, Cr4, Efer } from '../../cpu/state.ts';
import { type Capabilities, msrListMax } from '../capabilities.ts';
import { EntryControl, ExitControl, Primary, Secondary } from '../controls.ts';
import { F } from '../fields.ts';
import type { Vmcs } from '../vmcs.ts';
import type { Vmx } from '../vmx.ts';

/** One numbered row: the entry fails when it does not hold. */
export interface Check {
  /** As in the manual's order: C controls, H host state, G guest state. */
  readonly row: string;
  readonly holds: (x: EntryContext) => boolean;
  /** It depends on more than fields that VMWRITE sets, or on RIP: also made when nothing was written since the last entry. */
  readonly always?: true;
  /** Exit qualification of a guest-state failure; 0 when absent. */
  readonly qualification?: number;
}

/** Physical addresses have 40 bits. */
export const inRange = (address: bigint): boolean => address >> 40n === 0n;
export const isPageAddress = (address: bigint): boolean => (address & 0xfffn) === 0n && inRange(address);
export const isCanonical = (address: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, address)) === address;
export const isLegalPat = (value: bigint): boolean => {
  for (let n = 0n; n < 64n; n += 8n) if (![0n, 1n, 4n, 5n, 6n, 7n].includes((value >> n) & 0xffn)) return false;
  return true;
};
const knownEfer = BigInt(Efer.sce | Efer.lme | Efer.lma | Efer.nxe);
export const isKnownEfer = (value: bigint): boolean => (value & ~knownEfer) === 0n;
/** An MSR area is aligned, and its last byte in range. */
export const isMsrArea = (address: bigint, count: number): boolean =>
  count === 0 || ((address & 15n) === 0n && count <= msrListMax && inRange(address) && inRange(address + BigInt(count) * 16n - 1n));

export class EntryContext {
  readonly x: Vmx;
  readonly vmcs: Vmcs;
  readonly capabilities: Capabilities;
  readonly pin: number;
  readonly primary: number;
  readonly secondary: number;
  readonly exit: number;
  readonly entry: number;
  readonly interruption: number;

  constructor(x: Vmx) {
    this.x = x;
    this.vmcs = x.vmcs;
    this.capabilities = x.capabilities;
    this.pin = x.vmcs.get32(F.pinControls);
    this.primary = x.vmcs.get32(F.primaryControls);
    this.secondary = (this.primary & Primary.secondary) !== 0 ? x.vmcs.get32(F.secondaryControls) : 0;
    this.exit = x.vmcs.get32(F.exitControls);
    this.entry = x.vmcs.get32(F.entryControls);
    this.interruption = x.vmcs.get32(F.entryInterruption);
  }
  get ia32e(): boolean {
    return (this.entry & EntryControl.ia32e) !== 0;
  }
  get host64(): boolean {
    return (this.exit & ExitControl.host64) !== 0;
  }
  get unrestricted(): boolean {
    return (this.secondary & Secondary.unrestrictedGuest) !== 0;
  }
  get usesEpt(): boolean {
    return (this.secondary & Secondary.ept) !== 0;
  }
  /** PAE paging, whose page-directory pointers are loaded. */
  get usesPae(): boolean {
    return !this.ia32e && (this.guestCr0 & 0x8000_0000n) !== 0n && (this.guestCr4 & BigInt(Cr4.pae)) !== 0n;
  }
  get longNow(): boolean {
    return (this.x.v.low(At.efer) & Efer.lma) !== 0;
  }
  get guestCr0(): bigint {
    return this.vmcs.get(F.guestCr0);
  }
  get guestCr4(): bigint {
    return this.vmcs.get(F.guestCr4);
  }
  get rflags(): bigint {
    return this.vmcs.get(F.guestRflags);
  }
  get virtual8086(): boolean {
    return (this.rflags & 0x2_0000n) !== 0n;
  }
}
