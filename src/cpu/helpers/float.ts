/** Floating point, vectors and their save areas. */
import { Unimplemented } from '../unimplemented.ts';
import { Fault, undefinedOpcode, Vector } from '../fault.ts';
import type { Processor } from '../processor.ts';
import { Cr0, Cr4 } from '../state.ts';
import type { Helper, Helpers } from './helper.ts';

export function checkVector(p: Processor): void {
  const cr0 = p.v.low('cr0');
  if ((cr0 & Cr0.em) !== 0 || (p.v.low('cr4') & Cr4.osfxsr) === 0) throw undefinedOpcode();
  if ((cr0 & Cr0.ts) !== 0) throw new Fault(Vector.deviceNotAvailable);
}
export function checkFloat(p: Processor): void {
  if ((p.v.low('cr0') & (Cr0.em | Cr0.ts)) !== 0) throw new Fault(Vector.deviceNotAvailable);
}
const later = (name: string): Helper => () => {
  throw new Unimplemented(name);
};

export const floatHelpers: Helpers<
  | 'checkVector' | 'checkFloat' | 'fxsave' | 'fxrstor' | 'xsave' | 'xrstor' | 'xsaveopt' | 'xsavec' | 'xsaves' | 'xrstors' | 'loadControlStatus' | 'x87'
  | 'x87Result' | 'float' | 'floatPair' | 'enterMmx' | 'aes' | 'carrylessMultiply' | 'compareStrings' | 'vectorResult'
> = {
  checkVector, checkFloat,
  fxsave: later('fxsave'), fxrstor: later('fxrstor'), xsave: later('xsave'), xrstor: later('xrstor'), xsaveopt: later('xsaveopt'), xsavec: later('xsavec'),
  xsaves: later('xsaves'), xrstors: later('xrstors'), loadControlStatus: later('ldmxcsr'), x87: later('x87'), x87Result: later('x87'), float: later('float'),
  floatPair: later('float'), enterMmx: later('mmx'), aes: later('aes'), carrylessMultiply: later('pclmul'), compareStrings: later('pcmpstr'), vectorResult: later('v'),
};
