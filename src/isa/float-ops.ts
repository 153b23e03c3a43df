/** Scalar floating-point operations that meanings ask the `float` helper for. The helper's first argument is index * 2, plus 1 for double. */
export const floatOps = ['add', 'sub', 'mul', 'div', 'min', 'max', 'sqrt', 'rcp', 'rsqrt', 'compare', 'comi', 'ucomi', 'fromInt32', 'fromInt64', 'toInt32', 'toInt64',
  'truncateInt32', 'truncateInt64', 'toOther', 'round'] as const;
export type FloatOp = (typeof floatOps)[number];
export const floatCode = (op: FloatOp, size: 32 | 64): number => floatOps.indexOf(op) * 2 + (size === 64 ? 1 : 0);
