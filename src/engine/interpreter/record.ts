/** A decoded instruction as the interpreter's handlers read it: 32 bytes in machine memory. */
export const recordBytes = 32;
export const Record = {
  /** u16: index in the table of handlers. */
  handler: 0,
  /** u16: the instruction's offset in its page. */
  offset: 2,
  /** u16 each: state offset of a register operand, or a small constant. */
  operands: 4,
  length: 10,
  scale: 11,
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
  /** i64: immediate, or displacement of a relative jump. */
  immediate: 24,
} as const;
