/** The instruction at hand, read from its bytes again: for those who must tell what it was about. */
import type { Decoded } from '../isa/decode.ts';
import { undefinedOpcode } from './fault.ts';
import { accessOf } from './page-walk.ts';
import type { Processor } from './processor.ts';
import { At, Segment } from './state.ts';

const longestInstruction = 16;

export function currentInstruction({ v, paging, decoder }: Processor): Decoded {
  const length = Number(BigInt.asUintN(8, v.nextIp - v.ip));
  const start = BigInt.asUintN(v.long ? 64 : 32, v.ip + v.get64(At.segmentBase, Segment.cs));
  const bytes = new Uint8Array(longestInstruction).fill(0xff);
  const fetch = accessOf(v, 'fetch');
  for (let n = 0; n < length; n++) bytes[n] = Number(paging.read(BigInt.asUintN(64, start + BigInt(n)), 1, fetch));
  const decoded = decoder.decode(bytes, 0, longestInstruction, v.codeSize);
  // a guest may have changed its mapping without telling: then what is there now is what it runs
  if (typeof decoded === 'string') throw undefinedOpcode();
  return decoded;
}
