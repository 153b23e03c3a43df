/** Intercepts: functions in front of helpers that may leave a guest for its hypervisor instead. They do nothing while no guest runs. */
import type { HelperName } from '../../isa/helper-names.ts';
import type { Helper, HelperTable } from './helper.ts';

/** `base`: carries the instruction out. `x`: the hypervisor interface of the processor. */
export type Intercept<X> = (x: X, base: () => bigint | void, a: bigint, b: bigint, c: bigint) => bigint | void;
export type Intercepts<X> = Readonly<Partial<Record<HelperName, Intercept<X>>>>;

export function intercepted<X>(x: X, runs: () => boolean, intercepts: Intercepts<X>, helpers: HelperTable): HelperTable {
  const layer = Object.entries(intercepts).map(([name, intercept]): [string, Helper] => {
    const helper = helpers[name as HelperName];
    return [name, (p, a, b, c, d, e) => (runs() ? intercept(x, () => helper(p, a, b, c, d, e), a, b, c) : helper(p, a, b, c, d, e))];
  });
  return { ...helpers, ...Object.fromEntries(layer) };
}
