/** All helpers by name, of a processor without VMX. */
import { arithmeticHelpers } from './arithmetic.ts';
import { controlHelpers } from './control.ts';
import { floatHelpers } from './float.ts';
import type { HelperTable } from './helper.ts';
import { segmentHelpers } from './segments.ts';
import { withoutGuests } from './without-guests.ts';

export const helpers: HelperTable = { ...arithmeticHelpers, ...segmentHelpers, ...controlHelpers, ...floatHelpers, ...withoutGuests };
