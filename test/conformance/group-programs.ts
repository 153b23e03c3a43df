/**
 * Random programs of the groups of instructions that have handlers together, on memory that is there; now and then a base lies in the code, so that
 * an instruction writes over those behind it.
 */
import { SeededRandom } from '../../src/base/random.ts';
import { parseCpu } from '../../src/cpu/cpuid.ts';
import { commonCode } from '../../src/engine/interpreter/common-code.ts';
import { isRelative } from '../../src/engine/interpreter/handler.ts';
import { Decoder } from '../../src/isa/decode.ts';
import { type CpuState, codeAddress, makeCase, windowAddress } from './cases.ts';

const longest = 6;
const reach = 256n;
const decoder = new Decoder(parseCpu('max').instructions);

/** Instructions without far operands; jumps and calls go to what follows them. Undefined when it is nothing for this. */
function group(code: string): readonly number[] | undefined {
  const bytes: number[] = [];
  for (const hex of code.split(' ')) {
    const own = [...Buffer.from(hex, 'hex')];
    const decoded = decoder.decode(Uint8Array.from(own), 0, own.length, 64);
    if (typeof decoded === 'string') return undefined;
    const { memory } = decoded;
    if (
      memory &&
      (memory.base === 16 || memory.base < 0 || memory.index >= 0 || memory.displacement > reach || memory.displacement < -reach)
    )
      return undefined;
    if (isRelative(decoded)) own.fill(0, own.length - (own.length === 2 ? 1 : 4));
    bytes.push(...own);
  }
  return bytes;
}
/** Those that programs are made of. */
export const groups = commonCode
  .filter((code) => code.includes(' '))
  .map(group)
  .filter((bytes) => bytes !== undefined);

export function groupProgram(seed: number): { readonly code: Uint8Array; readonly before: CpuState } | undefined {
  const before = makeCase(seed)?.before;
  if (!before) return undefined;
  const r = new SeededRandom(BigInt(seed));
  const code: number[] = [];
  for (let n = 1 + r.below(longest); n > 0; n--) {
    const next = groups[r.below(groups.length)] ?? [];
    if (r.below(6) === 0) code.push(0x70 + r.below(16), Math.min(next.length, r.below(8))); // jcc around it, or into it
    code.push(...next);
  }
  const isPatching = r.below(3) === 0;
  for (let register = 0; register < 16; register++) {
    const isCode = isPatching && r.below(4) === 0;
    if (r.below(8) > 0) before.gpr[register] = BigInt(isCode ? codeAddress + r.below(64) : windowAddress + 512 + r.below(800) * 8);
  }
  if (r.below(3) === 0 && code.length < 110) code.push(0x70 + r.below(16), -(code.length + 2) & 0xff);
  if (code.length % 2 === 1) code.push(0x90);
  return { code: Uint8Array.from(code), before };
}
