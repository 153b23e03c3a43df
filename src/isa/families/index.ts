/** All instruction families, one after another: the whole instruction set. */
import type { Instruction } from '../instruction.ts';
import { arithmeticFamily } from './arithmetic.ts';
import { bitFamily } from './bits.ts';
import { controlFamily } from './control.ts';
import { floatFamily } from './floats.ts';
import { moveFamily } from './moves.ts';
import { multiplyFamily } from './multiply.ts';
import { shiftFamily } from './shifts.ts';
import { stringFamily } from './strings.ts';
import { svmFamily } from './svm.ts';
import { systemFamily } from './system.ts';
import { vectorFamily } from './vectors.ts';
import { vmxFamily } from './vmx.ts';
import { x87Family } from './x87.ts';

export const instructionTable: readonly Instruction[] = [
  ...moveFamily,
  ...arithmeticFamily,
  ...multiplyFamily,
  ...shiftFamily,
  ...bitFamily,
  ...controlFamily,
  ...stringFamily,
  ...systemFamily,
  ...vmxFamily,
  ...svmFamily,
  ...vectorFamily,
  ...floatFamily,
  ...x87Family,
];
