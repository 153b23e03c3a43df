/**
 * VM exits counted by level and reason, with what the hypervisor did about them. The machine knows one level of guests; which level a VMCS's guest
 * has follows from who asked for its entry: when a guest exits by VMRESUME or VMRUN and another VMCS or VMCB is entered next, that one's guest has level 3. Deeper ones
 * look like level 3: the hypervisor of level 2 runs them all in the same VMCS.
 */

/** Names of exit reasons, and those by which a guest asks for a guest of its own. */
export interface ExitKinds {
  readonly name: (reason: number) => string;
  readonly entries: readonly number[];
}

/** What was done from an exit to the next entry of the same level. */
interface Handling {
  count: number;
  /** How often so many VMREADs (times `perRead`) and VMWRITEs. */
  readonly accesses: Map<number, number>;
  readonly instructions: number[];
}
interface Level {
  readonly exits: Map<number, number>;
  readonly handling: Map<number, Handling>;
  /** Exits of all levels from an exit of this one to the next entry of it. */
  cost: number;
  /** The exit that has not been followed by an entry yet. */
  open: { readonly reason: number; readonly reads: number; readonly writes: number; readonly retired: number } | undefined;
}

/** A guest may use any page as a VMCS, and do anything between an exit and an entry. */
const knownMax = 256;
const samplesMax = 1000;
const kindsMax = 64;
/** More VMWRITEs than follow one exit. */
const perRead = 2 ** 20;

export class ExitCounts {
  entries = 0;
  failedEntries = 0;
  /** Of the hypervisor at level 1. */
  reads = 0;
  writes = 0;
  readonly #retired: () => number;
  readonly #levels = new Map<number, Level>();
  readonly #levelOf = new Map<bigint, number>();
  /** The VMCS whose guest asked last to enter a guest of its own. */
  #asked: bigint | undefined;

  readonly #first: number;

  readonly #kinds: ExitKinds;

  /** `first`: level of the guests that the machine's own software enters. */
  constructor(retired: () => number, first: number, kinds: ExitKinds) {
    this.#retired = retired;
    this.#first = first;
    this.#kinds = kinds;
  }

  #level(n: number): Level {
    let level = this.#levels.get(n);
    if (!level) {
      level = { exits: new Map(), handling: new Map(), cost: 0, open: undefined };
      this.#levels.set(n, level);
    }
    return level;
  }
  entered(vmcs: bigint): void {
    this.entries++;
    if (this.#levelOf.size >= knownMax && !this.#levelOf.has(vmcs)) this.#levelOf.clear();
    if (this.#asked !== undefined && this.#asked !== vmcs) this.#levelOf.set(vmcs, this.#first + 1);
    else if (!this.#levelOf.has(vmcs)) this.#levelOf.set(vmcs, this.#first);
    this.#asked = undefined;
    this.#handled(this.#level(this.#levelOf.get(vmcs) ?? this.#first));
  }
  #handled(level: Level): void {
    const { open } = level;
    if (!open) return;
    level.open = undefined;
    let handling = level.handling.get(open.reason);
    if (!handling) {
      handling = { count: 0, accesses: new Map(), instructions: [] };
      level.handling.set(open.reason, handling);
    }
    const key = (this.reads - open.reads) * perRead + this.writes - open.writes;
    if (handling.accesses.size < kindsMax || handling.accesses.has(key)) handling.accesses.set(key, (handling.accesses.get(key) ?? 0) + 1);
    handling.instructions[handling.count++ % samplesMax] = this.#retired() - open.retired;
  }
  left(vmcs: bigint, reason: number): void {
    const level = this.#level(this.#levelOf.get(vmcs) ?? this.#first);
    level.exits.set(reason, (level.exits.get(reason) ?? 0) + 1);
    if (this.#kinds.entries.includes(reason) && this.#levelOf.get(vmcs) === this.#first) this.#asked = vmcs;
    level.open = { reason, reads: this.reads, writes: this.writes, retired: this.#retired() };
    this.machineLeft();
  }
  /** An exit of the machine, whoever handles it. */
  machineLeft(): void {
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
      const cost = (level.cost / Math.max(1, exits)).toFixed(2);
      lines.push(`VM exits of level ${number}${number > this.#first ? '+' : ' '}  ${exits}, for each of them ${cost} of the machine;`);
      lines.push('  handled with most often so many VMREADs + VMWRITEs, and a median of instructions:');
      for (const [reason, count] of [...level.exits].sort((a, b) => b[1] - a[1])) {
        const handling = level.handling.get(reason);
        const [often] = [...(handling?.accesses ?? [])].sort((a, b) => b[1] - a[1])[0] ?? [];
        const accesses = often === undefined ? '' : `${Math.floor(often / perRead)} + ${often % perRead}`;
        const middle = [...(handling?.instructions ?? [])].sort((a, b) => a - b)[(handling?.instructions.length ?? 0) >> 1] ?? 0;
        lines.push(
          `  ${String(count).padStart(12)}  ${this.#kinds.name(reason).padEnd(20)} ${accesses.padStart(11)} ${String(middle).padStart(10)}`,
        );
      }
    }
    return lines;
  }
}
