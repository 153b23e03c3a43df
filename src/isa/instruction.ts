/** A row of the instruction tables: how an instruction is written in the manual's opcode map, and what it means. */
import type { Meaning } from './ops.ts';

/**
 * Operand notation of the opcode maps (SDM 2, appendix A.2): E r/m, G reg, I immediate, M memory only, R register only (r/m), J relative,
 * O moffs, Z register in the opcode, S segment, C control, D debug, A far pointer; V xmm reg, W xmm or memory, U xmm register (r/m);
 * P mmx reg, Q mmx or memory, N mmx register (r/m). Sizes: b w d q v (16/32/64) z (16/32) y (32/64) x (128), r and o (64 in 64-bit mode, else 32),
 * s (sign-extended byte), t (80). Fixed registers and constants by name.
 */
export type Notation =
  | `${'E' | 'G' | 'M' | 'R' | 'Z'}${'b' | 'w' | 'd' | 'q' | 'v' | 'z' | 'y' | 'o' | 'r'}`
  | `M${'x' | 't' | 'n'}`
  | 'By'
  | `I${'b' | 'w' | 'z' | 'v' | 's'}`
  | `J${'b' | 'z'}`
  | `O${'b' | 'v'}`
  | 'Sw'
  | 'Cr'
  | 'Dr'
  | 'Ap'
  | `V${'x' | 'q' | 'd' | 'y'}`
  | `W${'b' | 'w' | 'd' | 'q' | 'x'}`
  | `U${'x' | 'q' | 'd'}`
  | `P${'q' | 'y'}`
  | `Q${'q' | 'd'}`
  | 'Nq'
  | 'AL'
  | 'rAX'
  | 'CL'
  | 'DX'
  | '1';

export interface Instruction {
  readonly name: string;
  /** One-byte opcodes as they are; 0x0f00 + byte, 0x0f3800 + byte and 0x0f3a00 + byte for the other maps. */
  readonly opcode: number;
  /** Mandatory prefix of an 0F opcode: 0 means none of 66, F3, F2; undefined means that they keep their general meaning. */
  readonly prefix: 0 | 0x66 | 0xf3 | 0xf2 | undefined;
  /** ModRM.reg selects the row. */
  readonly digit: number | undefined;
  /** ModRM.mod is 3 ('register') or not ('memory'). */
  readonly mod: 'register' | 'memory' | undefined;
  /** ModRM.rm selects the row (with mod 3). */
  readonly rm: number | undefined;
  readonly operands: readonly Notation[];
  readonly meaning: Meaning;
  /** 64-bit mode: 'default' operand size 64 (stack), 'forced' 64 whatever the prefixes (near branches), 'only' or 'never' valid there. */
  readonly long: 'default' | 'forced' | 'only' | 'never' | undefined;
  /** Operand size fixed, whatever the prefixes. */
  readonly size: 8 | 16 | 32 | 64 | undefined;
  readonly lock: boolean;
  /** Port I/O: a 64-bit operand size means 32. */
  readonly io: boolean;
  /** A string instruction: F2 and F3 mean REP. */
  readonly string: boolean;
  /** Needs REX.W (1) or its absence (0). */
  readonly w: 0 | 1 | undefined;
  /** The immediate byte is part of the instruction's shape: `Form.immediate` has it. */
  readonly immediateInShape: boolean;
  /** Likewise the ModRM byte (only its middle bits for memory operands). */
  readonly modrmInShape: boolean;
  /** VEX-encoded; operand B is VEX.vvvv. */
  readonly vex: boolean;
  /** Without its feature the encoding means the row without the prefix (TZCNT is BSF), rather than #UD. */
  readonly fallback: boolean;
  /** CPUID feature without which the opcode is #UD. */
  readonly feature: Feature | undefined;
  /** Ends a run of decoded records: control does not fall through to the next one, or the mode may have changed. */
  readonly ends: boolean;
}

export type Feature =
  | 'sse' | 'sse2' | 'sse3' | 'ssse3' | 'sse4_1' | 'sse4_2' | 'popcnt' | 'lzcnt' | 'bmi1' | 'bmi2' | 'movbe' | 'adx' | 'aes' | 'pclmulqdq'
  | 'rdrand' | 'rdseed' | 'rdtscp' | 'rdpid' | 'fsgsbase' | 'invpcid' | 'xsave' | 'xsaveopt' | 'xsavec' | 'xsaves' | 'clflushopt' | 'clwb' | 'serialize' | 'cx16'
  | 'smap' | 'mmx' | 'x87' | 'fxsr' | 'prefetchw' | 'vmx' | 'svm';

const vectorFeatures: readonly (Feature | undefined)[] = ['sse', 'sse2', 'sse3', 'ssse3', 'sse4_1', 'aes', 'pclmulqdq'];
/** Whether CR0.EM, CR0.TS and CR4.OSFXSR matter to an instruction, and in which way: as x87, or as a vector instruction. */
export function needsFloat(row: Instruction): 'x87' | 'vector' | undefined {
  if (row.feature === 'x87' || row.feature === 'fxsr') return 'x87';
  const general = row.name === 'crc32';
  return !general && (vectorFeatures.includes(row.feature) || row.feature === 'sse4_2' || row.feature === 'mmx') ? 'vector' : undefined;
}
