/** A running machine: the loop that delivers interrupts, runs the engine and keeps time, in slices its host decides on. */
import type { Stateful } from '../base/stateful.ts';
import { dueDebugTrap, hasInstructionBreakpoints, instructionBreakpoints } from '../cpu/breakpoints.ts';
import { Fault, TripleFault, Vector } from '../cpu/fault.ts';
import type { GuestMode, PendingInterrupts } from '../cpu/guest-mode.ts';
import { deliver, EventType, type Interruption } from '../cpu/interrupts.ts';
import type { Processor } from '../cpu/processor.ts';
import { At, Flag } from '../cpu/state.ts';
import { VmExit } from '../cpu/vm-exit.ts';
import type { Interpreter } from '../engine/interpreter/interpreter.ts';
import type { EngineProfile } from '../engine/profile.ts';
import type { Translator } from '../engine/translator/translator.ts';
import type { FramePool } from '../memory/pool.ts';
import type { Svm } from '../svm/svm.ts';
import type { Clock, InstructionClock } from '../time/clock.ts';
import type { TimerQueue } from '../time/timers.ts';
import type { Turtles } from '../vmx/turtles/monitor.ts';
import type { Vmx } from '../vmx/vmx.ts';
import type { Chips } from './chips.ts';
import type { HardwareConfig } from './config.ts';
import type { InterruptController } from './interrupts.ts';
import type { StopReason } from './stop-reason.ts';
import { type Trace, traceFault, traceInstruction } from './trace.ts';

/** Why a slice ended: its time is over, the processor sleeps until a deadline (or for ever), or the machine stopped. */
export type SliceEnd =
  | { readonly kind: 'slice' }
  | { readonly kind: 'idle'; readonly untilNs: number }
  | { readonly kind: 'stopped'; readonly reason: StopReason };

export interface MachineParts {
  readonly hardware: HardwareConfig;
  readonly processor: Processor;
  readonly guests: GuestMode | undefined;
  readonly vmx: Vmx | undefined;
  readonly svm: Svm | undefined;
  /** The level-0 monitor, when the machine's software runs above one. */
  readonly turtles: Turtles | undefined;
  readonly interpreter: Interpreter;
  readonly translator: Translator | undefined;
  readonly profile: EngineProfile | undefined;
  readonly timers: TimerQueue;
  readonly clock: Clock;
  readonly instructionClock: InstructionClock | undefined;
  readonly interrupts: InterruptController;
  readonly chips: Chips;
  readonly pool: FramePool;
  /** Everything that has state beside the memory. */
  readonly stateful: ReadonlyMap<string, Stateful>;
  readonly trace: Trace | undefined;
}

/** Instructions between two looks at the host's clock. */
const quantum = 100_000;
/** DR6.BS */
const singleStepBit = 0x4000;

export class Machine implements Stateful {
  readonly hardware: HardwareConfig;
  readonly processor: Processor;
  readonly guests: GuestMode | undefined;
  readonly vmx: Vmx | undefined;
  readonly svm: Svm | undefined;
  readonly turtles: Turtles | undefined;
  readonly interpreter: Interpreter;
  readonly translator: Translator | undefined;
  readonly profile: EngineProfile | undefined;
  readonly chips: Chips;
  readonly pool: FramePool;
  readonly clock: Clock;
  readonly stateful: ReadonlyMap<string, Stateful>;
  readonly #trace: Trace | undefined;
  readonly #timers: TimerQueue;
  readonly #instructionClock: InstructionClock | undefined;
  readonly #interrupts: InterruptController;
  /** Instructions retired in finished runs of the engine. */
  state = { retired: 0 };
  /** Fuel of the run at hand, and fuel taken away from it to make it end early. */
  #budget = 0;
  #withheld = 0;
  #stop: StopReason | undefined;
  readonly counts = { runs: 0, interrupts: 0, faults: 0 };

  constructor(parts: MachineParts) {
    this.hardware = parts.hardware;
    this.processor = parts.processor;
    this.guests = parts.guests;
    this.vmx = parts.vmx;
    this.svm = parts.svm;
    this.turtles = parts.turtles;
    this.interpreter = parts.interpreter;
    this.translator = parts.translator;
    this.profile = parts.profile;
    this.chips = parts.chips;
    this.pool = parts.pool;
    this.stateful = new Map([...parts.stateful, ['machine', this]]);
    this.clock = parts.clock;
    this.#trace = parts.trace;
    this.#timers = parts.timers;
    this.#instructionClock = parts.instructionClock;
    this.#interrupts = parts.interrupts;
    this.#waiting = this.#pendingInterrupts();
  }

