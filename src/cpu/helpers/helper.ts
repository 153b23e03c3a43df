/** The shape of the functions behind `Ops.helper`. Arguments and result are 64-bit values; a fault is thrown. */
import type { HelperName } from '../../isa/helper-names.ts';
import type { Processor } from '../processor.ts';

export type Helper = (p: Processor, a: bigint, b: bigint, c: bigint, d: bigint, e: bigint) => bigint | void;
export type Helpers<Names extends string> = Readonly<Record<Names, Helper>>;
export type HelperTable = Helpers<HelperName>;
