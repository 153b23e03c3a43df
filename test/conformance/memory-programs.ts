/**
 * Random programs whose accesses lie near a few addresses, most of them at constant distances from each other, some across the pages' ends:
 * what the translator's windows are about. Bases move, are copied and are lost; jumps go around instructions. Some work on narrow values instead.
 */
import { SeededRandom } from '../../src/base/random.ts';
import { type CpuState, makeCase, windowAddress } from './cases.ts';

const longest = 14;
/** RAX, RBX, RSP, RBP, RSI, R12 hold addresses; RAX, RCX, RDX, RDI, R9 are read and written. */
const addresses = [0, 3, 4, 5, 6, 12] as const;
const others = [0, 1, 2, 7, 9] as const;
const pageEnds = [0, 4096, 8192] as const;

/** REX, opcode and ModRM for a register and [base + disp8]. */
function onMemory(
  opcode: readonly number[],
  register: number,
  base: number,
  displacement: number,
  wide: boolean,
  prefix: readonly number[] = [],
): number[] {
  const rex = 0x40 | (wide ? 8 : 0) | (register >= 8 ? 4 : 0) | (base >= 8 ? 1 : 0);
  const rm = base & 7;
  const modrm = 0x40 | ((register & 7) << 3) | rm;
  return [...prefix, rex, ...opcode, modrm, ...(rm === 4 ? [0x24] : []), displacement & 0xff];
}
const onRegisters = (opcode: number, register: number, rm: number): number[] => [
  0x48 | (register >= 8 ? 4 : 0) | (rm >= 8 ? 1 : 0),
  opcode,
  0xc0 | ((register & 7) << 3) | (rm & 7),
];

function instruction(r: SeededRandom, bases: readonly number[]): number[] {
  const pick = (list: readonly number[]): number => list[r.below(list.length)] as number;
  const base = pick(bases);
  const other = pick(others);
  const displacement = r.below(4) === 0 ? r.below(256) : r.below(10) * 8;
  const isWide = r.below(2) === 0;
  switch (r.below(17)) {
    case 0:
    case 1:
    case 2:
      return onMemory([0x8b], other, base, displacement, isWide); // mov other, [base]
    case 3:
    case 4:
    case 5:
      return onMemory([0x89], other, base, displacement, isWide); // mov [base], other
    case 6:
      return onMemory([pick([0x8a, 0x88])], other, base, displacement, false); // bytes
    case 7:
      return onMemory([pick([0x01, 0x29, 0x31, 0x87])], other, base, displacement, isWide); // add, sub, xor, xchg
    case 8:
      return onMemory([0x0f, pick([0x10, 0x11])], pick([0, 1, 9]), base, displacement, false); // movups
    case 9:
      return onMemory([0x0f, pick([0xb1, 0xc1, 0xab])], other, base, displacement, isWide); // cmpxchg, xadd, bts
    case 10:
      return [...(base >= 8 ? [0x41] : []), (r.below(2) === 0 ? 0x50 : 0x58) | (other & 7)]; // push, pop
    case 11:
      return onMemory([0x8d], base, base, displacement, r.below(8) !== 0); // lea base, [base + displacement]
    case 12:
      return [...onRegisters(0x83, pick([0, 5]), base), r.below(64)]; // add or sub base, imm8
    case 13:
      return onRegisters(0x89, pick(bases), base); // mov base, another
    case 14:
      return onMemory([0x8b], other, base, displacement, false, [0x66]);
    case 15:
      return onMemory([pick([0xdb, 0xdd])], pick([5, 7]), base, displacement, false); // fld, fstp of 80 bits; fnstsw
    default:
      return onMemory([0x0f, 0x40 + r.below(16)], base, base, displacement, true); // cmovcc base, [base]
  }
}

/** Narrow values, of which parts are changed and parts are read: what the translator knows of widths. */
function narrow(r: SeededRandom, registers: readonly number[]): number[] {
  const register = (): number => registers[r.below(registers.length)] ?? 0;
  const [a, b] = [register(), register()];
  const modrm = 0xc0 | (b << 3) | a;
  switch (r.below(6)) {
    case 0:
      return [0xb8 | a, r.below(256) >> r.below(8), 0, 0, 0]; // mov a, a small constant
    case 1:
      return [0x66, 0xb8 | a, r.below(256), r.below(256)]; // mov 16 bits of a
    case 2:
      return [0x40, 0x0f, [0xb6, 0xb7, 0xbe][r.below(3)] ?? 0, modrm]; // movzx, movsx b, a
    case 3:
      return [0x40, [0x88, 0x00, 0x38][r.below(3)] ?? 0, modrm]; // mov, add, cmp of bytes
    case 4:
      return r.below(2) === 0 ? [0xc1, 0xe8 | a, r.below(16)] : [0xd1, 0xe0 | a]; // shr a, n; shl a, 1
    default:
      return [0x66, 0x89, modrm]; // mov 16 bits
  }
}

export function memoryProgram(seed: number): { readonly code: Uint8Array; readonly before: CpuState } | undefined {
  const before = makeCase(seed)?.before;
  if (!before) return undefined;
  const r = new SeededRandom(BigInt(seed));
  for (const base of addresses) {
    const near = (pageEnds[r.below(3)] ?? 0) + r.below(256) - 128;
    before.gpr[base] = BigInt(windowAddress + (r.below(6) === 0 ? near : 512 + r.below(800) * 8));
  }
  const bases = Array.from({ length: 2 }, () => addresses[r.below(addresses.length)] ?? 3);
  const isNarrow = r.below(3) === 0;
  const registers = [others[r.below(4)] ?? 0, others[r.below(4)] ?? 0];
  const code: number[] = [];
  for (let n = 4 + r.below(longest - 4); n > 0; n--) {
    const next = isNarrow && r.below(5) > 0 ? narrow(r, registers) : instruction(r, bases);
    if (r.below(4) === 0) code.push(0x70 + r.below(16), next.length); // jcc around it
    code.push(...next);
  }
  if (r.below(3) === 0 && code.length < 110) code.push(0x70 + r.below(16), -(code.length + 2) & 0xff);
  if (code.length % 2 === 1) code.push(0x90);
  return { code: Uint8Array.from(code), before };
}
