/** A VM exit on its way: thrown like a fault when the hypervisor above is to handle what the processor was about to do. SDM 3C, chapter 28. */
import type { Interruption } from './interrupts.ts';

/** What an exit tells besides its reason and qualification; absent fields read as 0. */
export interface ExitDetails {
  /** VM-exit interruption information, with its valid bit. */
  readonly interruption?: number;
  readonly errorCode?: number;
  /** Guest-physical and guest-linear address. */
  readonly physical?: bigint;
  readonly linear?: bigint;
  /** VM-exit instruction information. */
  readonly instruction?: number;
  /** SVM's EXITINFO2. */
  readonly second?: bigint;
  /** The guest may handle it itself, by a virtualization exception. */
  readonly convertible?: boolean;
  /** The instruction's length is reported. */
  readonly length?: boolean;
}

export class VmExit {
  /** Basic exit reason. */
  readonly reason: number;
  readonly qualification: bigint;
  readonly details: ExitDetails;
  /** The event whose delivery met the exit. */
  during: Interruption | undefined;
  /** An IRET met it after it had ended the blocking of NMIs. */
  unblockedNmis = false;
  constructor(reason: number, qualification = 0n, details: ExitDetails = {}) {
    this.reason = reason;
    this.qualification = qualification;
    this.details = details;
  }
  /** What happened around the other exit happened around this one. */
  inPlaceOf(other: VmExit): void {
    this.during = other.during;
    this.unblockedNmis = other.unblockedNmis;
  }
}

/** What a guest's hypervisor may change of the way events go. */
export interface Virtualization {
  /** Throws a VM exit when the hypervisor wants an exception or a software interrupt. `during`: the event whose delivery raised it. */
  event(event: Interruption, during: Interruption | undefined): void;
  /** Throws a VM exit for a task switch while a guest runs. */
  taskSwitch(selector: number, source: 'jump' | 'call' | 'gate' | 'return'): void;
}
