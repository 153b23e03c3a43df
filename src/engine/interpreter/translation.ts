/** What the interpreter wants of a translator: faster code for places that are entered often. Pages are frame * 8 + code mode. */
export interface Translation {
  /** A place was entered often. */
  hot(page: number, offset: number): void;
  /** A run of the engine is over, of so many instructions at most: a good moment to make what is waiting. */
  tick(instructions: number): void;
  /** What to dispatch to at a place, and with which number. */
  entry(page: number, offset: number): { readonly slot: number; readonly entry: number } | undefined;
  /** Bytes of a frame that hold code were written. */
  forget(frame: number, start: number, end: number): void;
  /** All decoded code is gone. */
  clear(): void;
}
