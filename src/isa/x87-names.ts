/**
 * The x87's operations on plain numbers: normal ones and zeros, by a control word that masks all exceptions and rounds to nearest with 64 bits.
 * Each gives zero, with nothing changed, when an operand, the stack or a result is anything else; the `x87` helper does the instruction then.
 */
export const x87Names = [
  // (value, form): pushes
  'push80', 'push64', 'push32', 'pushInteger', 'pushCopy',
  // `arithmeticForm`, or for a memory operand (value, digit)
  'arithmetic', 'arithmetic64', 'arithmetic32', 'arithmeticInteger',
  // (0, register + 8 * pops), or for a memory operand (value, pops): C0, C2 and C3; `compareFlags` gives 0x100 + the flags
  'compare', 'compare64', 'compare32', 'compareInteger', 'compareFlags',
  // leave what is to be stored in `floatOut`; (0, pops) of `stored` follows the store
  'to80', 'to64', 'to32', 'toInteger', 'stored',
  // (0, register + 8 * pops), (0, register), (0, 1 to clear the sign)
  'storeRegister', 'exchange', 'changeSign',
] as const;
export type X87Name = (typeof x87Names)[number];

/** ST(target) = ST(target) op ST(other), where `digit` is 0 ADD, 1 MUL, 4 SUB, 5 SUBR, 6 DIV, 7 DIVR. */
export const arithmeticForm = (digit: number, target: number, other: number, pops: number): number => digit | (target << 3) | (other << 6) | (pops << 9);
/** To an integer of so many bits: by the rounding control, or cut. */
export const integerForm = (bits: 16 | 32 | 64, truncates: boolean): number => bits | (truncates ? 0x80 : 0);
