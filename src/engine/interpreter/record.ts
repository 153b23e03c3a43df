/** A decoded instruction as the interpreter's handlers read it: 48 bytes in machine memory. */
export const recordBytes = 48;
export const Record = {
  /** u16: index in the table of what is to be done here: a handler, the counter of entries, or a region of translated code. */
  handler: 0,
  /** u16: index of the instruction's own handler. A record's address plus `asItself` dispatches to this one. */
  own: 2,
  /** u16 each: state offset of a register operand, or a small constant. */
  operands: 4,
  length: 10,
  scale: 11,
  /** u32 of a conditional jump, which has no address in memory: how it went of late, see outcomes.ts. */
  outcomes: 12,
  /** u16 each: state offsets of what is added up to an address. */
  base: 12,
  index: 14,
  segment: 16,
  /** u8: 1 when a relative jump stays in the page, so that its target may be linked. */
  inPage: 18,
  segmentNumber: 19,
  /** i32: displacement of a memory operand, or the linked record of a jump. */
  displacement: 20,
  link: 20,
  /** i64: immediate, or displacement of a relative jump. Two u32 for an indirect jump: the records it went to last, the latest first; `earliest` is the third. */
  immediate: 24,
  latest: 24,
  before: 28,
  earliest: 44,
  /** u16: the instruction's offset in its page. */
  offset: 32,
  /** u16: how often the record was entered, or, once it enters a region, at which of its entries. */
  entry: 34,
  /** u32: frame * 8 + code mode. */
  page: 36,
  /**
   * u32: of an instruction on two pages, the map of the second; of one that enters a region, where the maps of the region's pages stand; of one whose entries
   * are counted, 1 if the count began near its end, since the code may be known.
   */
  second: 40,
  maps: 40,
  known: 40,
} as const;
/** What a record's `page` says in its two lowest bits of 64-bit code; only that is translated. */
export const longCode = 2;
/** What `handler` is where something else than the instruction is done: go on at `link`, look up the address again, count entries, look at the second page. */
export const gotoHandler = 1;
export const relookupHandler = 2;
export const countHandler = 3;
export const crossingHandler = 4;
export const firstHandler = 5;
/** Handlers have lower numbers; regions of translated code have those from here on. */
export const handlersEnd = 16_384;

/** Added to a record's address: do what the instruction itself does, whatever it enters. */
export const asItself = Record.own - Record.handler;
/**
 * What a handler or a region may give instead of a record: leave the run, go on at `ip`, or have the instruction there done by itself,
 * in general or because the software TLB did not have what a region wanted of it.
 */
export const Outcome = { leave: 0, goOn: 1, asItself: 1 | asItself, missed: 5 | asItself } as const;
/** The largest outcome, and the bits that hold one; records lie above. */
export const outcomeMax = 7;
/** The bit by which `missed` differs from `asItself`. */
export const missedBit = 4;
