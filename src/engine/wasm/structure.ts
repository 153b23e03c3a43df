/**
 * Structured control flow out of a graph of blocks: the dominator tree tells how loops and blocks nest (Ramsey, "Beyond Relooper", ICFP 2022).
 * Node 0 is the dispatcher: control enters there, and ways into the middle of a loop go back to it.
 */

export class Structure {
  /** Place in reverse postorder; -1 for what cannot be reached. */
  readonly order: Int32Array;
  /** Immediate dominator. */
  readonly dominator: Int32Array;
  /** Nodes that the dispatcher must be able to reach: its successors, and those entered in the middle of a loop. */
  readonly dispatched: readonly number[];
  readonly #successors: (readonly number[])[] = [];
  readonly #reached: number[] = [];
  readonly #loops = new Set<number>();
  readonly #merges = new Set<number>();
  readonly #children: number[][] = [];

  constructor(successors: readonly (readonly number[])[]) {
    // not by `map`, which V8 makes another kind of list when it has compiled this: what reads both kinds is compiled again
    for (const s of successors) this.#successors.push([...s]);
    const count = successors.length;
    this.order = new Int32Array(count);
    this.dominator = new Int32Array(count);
    for (let n = 0; n < count; n++) this.#children.push([]);
    // each round sends some ways through the dispatcher, until every way back goes to a block that dominates it
    while (!this.#analyse());
    this.dispatched = this.#successors[0] ?? [];
  }

  isLoop(n: number): boolean {
    return this.#loops.has(n);
  }
  /** Several ways lead here, all forward: the node has a block of its own. */
  isMerge(n: number): boolean {
    return this.#merges.has(n);
  }
  /** A way back, in the direction of a loop's head. */
  isBack(from: number, to: number): boolean {
    return (this.order[to] ?? 0) <= (this.order[from] ?? 0);
  }
  /** Whether a way back goes to a node that is not around it: it has to take the dispatcher. */
  isIrreducible(from: number, to: number): boolean {
    return this.isBack(from, to) && !this.#dominates(to, from);
  }
  /** Merge nodes under a node, the last in order first. */
  mergesUnder(n: number): readonly number[] {
    return (this.#children[n] ?? []).filter((c) => this.#merges.has(c)).sort((a, b) => (this.order[b] ?? 0) - (this.order[a] ?? 0));
  }
  /** Reachable nodes, in reverse postorder. */
  get nodes(): readonly number[] {
    return this.#reached;
  }
  successorsOf(n: number): readonly number[] {
    return this.#successors[n] ?? [];
  }

  #postorder(): void {
    const seen = new Set<number>([0]);
    const stack: { n: number; next: number }[] = [{ n: 0, next: 0 }];
    const out: number[] = [];
    for (;;) {
      const top = stack.at(-1);
      if (!top) break;
      const successors = this.#successors[top.n] ?? [];
      const s = successors[top.next++];
      if (s === undefined) {
        out.push(top.n);
        stack.pop();
      } else if (!seen.has(s)) {
        seen.add(s);
        stack.push({ n: s, next: 0 });
      }
    }
    out.reverse();
    this.#reached.length = 0;
    this.#reached.push(...out);
    this.order.fill(-1);
    out.forEach((n, at) => {
      this.order[n] = at;
    });
  }

  /** False when ways were sent through the dispatcher and all has to be found again. */
  #analyse(): boolean {
    this.#postorder();
    const predecessors: number[][] = [];
    for (let n = 0; n < this.#successors.length; n++) predecessors.push([]);
    for (const n of this.#reached) for (const s of this.#successors[n] ?? []) predecessors[s]?.push(n);
    this.#findDominators(predecessors);
    const entries = this.#successors[0] as number[];
    let again = false;
    for (const n of this.#reached)
      for (const s of this.#successors[n] ?? [])
        if (this.isIrreducible(n, s) && !entries.includes(s)) {
          entries.push(s);
          again = true;
        }
    if (again) return false;
    this.#loops.clear();
    this.#merges.clear();
    for (const list of this.#children) list.length = 0;
    for (const n of this.#reached) {
      let forward = entries.includes(n) ? 2 : 0;
      for (const p of predecessors[n] ?? []) {
        if (!this.isBack(p, n)) forward++;
        else if (this.#dominates(n, p)) this.#loops.add(n);
        else this.#loops.add(0);
      }
      if (n !== 0 && forward >= 2) this.#merges.add(n);
      if (n !== 0) this.#children[this.dominator[n] ?? 0]?.push(n);
    }
    return true;
  }
  /** Cooper, Harvey and Kennedy, "A simple, fast dominance algorithm". */
  #findDominators(predecessors: readonly (readonly number[])[]): void {
    const { dominator, order } = this;
    dominator.fill(-1);
    dominator[0] = 0;
    const meet = (x: number, y: number): number => {
      let a = x;
      let b = y;
      while (a !== b) {
        while ((order[a] ?? 0) > (order[b] ?? 0)) a = dominator[a] ?? 0;
        while ((order[b] ?? 0) > (order[a] ?? 0)) b = dominator[b] ?? 0;
      }
      return a;
    };
    for (let changed = true; changed; ) {
      changed = false;
      for (const n of this.#reached) {
        if (n === 0) continue;
        let found = -1;
        for (const p of predecessors[n] ?? []) if ((dominator[p] ?? -1) >= 0) found = found < 0 ? p : meet(p, found);
        if (dominator[n] !== found) {
          dominator[n] = found;
          changed = true;
        }
      }
    }
  }
  #dominates(a: number, b: number): boolean {
    let n = b;
    while ((this.order[n] ?? 0) > (this.order[a] ?? 0)) n = this.dominator[n] ?? 0;
    return n === a;
  }
}
