/** What may leave the guest between two instructions, and which exceptions do. APM 2, 15.12, 15.13 and 15.21. */
import { dueDebugTrap } from '../cpu/breakpoints.ts';
import { Vector } from '../cpu/fault.ts';
import type { GuestMode, PendingInterrupts } from '../cpu/guest-mode.ts';
import { deliver, EventType, type Interruption } from '../cpu/interrupts.ts';
import { At, Flag } from '../cpu/state.ts';
import { type Virtualization, VmExit } from '../cpu/vm-exit.ts';
import { ExitCode } from './exit-codes.ts';
import { leave } from './leave.ts';
import type { Svm } from './svm.ts';
import { Control, VirtualInterrupt } from './vmcb.ts';

const interruptible = (x: Svm): boolean => (x.v.systemFlags & Flag.interrupt) !== 0;
const controls = (x: Svm): number => x.vmcb.get32(Control.virtualInterrupt);

function dueExit(x: Svm, waiting: PendingInterrupts, shadowed: boolean): VmExit | undefined {
  // what waits is not taken: the hypervisor meets it when it sets the global interrupt flag
  if (waiting.nmi && x.v.get(At.nmiBlocked) === 0 && x.intercepts(ExitCode.nmi)) return new VmExit(ExitCode.nmi);
  const masking = (controls(x) & VirtualInterrupt.masking) !== 0;
  const allowed = masking ? x.hostInterruptible : interruptible(x) && !shadowed;
  if (waiting.interrupt && allowed && x.intercepts(ExitCode.interrupt)) return new VmExit(ExitCode.interrupt);
  return virtualInterruptDue(x, shadowed) && x.intercepts(ExitCode.virtualInterrupt) ? new VmExit(ExitCode.virtualInterrupt) : undefined;
}
const virtualInterruptDue = (x: Svm, shadowed: boolean): boolean => !shadowed && virtualInterruptWaits(x) && interruptible(x);
/** V_IRQ, with a priority that suffices. */
function virtualInterruptWaits(x: Svm): boolean {
  const field = controls(x);
  if ((field & VirtualInterrupt.pending) === 0) return false;
  const priority = (field >> VirtualInterrupt.priorityShift) & VirtualInterrupt.priority;
  return (field & VirtualInterrupt.ignoresTpr) !== 0 || priority > (field & VirtualInterrupt.tprMask);
}
function act(x: Svm, waiting: PendingInterrupts, shadowed: boolean): boolean {
  const { v, vmcb } = x;
  if (dueDebugTrap(v) !== 0) return false;
  const exit = dueExit(x, waiting, shadowed);
  if (exit) {
    leave(x, exit);
    return true;
  }
  if (!virtualInterruptDue(x, shadowed)) return false;
  vmcb.set32(Control.virtualInterrupt, controls(x) & ~VirtualInterrupt.pending);
  v.set(At.halted, 0);
  v.jump(v.ip);
  deliver(x.p, { type: EventType.external, vector: vmcb.get8(Control.virtualInterrupt + VirtualInterrupt.vectorOffset) });
  return true;
}

export const svmGuestMode = (x: Svm): GuestMode => ({
  get inGuest() {
    return x.inGuest;
  },
  get holdsInterrupts() {
    return x.interruptsHeld;
  },
  // with interrupts masked virtually the guest's own flag says nothing about the machine's
  get masksInterrupts() {
    return x.inGuest && (controls(x) & VirtualInterrupt.masking) !== 0 && !x.hostInterruptible;
  },
  singleSteps: false,
  get entries() {
    return x.counts.entries;
  },
  stepped: () => {},
  act: (waiting, shadowed) => act(x, waiting, shadowed),
  get awaits() {
    return x.inGuest && virtualInterruptWaits(x);
  },
  leave: (exit) => leave(x, exit),
  shutdown: () => (x.intercepts(ExitCode.shutdown) ? new VmExit(ExitCode.shutdown) : undefined),
});

/** INT n is an intercept of its own, and interrupts are not exceptions. */
const neverIntercepted: readonly number[] = [EventType.software, EventType.external, EventType.nmi];

export const svmVirtualization = (x: Svm): Virtualization => ({
  event(event, during) {
    if (!x.inGuest || neverIntercepted.includes(event.type) || !x.intercepts(ExitCode.exception + event.vector)) return;
    throw exceptionExit(event, during);
  },
  taskSwitch(selector, how) {
    if (!x.inGuest || !x.intercepts(ExitCode.taskSwitch)) return;
    const returns = how === 'return' ? 1n << 36n : 0n;
    const jumps = how === 'jump' ? 1n << 38n : 0n;
    throw new VmExit(ExitCode.taskSwitch, BigInt(selector), { second: returns | jumps });
  },
});
function exceptionExit(event: Interruption, during: Interruption | undefined): VmExit {
  const isTrap = event.type === EventType.softwareException;
  const exit = new VmExit(ExitCode.exception + event.vector, BigInt(event.error ?? 0), {
    second: event.vector === Vector.page ? (event.address ?? 0n) : 0n,
    length: isTrap,
  });
  exit.during = during;
  return exit;
}
