/** All helpers by name. */
import type { HelperName } from '../../isa/helper-names.ts';
import { arithmeticHelpers } from './arithmetic.ts';
import { controlHelpers } from './control.ts';
import { floatHelpers } from './float.ts';
import type { Helper } from './helper.ts';
import { segmentHelpers } from './segments.ts';

export const helpers: Readonly<Record<HelperName, Helper>> = { ...arithmeticHelpers, ...segmentHelpers, ...controlHelpers, ...floatHelpers };
export type { Helper };
