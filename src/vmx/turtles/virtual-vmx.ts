/** The VMX that the monitor makes for its guest: the same rules, other state, and the monitor told of what it must follow. */
import type { Processor } from '../../cpu/processor.ts';
import type { TimerQueue } from '../../time/timers.ts';
import { Vmx, virtualVmx } from '../vmx.ts';
import { isHot, isRareState } from './merge.ts';

/** What the guest's VMX asks of the monitor. */
export interface Keeper {
  /** Another VMCS12, or a field that the next merge must see. */
  mergeAll(): void;
  syncRareState(): void;
  dropComposed(test: (eptPointer: bigint) => boolean): void;
  flushNested(): void;
}

export class VirtualVmx extends Vmx {
  readonly #keeper: Keeper;

  constructor(p: Processor, timers: TimerQueue, features: ReadonlySet<string>, keeper: Keeper) {
    super(p, timers, features, virtualVmx, 2);
    this.#keeper = keeper;
  }
  override setCurrent(pointer: bigint): void {
    this.#keeper.syncRareState();
    this.#keeper.mergeAll();
    super.setCurrent(pointer);
  }
  override markClear(pointer: bigint): void {
    this.#keeper.syncRareState();
    super.markClear(pointer);
  }
  override dropEpt(test: (eptPointer: bigint) => boolean): void {
    this.ept.drop(test);
    this.#keeper.dropComposed(test);
  }
  override dropVpid(): void {
    this.#keeper.flushNested();
  }
  override accessed(encoding: number, write: boolean): void {
    super.accessed(encoding, write);
    if (isRareState(encoding)) this.#keeper.syncRareState();
    if (write && !isHot(encoding)) this.#keeper.mergeAll();
  }
}
