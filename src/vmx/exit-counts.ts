/**
 * VM exits counted by level and reason. The machine knows one level of guests; which level a VMCS's guest has follows from who asked for its entry:
 * when a guest exits by VMRESUME and another VMCS is entered next, that one's guest has level 3. Deeper ones look like level 3: the hypervisor of level 2
 * runs them all in the same VMCS.
 */
import { Reason, reasonName } from './exit-reasons.ts';

interface Level {
  readonly exits: Map<number, number>;
  /** Exits of all levels from an exit of this one to the next entry of it. */
  cost: number;
  /** An exit of this level has not been followed by an entry yet. */
  open: boolean;
}

const firstLevel = 2;
const lastLevel = 3;
/** A guest may use any page as a VMCS. */
const knownMax = 256;

export class ExitCounts {
  entries = 0;
  failedEntries = 0;
  readonly #levels = new Map<number, Level>();
  readonly #levelOf = new Map<bigint, number>();
  /** The VMCS whose guest asked last to enter a guest of its own. */
  #asked: bigint | undefined;

  #level(n: number): Level {
    let level = this.#levels.get(n);
    if (!level) {
      level = { exits: new Map(), cost: 0, open: false };
      this.#levels.set(n, level);
    }
    return level;
  }
  entered(vmcs: bigint): void {
    this.entries++;
    if (this.#levelOf.size >= knownMax && !this.#levelOf.has(vmcs)) this.#levelOf.clear();
    if (this.#asked !== undefined && this.#asked !== vmcs) this.#levelOf.set(vmcs, lastLevel);
    else if (!this.#levelOf.has(vmcs)) this.#levelOf.set(vmcs, firstLevel);
    this.#asked = undefined;
    this.#level(this.#levelOf.get(vmcs) ?? firstLevel).open = false;
  }
  left(vmcs: bigint, reason: number): void {
    const level = this.#level(this.#levelOf.get(vmcs) ?? firstLevel);
    level.exits.set(reason, (level.exits.get(reason) ?? 0) + 1);
    if ((reason === Reason.vmlaunch || reason === Reason.vmresume) && this.#levelOf.get(vmcs) === firstLevel) this.#asked = vmcs;
    level.open = true;
    for (const each of this.#levels.values()) if (each.open) each.cost++;
  }

  /** The VMCSs that were entered, with the levels of their guests. */
  get known(): readonly (readonly [pointer: bigint, level: number])[] {
    return [...this.#levelOf];
  }
  get total(): number {
    let sum = 0;
    for (const level of this.#levels.values()) for (const count of level.exits.values()) sum += count;
    return sum;
  }
  /** Lines for a profile. */
  report(): string[] {
    const lines = [`VM entries            ${this.entries}, and ${this.failedEntries} refused or failed`];
    for (const [number, level] of [...this.#levels].sort(([a], [b]) => a - b)) {
      const exits = [...level.exits.values()].reduce((a, b) => a + b, 0);
      lines.push(
        `VM exits of level ${number}${number === lastLevel ? '+' : ' '}  ${exits}, for each of them ${(level.cost / Math.max(1, exits)).toFixed(2)} of the machine:`,
      );
      for (const [reason, count] of [...level.exits].sort((a, b) => b[1] - a[1]))
        lines.push(`  ${String(count).padStart(12)}  ${reasonName(reason)}`);
    }
    return lines;
  }
}
