/** What the engine counts when a profile is wanted. */
export class EngineProfile {
  /** How often a region was left for another place, by the instruction that comes next. */
  readonly moves = new Map<string, number>();
  /** How often a region left an instruction to the interpreter, by instruction. */
  readonly exits = new Map<string, number>();

  leave(interpreted: boolean, instruction: string): void {
    const counts = interpreted ? this.exits : this.moves;
    counts.set(instruction, (counts.get(instruction) ?? 0) + 1);
  }
}
