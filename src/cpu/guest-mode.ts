/** Hardware virtualization as the run loop sees it, Intel's or AMD's: there may be a guest in the processor, and things that leave it. */
import type { VmExit } from './vm-exit.ts';

/** The interrupt controllers, as they are asked. */
export interface PendingInterrupts {
  readonly nmi: boolean;
  readonly interrupt: boolean;
  /** Takes the interrupt; its vector. */
  acknowledge(): number;
  takeNmi(): void;
}

export interface GuestMode {
  /** A guest runs, not its hypervisor. */
  readonly inGuest: boolean;
  /** Nothing interrupts the hypervisor now, not even an NMI. */
  readonly holdsInterrupts: boolean;
  /** No maskable interrupt is for the guest now, whatever its own flag says. */
  readonly masksInterrupts: boolean;
  /** Each instruction of the guest is a run of its own. */
  readonly singleSteps: boolean;
  /** Entries into guests so far. */
  readonly entries: number;
  /** The instruction at hand was the guest's only one. */
  stepped(): void;
  /**
   * Does what is due between two instructions of the guest: exits, virtual interrupts. True when something was done. `shadowed`: STI or MOV SS blocks.
   * May throw a VM exit that the delivery of an interrupt met.
   */
  act(waiting: PendingInterrupts, shadowed: boolean): boolean;
  /** Something waits for the guest to become interruptible: the run loop must look again. */
  readonly awaits: boolean;
  leave(exit: VmExit): void;
  /** The guest's triple fault; undefined when it is the machine's. */
  shutdown(): VmExit | undefined;
}
