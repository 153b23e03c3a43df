/** What a record of a place holds that enters a region: its slot in the table, at which of its entries, and where the maps of its pages stand. */
export interface RegionEntry {
  readonly slot: number;
  readonly entry: number;
  readonly maps: number;
}
/** What the interpreter wants of a translator: faster code for places that are entered often. Pages are frame * 8 + code mode. */
export interface Translation {
  /** A place was entered often. */
  hot(page: number, offset: number): void;
  /** Whether there may be a region for the code at a place, made for the same code elsewhere: `reuse` is worth trying before it is hot. */
  mayKnow(page: number, offset: number): boolean;
  /** Has a place enter a region that was made for the same code elsewhere; false when there is none. */
  reuse(page: number, offset: number): boolean;
  /** A run of the engine is over, of so many instructions at most: a good moment to make what is waiting. */
  tick(instructions: number): void;
  /** What to dispatch to at a place. */
  entry(page: number, offset: number): RegionEntry | undefined;
  /** Bytes of a frame that hold code were written. */
  forget(frame: number, start: number, end: number): void;
  /** All decoded code is gone. */
  clear(): void;
}