  /** Instructions retired so far, exact at any moment. */
  get retired(): number {
    return this.state.retired + this.#budget - this.processor.v.get(At.fuel) - this.#withheld;
  }
  /** Something may be waiting for the processor: the engine comes back after the instruction at hand. */
  wake(): void {
    const { v } = this.processor;
    v.set(At.pending, 1);
    const fuel = v.get(At.fuel);
    if (fuel > 0) {
      this.#withheld += fuel;
      v.set(At.fuel, 0);
    }
  }
  /** Why it will not run on. */
  get stopReason(): StopReason | undefined {
    return this.#stop;
  }
  requestStop(reason: StopReason): void {
    this.#stop ??= reason;
    this.wake();
  }

  /** Runs until `untilMs` by the given host clock, or until there is nothing to do. */
  runSlice(hostMilliseconds: () => number, untilMs: number): SliceEnd {
    for (;;) {
      if (this.#stop) return { kind: 'stopped', reason: this.#stop };
      const now = this.clock.peekNs();
      this.#timers.run(now);
      this.#deliverPending();
      const { v } = this.processor;
      if (v.get(At.halted) !== 0) {
        const next = this.#timers.nextNs();
        if (this.#instructionClock && next !== Number.POSITIVE_INFINITY) this.#instructionClock.skipTo(next);
        else if (next > now) return { kind: 'idle', untilNs: next };
      } else this.#run(this.#fuelUntil(now));
      // also while halted: timers that fire without waking the processor must not keep the host
      if (hostMilliseconds() >= untilMs) return { kind: 'slice' };
    }
  }
  /** In deterministic mode a deadline is met to the instruction; otherwise the host's clock is looked at often enough. */
  #fuelUntil(now: number): number {
    if (!this.#instructionClock) return quantum;
    return Math.max(1, Math.min(quantum, Math.ceil(this.#timers.nextNs() - now)));
  }

  #deliverPending(): void {
    const { v } = this.processor;
    const { apic } = v;
    if (v.get(At.pending) === 0) return;
    const shadow = v.get64(At.interruptShadow);
    const shadowed = shadow !== 0n && shadow === v.ip;
    if (shadowed) {
      if (this.#virtualized(true) || this.#takesDebugTrap()) return;
      v.set64(At.interruptShadow, 0n);
      this.#run(1); // the instruction after STI or MOV SS, and only it
      if (v.get(At.pending) === 0) return;
    }
    v.set64(At.interruptShadow, 0n);
    v.set64(At.stackShadow, 0n);
    // virtual interrupts first, one after another; then what leaves the guest
    while (this.#virtualized(false)) if (!this.guests?.inGuest) return;
    if (this.#takesDebugTrap()) return;
    if (this.guests?.holdsInterrupts) return;
    if (apic.state.init) {
      // INIT to the only processor: it starts again, and the machine with it
      apic.state.init = false;
      this.requestStop({ kind: 'reset' });
      return;
    }
    if (apic.state.nmi && v.get(At.nmiBlocked) === 0) {
      apic.state.nmi = false;
      v.set(At.nmiBlocked, 1);
      return this.#interrupt({ type: EventType.nmi, vector: Vector.nmi });
    }
    if ((v.systemFlags & Flag.interrupt) === 0 || this.guests?.masksInterrupts === true) return;
    if (this.#waiting.interrupt) this.#interrupt({ type: EventType.external, vector: this.#waiting.acknowledge() });
    if (!this.#waiting.interrupt && !apic.state.nmi && !this.guests?.awaits) v.set(At.pending, 0);
  }
  readonly #waiting: PendingInterrupts;
  #pendingInterrupts(): PendingInterrupts {
    const { apic } = this.processor.v;
    const { pic } = this.#interrupts;
    return {
      get nmi() {
        return apic.state.nmi;
      },
      get interrupt() {
        return (apic.acceptsExternal && pic.pending) || apic.pendingVector() >= 0;
      },
      acknowledge() {
        if (apic.acceptsExternal && pic.pending) return pic.acknowledge();
        const vector = apic.pendingVector();
        apic.acknowledge(vector);
        return vector;
      },
      takeNmi() {
        apic.state.nmi = false;
      },
    };
  }
  /** What becomes of what waits while a guest runs: exits and virtual interrupts. True when something was done. */
  #virtualized(shadowed: boolean): boolean {
    const { guests } = this;
    if (!guests?.inGuest) return false;
    let done = true;
    this.#guarded(() => {
      done = guests.act(this.#waiting, shadowed);
    });
    return done;
  }
  #interrupt(event: Interruption): void {
    const { v } = this.processor;
    this.counts.interrupts++;
    if (this.#trace?.wants('interrupts', event.vector)) this.#trace.line(`interrupt ${event.vector.toString(16)} at ${v.ip.toString(16)}`);
    v.set(At.halted, 0);
    v.jump(v.ip);
    this.#guarded(() => deliver(this.processor, event));
  }
  #guarded(work: () => void): void {
    try {
      work();
    } catch (problem) {
      this.#fatal(problem);
    }
  }
  /** What ends the domain, but not the host. */
  #fatal(problem: unknown): void {
    const { guests } = this;
    const exit = problem instanceof TripleFault && guests?.inGuest ? guests.shutdown() : problem;
    if (exit instanceof VmExit && guests) this.#guarded(() => guests.leave(exit));
    else if (problem instanceof TripleFault) this.requestStop({ kind: 'triple-fault', why: problem.why });
    else throw problem;
  }

  #run(fuel: number): void {
    const { v } = this.processor;
    const stepping = (v.systemFlags & Flag.trap) !== 0;
    const breakpoints = hasInstructionBreakpoints(v);
    const hits = breakpoints ? instructionBreakpoints(v) : 0;
    if (hits !== 0) return this.#debug(hits);
    const { guests } = this;
    const entries = guests?.entries;
    const trapped = guests?.singleSteps === true;
    const single = stepping || trapped || breakpoints || traceInstruction(this.#trace, v);
    this.#budget = single ? 1 : fuel;
    this.#withheld = 0;
    v.set(At.fuel, this.#budget);
    this.counts.runs++;
    let faulted = false;
    try {
      this.interpreter.run();
    } catch (problem) {
      if (problem instanceof Fault) {
        faulted = true;
        this.#raise(problem);
      } else {
        faulted = true;
        this.#fatal(problem);
      }
    }
    this.state.retired = this.retired;
    this.#budget = 0;
    this.#withheld = 0;
    v.set(At.fuel, 0);
    if (breakpoints && !faulted) v.set(At.systemFlags, v.systemFlags & ~Flag.resume);
    const met = v.get(At.debugHits);
    v.set(At.debugHits, 0);
    // not for another guest, or the same entered again before its instruction was over
    if (trapped && guests.inGuest && guests.entries === entries) guests.stepped();
    const completed = !faulted && guests?.entries === entries;
    const stepped = completed && stepping && (v.systemFlags & Flag.trap) !== 0;
    const causes = v.get(At.pendingDebug) | (completed ? met : 0) | (stepped ? singleStepBit : 0);
    if (causes === 0) return;
    v.set(At.pendingDebug, causes);
    this.wake();
  }
  /** The trap of the instruction before, unless MOV SS holds it back. True when it was taken. */
  #takesDebugTrap(): boolean {
    const { v } = this.processor;
    const causes = dueDebugTrap(v);
    if (causes === 0) return false;
    v.set(At.pendingDebug, 0);
    v.set(At.halted, 0);
    this.#debug(causes);
    return true;
  }
  #raise(fault: Fault): void {
    const { v } = this.processor;
    this.counts.faults++;
    traceFault(this.#trace, v, fault);
    v.jump(v.ip);
    const { vector, error, address, unblockedNmis } = fault;
    this.#guarded(() => deliver(this.processor, { type: EventType.exception, vector, error, address, unblockedNmis }));
  }
  #debug(causes: number): void {
    const { v } = this.processor;
    this.counts.faults++;
    traceFault(this.#trace, v, new Fault(Vector.debug));
    v.jump(v.ip);
    this.#guarded(() => deliver(this.processor, { type: EventType.exception, vector: Vector.debug, causes }));
  }
}
