/** Random loops that write into their own code: constants and opcodes of instructions before and behind the one that writes, and of that one itself. */
import { SeededRandom } from '../../src/base/random.ts';
import { type CpuState, makeCase } from './cases.ts';

const longest = 12;
const registers = [0, 2, 3, 5, 6, 7] as const;
/** ADD, OR, AND, SUB, XOR, CMP with an 8-bit constant: opcode 83 and these digits. */
const digits = [0, 1, 4, 5, 6, 7] as const;

interface Piece {
  readonly bytes: number[];
  /** Offsets of bytes that may be anything: constants. */
  readonly constants: readonly number[];
  /** Where the ModRM byte of an instruction of the group 83 is. */
  readonly modrm?: number;
}
const pick = <T>(r: SeededRandom, list: readonly T[]): T => list[r.below(list.length)] as T;

function plain(r: SeededRandom): Piece {
  const register = pick(r, registers);
  if (r.below(3) === 0) return { bytes: [0xb8 | register, r.below(256), r.below(256), 0, 0], constants: [1, 2, 3, 4] }; // mov r, imm32
  return { bytes: [0x48, 0x83, 0xc0 | (pick(r, digits) << 3) | register, r.below(256)], constants: [3], modrm: 2 };
}
/** mov or add byte [rip + displacement], imm8; mov dword [rip + displacement], imm32: the displacement is filled in. */
function writer(r: SeededRandom): Piece {
  const kind = r.below(3);
  if (kind === 2) return { bytes: [0xc7, 0x05, 0, 0, 0, 0, r.below(256), 0, 0, 0], constants: [6] };
  return { bytes: [kind === 0 ? 0xc6 : 0x80, 0x05, 0, 0, 0, 0, r.below(128)], constants: [6] };
}

export function patchingProgram(seed: number): { readonly code: Uint8Array; readonly before: CpuState } | undefined {
  const before = makeCase(seed)?.before;
  if (!before) return undefined;
  const r = new SeededRandom(BigInt(seed));
  before.gpr[1] = BigInt(3 + r.below(60));
  const pieces: Piece[] = Array.from({ length: 3 + r.below(longest - 3) }, () => (r.below(4) === 0 ? writer(r) : plain(r)));
  const starts: number[] = [];
  let length = 0;
  for (const piece of pieces) {
    starts.push(length);
    length += piece.bytes.length;
  }
  pieces.forEach((piece, n) => {
    if (piece.bytes[1] !== 0x05) return;
    const wide = piece.bytes[0] === 0xc7;
    // four bytes at once only where all of them are a constant
    const targets = pieces.map((p, at) => ({ p, at })).filter(({ p }) => !wide || p.constants.length === 4);
    const target = targets.length > 0 ? pick(r, targets) : undefined;
    if (!target) {
      piece.bytes.fill(0x90);
      return;
    }
    let within = wide ? 1 : pick(r, target.p.constants);
    if (!wide && piece.bytes[0] === 0xc6 && target.p.modrm !== undefined && r.below(3) === 0) {
      within = target.p.modrm; // another instruction of the group
      piece.bytes[6] = 0xc0 | (pick(r, digits) << 3) | pick(r, registers);
    }
    const displacement = (starts[target.at] ?? 0) + within - ((starts[n] ?? 0) + piece.bytes.length);
    for (let byte = 0; byte < 4; byte++) piece.bytes[2 + byte] = (displacement >> (8 * byte)) & 0xff;
  });
  const body = pieces.flatMap((p) => p.bytes);
  const code = [...body, 0x48, 0xff, 0xc9, 0x75, -(body.length + 5) & 0xff]; // dec rcx; jnz
  if (body.length + 5 > 127) return undefined;
  if (code.length % 2 === 1) code.push(0x90);
  return { code: Uint8Array.from(code), before };
}
