/** Where an engine's time goes: what is counted and timed when a profile is wanted, and the report for a person. */

import type { Decoded } from '../isa/decode.ts';
import { formatInstruction } from '../isa/format.ts';
import { type Callee, calleeSignature } from './interpreter/callees.ts';
import type { FunctionBody } from './wasm/module.ts';
import { moduleText } from './wasm/text.ts';

export type TimedWork = 'decoding' | 'translation' | 'compilation';

export interface RegionInstruction {
  readonly address: bigint;
  readonly decoded: Decoded;
}
interface Counted {
  entries: number;
  retired: number;
}
/** A region while it was in use. */
interface RegionProfile extends Counted {
  readonly instructions: readonly RegionInstruction[];
  readonly body: FunctionBody;
  readonly callees: readonly Callee[];
}

const rowsMax = 12;
const regionsMax = 5;
const textsMax = 20;
const linesMax = 24;
/** Regions that are remembered, however long the run. */
const keptMax = 8192;

export class EngineProfile {
  readonly #now: () => number;
  readonly #milliseconds: Record<TimedWork, number> = { decoding: 0, translation: 0, compilation: 0 };
  /** The same, on other threads. */
  readonly #elsewhere: Record<'translation' | 'compilation', number> = { translation: 0, compilation: 0 };
  /** How often a region left an instruction to the interpreter, by instruction; likewise helpers called, by name. */
  readonly #exits = new Map<string, number>();
  readonly #helpers = new Map<string, number>();
  #regions: RegionProfile[] = [];
  /** Why regions could not be made, and how many. */
  readonly #refused = new Map<string, number>();
  /** What regions did that are no longer listed. */
  readonly #others = { made: 0, entries: 0, retired: 0 };
  readonly #bySlot = new Map<number, Counted>();
  #reused = 0;
  #moves = 0;
  #slowAccesses = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  time<T>(work: TimedWork, call: () => T): T {
    const start = this.#now();
    try {
      return call();
    } finally {
      this.#milliseconds[work] += this.#now() - start;
    }
  }
  /** Work for this machine was done on another thread. */
  spentElsewhere({ translation, compilation }: Readonly<Record<'translation' | 'compilation', number>>): void {
    this.#elsewhere.translation += translation;
    this.#elsewhere.compilation += compilation;
  }
  helper(name: string): void {
    this.#helpers.set(name, (this.#helpers.get(name) ?? 0) + 1);
  }
  /** A region could not be made. */
  refuse(why: string): void {
    this.#refused.set(why, (this.#refused.get(why) ?? 0) + 1);
  }
  /** An access that the software TLB does not have: a fill, a device, a page with code, two pages. */
  slowAccess(): void {
    this.#slowAccesses++;
  }
  /** A region is in use under this number from now on. `callees`: what its module imports. */
  region(slot: number, instructions: readonly RegionInstruction[], body: FunctionBody, callees: readonly Callee[]): void {
    const region = { instructions, body: { ...body, code: Uint8Array.from(body.code) }, callees, entries: 0, retired: 0 };
    if (this.#regions.length === keptMax) this.#forgetColdest();
    this.#regions.push(region);
    this.#bySlot.set(slot, region);
  }
  /** One of the regions noted was made for the same code elsewhere. */
  reuse(): void {
    this.#reused++;
  }
  #forgetColdest(): void {
    this.#regions.sort((a, b) => b.retired - a.retired);
    for (const region of this.#regions.splice(keptMax / 2)) {
      this.#others.made++;
      this.#others.entries += region.entries;
      this.#others.retired += region.retired;
    }
    const kept = new Set<Counted>(this.#regions);
    for (const [slot, current] of this.#bySlot) if (!kept.has(current)) this.#bySlot.set(slot, this.#others);
  }
  /** A region was left after so many instructions, for another place or to have `interpreted` done. */
  leave(slot: number, retired: number, interpreted: string | undefined): void {
    const region = this.#bySlot.get(slot);
    if (region) {
      region.entries++;
      region.retired += retired;
    }
    if (interpreted === undefined) this.#moves++;
    else this.#exits.set(interpreted, (this.#exits.get(interpreted) ?? 0) + 1);
  }

  /** `retired`: instructions of the whole run. */
  report(retired: number): string {
    const translated = this.#regions.reduce((sum, r) => sum + r.retired, this.#others.retired);
    const share = (n: number): string => `${((100 * n) / Math.max(1, retired)).toFixed(1)} %`;
    const entries = this.#regions.reduce((sum, r) => sum + r.entries, this.#others.entries);
    const lines = [
      `instructions          ${retired}, ${share(translated)} of them in regions, ${share(retired - translated)} in the interpreter`,
      `regions               ${this.#regions.length + this.#others.made - this.#reused} made, ${this.#reused} times for another place too, entered ${entries} times for ${(translated / Math.max(1, entries)).toFixed(0)} instructions each`,
      ...[...this.#refused].map(([why, count]) => `regions refused       ${count}: ${why}`),
      ...Object.entries(this.#milliseconds).map(([work, ms]) => `${work.padEnd(22)}${ms.toFixed(0)} ms`),
      ...Object.entries(this.#elsewhere).flatMap(([work, ms]) => (ms > 0 ? [`  in the worker       ${ms.toFixed(0)} ms of ${work}`] : [])),
      `slow memory accesses  ${this.#slowAccesses}`,
      `ways out of regions   ${this.#moves} to other places, ${[...this.#exits.values()].reduce((a, b) => a + b, 0)} to interpret one instruction:`,
      ...top(this.#exits),
      'helpers called:',
      ...top(this.#helpers),
      'hottest regions:',
      ...this.#hottest(regionsMax).flatMap((r) => describe(r, share(r.retired), linesMax)),
    ];
    return `${lines.join('\n')}\n`;
  }
  #hottest(count: number): readonly RegionProfile[] {
    return [...this.#regions].sort((a, b) => b.retired - a.retired).slice(0, count);
  }
  /** The hottest regions as modules in WebAssembly's text format, with their guest code as comments; the name tells the rank and where the code begins. */
  texts(retired: number): { readonly name: string; readonly text: string; readonly body: FunctionBody }[] {
    return this.#hottest(textsMax).map((region, n) => {
      const guest = describe(region, `${((100 * region.retired) / Math.max(1, retired)).toFixed(1)} %`, Number.POSITIVE_INFINITY);
      const start = region.instructions[0]?.address.toString(16) ?? '';
      const comments = guest.map((line) => `;; ${line.trim()}\n`).join('');
      return {
        name: `${String(n + 1).padStart(2, '0')}-${start}.wat`,
        text: comments + moduleText(region.body, importsOf(region.callees)),
        body: region.body,
      };
    });
  }
}

const importsOf = (callees: readonly Callee[]) => callees.map((name) => ({ name, signature: calleeSignature(name) }));

const top = (counts: ReadonlyMap<string, number>): string[] =>
  [...counts]
    .sort((a, b) => b[1] - a[1])
    .slice(0, rowsMax)
    .map(([name, count]) => `  ${String(count).padStart(12)}  ${name}`);

function describe(region: RegionProfile, share: string, linesMax: number): string[] {
  const shown = region.instructions
    .slice(0, linesMax)
    .map((i) => `    ${i.address.toString(16).padStart(16)}  ${formatInstruction(i.decoded, i.address)}`);
  const more = region.instructions.length - shown.length;
  return [`  ${share} of all instructions, entered ${region.entries} times`, ...shown, ...(more > 0 ? [`    ... ${more} more`] : [])];
}
