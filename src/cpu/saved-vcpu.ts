/** A vCPU's state by the names of its fields, for machines that are saved. */
import { type Stateful, StateMismatch } from '../base/stateful.ts';
import { At, type StateField, stateLayout, tlbContextBytes, tlbContexts } from './state.ts';
import type { Vcpu } from './vcpu.ts';

/** What belongs to the engine that runs the vCPU, or follows from the rest, or means something only within an instruction. */
const leftOut = new Set<StateField>([
  ...(['zero', 'codePage', 'record', 'fuel', 'pending', 'hotEntries', 'misses', 'missedIn', 'length', 'inStack', 'codeMode'] as const),
  ...(['jumpEpoch', 'jumpKey', 'tlbRead', 'tlbWrite', 'debugHits', 'floatOut', 'floatOutStatus', 'scratch'] as const),
]);
const saved = (Object.keys(stateLayout.fields) as StateField[]).filter((field) => !leftOut.has(field));

/** A field's elements: words when they are of 4 bytes, otherwise quadwords. */
function* elements(v: Vcpu, field: StateField): Generator<{ get(): number | bigint; set(value: number | bigint): void }> {
  const { offset, size, count } = stateLayout.fields[field];
  for (let n = 0; n < count * (size === 4 ? 1 : size / 8); n++)
    yield size === 4
      ? { get: () => v.get(offset, n), set: (value) => v.set(offset, Number(value), n) }
      : { get: () => v.get64(offset, n), set: (value) => v.set64(offset, BigInt(value), n) };
}

/** To be used between instructions. Translations of addresses are not saved: both the machine that was saved and the other begin without. */
export class SavedVcpu implements Stateful {
  readonly #v: Vcpu;

  constructor(v: Vcpu) {
    this.#v = v;
  }
  get state(): Record<string, (number | bigint)[]> {
    const v = this.#v;
    v.jump(v.ip); // so that no record of decoded code is current
    v.flushAllTlbs();
    return Object.fromEntries(saved.map((field) => [field, [...elements(v, field)].map((element) => element.get())]));
  }
  set state(state: Record<string, (number | bigint)[]>) {
    const v = this.#v;
    for (const field of saved) {
      const values = state[field] ?? [];
      let n = 0;
      for (const element of elements(v, field)) element.set(values[n++] ?? 0);
    }
    const context = v.currentTlbContext;
    if (!Number.isInteger(context) || context < 0 || context >= tlbContexts)
      throw new StateMismatch(`processor.tlbContext is not a multiple of ${tlbContextBytes} below ${tlbContexts * tlbContextBytes}`);
    v.jump(v.get64(At.ip));
    v.useTlbContext(context);
    v.flushAllTlbs();
    v.refreshMode();
    v.apic.tscOffset = BigInt.asIntN(64, v.get64(At.tscOffset));
    v.wake();
  }
}
