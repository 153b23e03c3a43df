/**
 * Random instructions with random state, made from the instruction tables by a seed: the same seed gives the same case, so a recording holds
 * only what a real processor made of it. User mode, 64-bit or 32-bit code; memory operands point into a window of two pages.
 */
import { SeededRandom } from '../../src/base/random.ts';
import { parseCpu } from '../../src/cpu/cpuid.ts';
import { type Decoded, Decoder } from '../../src/isa/decode.ts';
import { instructionTable } from '../../src/isa/families/index.ts';
import type { Instruction } from '../../src/isa/instruction.ts';

export const codeAddress = 0x1000_0100;
export const windowAddress = 0x2000_0000;
export const windowBytes = 8192;
/** The part of the window with random contents, across the page boundary. */
export const liveStart = 4096 - 256;
export const liveBytes = 512;

export interface CpuState {
  readonly gpr: bigint[];
  flags: number;
  mxcsr: number;
  control: number;
  status: number;
  /** One bit per physical register: 1 valid (as FXSAVE keeps it). */
  tags: number;
  /** ST(0) to ST(7), 80 bits. */
  readonly st: bigint[];
  readonly xmm: bigint[];
  readonly memory: Uint8Array;
}

export type Mode = 64 | 32;

export interface Case {
  readonly mode: Mode;
  readonly seed: number;
  readonly row: Instruction;
  readonly code: Uint8Array;
  readonly decoded: Decoded;
  readonly before: CpuState;
}

/** Rows that need privilege, touch the system or answer differently each time. */
const excluded =
  /^(hlt|in|out|insb?|outsb?|int|int1|int3|iret|into|syscall|sysret|sysenter|sysexit|cli|sti|lgdt|lidt|sgdt|sidt|lldt|ltr|sldt|str|smsw|lmsw|invlpg|clts|invd|wbinvd|wrmsr|rdmsr|rdtsc|rdtscp|rdpmc|cpuid|rsm|xgetbv|xsetbv|clac|stac|monitor|mwait|swapgs|serialize|verr|verw|lar|lsl|rdfsbase|rdgsbase|wrfsbase|wrgsbase|rdrand|rdseed|rdpid|invpcid|xsave.*|xrstor.*|fxsave|fxrstor|jmp far|call far|retf|lss|lfs|lgs|clflush.*|clwb|fwait|push|pop|into|les|lds|ud\d|enter|prefetchw|pushf|popf)$/;
export const testable = (row: Instruction, mode: Mode): boolean => {
  if (row.long === (mode === 64 ? 'never' : 'only')) return false;
  if (row.name === 'mov' && row.operands.some((o) => o === 'Cr' || o === 'Dr' || o === 'Sw')) return false;
  if (row.operands.some((o) => o[0] === 'O')) return false;
  if (row.name === 'push') return row.operands.length > 0 || mode === 32;
  if (row.name === 'pop') return row.operands.length > 0; // segment registers take few values
  return row.feature !== 'vmx' && row.feature !== 'svm' && !excluded.test(row.name);
};
const rowsByMode = {
  64: instructionTable.filter((row) => testable(row, 64)),
  32: instructionTable.filter((row) => testable(row, 32)),
} as const;
export const rowCount = (mode: Mode): number => rowsByMode[mode].length;

const decoder = new Decoder(parseCpu('max').instructions);
const interestingIntegers = [
  0n,
  1n,
  2n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x7fff_ffff_ffff_ffffn,
  0x8000_0000_0000_0000n,
  0xffff_ffff_ffff_ffffn,
];
const doubles = [
  0n,
  0x8000_0000_0000_0000n,
  0x3ff0_0000_0000_0000n,
  0xbff8_0000_0000_0000n,
  0x7ff0_0000_0000_0000n,
  0xfff0_0000_0000_0000n,
  0x7ff8_0000_0000_1234n,
  0x7ff0_0000_0000_0001n,
  0x000f_ffff_ffff_ffffn,
  0x0010_0000_0000_0000n,
  0x7fef_ffff_ffff_ffffn,
  0x41df_ffff_ffc0_0000n,
  0x43e0_0000_0000_0000n,
  1n,
  0x4008_0000_0000_0000n,
];
const singles = [
  0n,
  0x8000_0000n,
  0x3f80_0000n,
  0xbfc0_0000n,
  0x7f80_0000n,
  0xff80_0000n,
  0x7fc0_1234n,
  0x7f80_0001n,
  0x007f_ffffn,
  0x0080_0000n,
  0x7f7f_ffffn,
  0x4f00_0000n,
  1n,
  0x4040_0000n,
];
const extendeds = [
  0n,
  1n << 79n,
  0x3fff_8000_0000_0000_0000n,
  0xbfff_c000_0000_0000_0000n,
  0x7fff_8000_0000_0000_0000n,
  0xffff_8000_0000_0000_0000n,
  0x7fff_c000_0000_0000_1234n,
  0x7fff_a000_0000_0000_0000n,
  1n,
  0x0001_8000_0000_0000_0000n,
  0x7ffe_ffff_ffff_ffff_ffffn,
  0x403e_8000_0000_0000_0000n,
  0x4000_c000_0000_0000_0000n,
  0x3ffe_aaaa_aaaa_aaaa_aaabn,
];

const pick = <T>(r: SeededRandom, list: readonly T[]): T => list[r.below(list.length)] as T;
const integer = (r: SeededRandom): bigint =>
  r.below(3) === 0 ? pick(r, interestingIntegers) : r.below(2) === 0 ? r.next64() : r.next64() >> BigInt(r.below(64));
/** Numbers of ordinary size, so that operations do not only meet extremes. */
function double(r: SeededRandom): bigint {
  if (r.below(4) === 0) return pick(r, doubles);
  return (r.next64() & 0x800f_ffff_ffff_ffffn) | (BigInt(1023 - 40 + r.below(80)) << 52n);
}
function single(r: SeededRandom): bigint {
  if (r.below(4) === 0) return pick(r, singles);
  return (r.next64() & 0x807f_ffffn) | (BigInt(127 - 30 + r.below(60)) << 23n);
}
function extended(r: SeededRandom): bigint {
  if (r.below(3) === 0) return pick(r, extendeds);
  return (BigInt(r.below(2)) << 79n) | (BigInt(16383 - 40 + r.below(80)) << 64n) | r.next64() | (1n << 63n);
}
/** A vector as the instruction at hand is likely to read it. */
function vector(r: SeededRandom): bigint {
  switch (r.below(4)) {
    case 0:
      return double(r) | (double(r) << 64n);
    case 1:
      return single(r) | (single(r) << 32n) | (single(r) << 64n) | (single(r) << 96n);
    case 2:
      return integer(r) | (integer(r) << 64n);
    default:
      return r.next64() | (r.next64() << 64n);
  }
}

function makeState(r: SeededRandom): CpuState {
  const memory = new Uint8Array(windowBytes);
  const view = new DataView(memory.buffer);
  for (let at = 0; at < liveBytes; at += 16) {
    const v = vector(r);
    view.setBigUint64(liveStart + at, v & 0xffff_ffff_ffff_ffffn, true);
    view.setBigUint64(liveStart + at + 8, v >> 64n, true);
  }
  const top = r.below(8);
  return {
    gpr: Array.from({ length: 16 }, () => integer(r)),
    flags: 0x202 | (r.below(0x1000) & 0x8d5),
    mxcsr:
      0x1f80 |
      (r.below(4) << 13) |
      (r.below(8) === 0 ? r.below(0x10000) & 0x8040 : 0) |
      (r.below(3) === 0 ? r.below(64) : r.below(2) * 0x20),
    control: 0x37f | (r.below(4) << 10),
    status: top << 11,
    tags: r.below(3) === 0 ? r.below(256) : 0xff,
    st: Array.from({ length: 8 }, () => extended(r)),
    xmm: Array.from({ length: 16 }, () => vector(r)),
    memory,
  };
}

/** Bytes of one encoding of the row; undefined when the choice made no sense (the caller tries again). */
function encode(row: Instruction, r: SeededRandom, mode: Mode): Uint8Array | undefined {
  const bytes: number[] = [];
  const vectorish = row.operands.some((o) => /^[VWUPQN]/.test(o));
  // near branches with 66 differ between Intel and AMD
  if (row.prefix === undefined && !vectorish && row.long !== 'forced' && r.below(4) === 0) bytes.push(0x66);
  if (row.prefix === 0xf2 || row.prefix === 0xf3) {
    if (!row.vex && row.operands.includes('Ev') && r.below(4) === 0) bytes.push(0x66);
    if (!row.vex) bytes.push(row.prefix);
  } else if (row.prefix === 0x66 && !row.vex) bytes.push(0x66);
  if (row.string && row.prefix === undefined && r.below(2) === 0) bytes.push(pick(r, [0xf2, 0xf3]));
  let rex = r.below(2) === 0 ? r.below(8) : 0;
  if (row.w === 1 || (row.w === undefined && r.below(3) === 0)) rex |= 8;
  if (mode === 32) rex = 0;
  const map = row.opcode >= 0x0f3a00 ? 3 : row.opcode >= 0x0f3800 ? 2 : row.opcode >= 0x0f00 ? 1 : 0;
  const opcode = row.opcode & 0xff;
  if (row.vex) {
    const pp = [0, 0x66, 0xf3, 0xf2].indexOf(row.prefix ?? 0);
    bytes.push(0xc4, ((~(rex & 7) << 5) & 0xe0) | map, (rex & 8 ? 0x80 : 0) | (r.below(mode === 64 ? 16 : 8) << 3) | pp, opcode);
  } else {
    if (mode === 64 && (rex !== 0 || r.below(4) === 0)) bytes.push(0x40 | rex);
    if (map > 0) bytes.push(0x0f);
    if (map > 1) bytes.push(map === 2 ? 0x38 : 0x3a);
    bytes.push(opcode);
  }
  const hasModrm = row.digit !== undefined || row.mod !== undefined || row.operands.some((o) => /^[EGMRVWUPQNB]/.test(o));
  if (hasModrm) {
    const register =
      row.mod === 'register' ||
      (row.mod !== 'memory' && !row.operands.some((o) => o[0] === 'M') && r.below(2) === 0) ||
      row.operands.some((o) => /^[RUN]/.test(o));
    const reg = row.digit ?? r.below(8);
    if (register) bytes.push(0xc0 | (reg << 3) | (row.rm ?? r.below(8)));
    else {
      const mod = r.below(3);
      const rm = r.below(8);
      bytes.push((mod << 6) | (reg << 3) | rm);
      if (rm === 4) bytes.push(r.below(256));
      for (let n = 0; n < 4; n++) bytes.push(mod === 1 && n === 0 ? r.below(256) : 0);
      if (mod === 2) bytes[bytes.length - 4] = r.below(256);
    }
  }
  for (let n = 0; n < 8; n++) bytes.push(r.below(4) === 0 ? pick(r, [0, 1, 0x7f, 0x80, 0xff]) : r.below(256));
  return Uint8Array.from(bytes.slice(0, 15));
}

/** The instruction of a seed. */
export function rowOf(seed: number, mode: Mode = 64): Instruction | undefined {
  const rows = rowsByMode[mode];
  return rows[seed % rows.length];
}

/** The case of a seed; undefined when its choices made no sense. */
export function makeCase(seed: number, mode: Mode = 64): Case | undefined {
  const row = rowOf(seed, mode);
  if (!row) return undefined;
  const r = new SeededRandom(BigInt(seed));
  for (let attempt = 0; attempt < 20; attempt++) {
    const bytes = encode(row, r, mode);
    if (!bytes) continue;
    const decoded = decoder.decode(bytes, 0, bytes.length, mode);
    if (typeof decoded === 'string' || decoded.row !== row) continue;
    const before = makeState(r);
    if (mode === 32) for (let n = 0; n < 16; n++) before.gpr[n] = n < 8 ? (before.gpr[n] ?? 0n) & 0xffff_ffffn : 0n;
    const code = bytes.slice(0, decoded.length);
    if (row.name.startsWith('j') || row.name.startsWith('loop') || row.name === 'call' || row.name === 'ret') {
      if (!aimJump(row, decoded, code, before, r)) continue;
    }
    if (aimMemory(decoded, before, r) && usable(decoded, before)) return { mode, seed, row, code, decoded, before };
  }
  return undefined;
}

/** Points a memory operand, the stack and string registers into the window; false when the registers conflict. */
function aimMemory(d: Decoded, s: CpuState, r: SeededRandom): boolean {
  const bytes = Math.max(16, ...d.operands.map((o) => o.size / 8));
  const target = (): bigint =>
    BigInt(windowAddress + liveStart + (r.below(8) === 0 ? 250 : 64 + r.below(24) * 16 + (r.below(3) === 0 ? r.below(16) : 0)));
  const usesStack = ['push', 'pop', 'pusha', 'popa', 'call', 'ret', 'leave'].includes(d.row.name);
  if (usesStack) s.gpr[4] = BigInt(windowAddress + liveStart + 128 + r.below(16) * 8);
  if (d.row.name === 'leave') s.gpr[5] = BigInt(windowAddress + liveStart + 128 + r.below(16) * 8);
  if (d.row.string || d.row.name === 'xlat') {
    s.gpr[6] = target();
    s.gpr[7] = target();
    s.gpr[3] = BigInt(windowAddress + liveStart);
    s.gpr[1] = BigInt(r.below(6));
    if (r.below(3) === 0) s.flags |= 0x400;
    if (d.form.addressSize !== (d.form.long ? 64 : 32)) return false;
  }
  const { memory } = d;
  if (!memory) return true;
  if (memory.segment >= 4 || d.form.addressSize === 16) return false;
  if (memory.base === 16 || (memory.base < 0 && memory.index < 0)) return d.row.name === 'lea' || d.row.name === 'nop';
  const wanted = target();
  const mask = d.form.addressSize === 32 ? 0xffff_ffffn : 0xffff_ffff_ffff_ffffn;
  if (memory.index >= 0 && memory.index !== memory.base) s.gpr[memory.index] = BigInt(r.below(64));
  if (memory.base === memory.index || memory.base < 0) {
    const factor = memory.base < 0 ? 1n << BigInt(memory.scale) : 1n + (1n << BigInt(memory.scale));
    const value = (wanted - memory.displacement) / factor;
    if (value < 0n) return false;
    s.gpr[memory.index] = value & mask;
  } else
    s.gpr[memory.base] =
      (wanted - memory.displacement - ((memory.index >= 0 ? (s.gpr[memory.index] ?? 0n) : 0n) << BigInt(memory.scale))) & mask;
  const register = (n: number): bigint => (n >= 0 ? (s.gpr[n] ?? 0n) : 0n);
  let address = (register(memory.base) + (register(memory.index) << BigInt(memory.scale)) + memory.displacement) & mask;
  // a register bit index reaches up to half a gigabyte away: keep it near
  if (d.row.name.startsWith('bt') && d.operands[1]?.kind === 'register') {
    const n = d.operands[1].number;
    if (n === memory.base || n === memory.index) return false;
    s.gpr[n] = BigInt.asUintN(d.form.long ? 64 : 32, BigInt(r.below(1024) - 512));
    if (address < BigInt(windowAddress + 1024) || address > BigInt(windowAddress + windowBytes - 1024)) address = 0n;
  }
  return (
    d.row.name === 'lea' ||
    d.row.name === 'nop' ||
    (address >= BigInt(windowAddress + liveStart - 64) && address + BigInt(bytes) <= BigInt(windowAddress + liveStart + liveBytes + 64))
  );
}

/** Jump targets stay in the code page, which is full of INT3. */
function aimJump(row: Instruction, d: Decoded, code: Uint8Array, s: CpuState, r: SeededRandom): boolean {
  const target = codeAddress + 32 + r.below(64);
  const kind = row.operands[0];
  if (kind === 'Jb') code[d.length - 1] = 16 + r.below(64);
  else if (kind === 'Jz') {
    if (d.length < 5 || d.form.size === 16) return false;
    new DataView(code.buffer, code.byteOffset).setInt32(d.length - 4, 16 + r.below(64), true);
  } else if (row.name === 'ret') return stackHolds(s, target);
  else if (d.operands[0]?.kind === 'register') s.gpr[d.operands[0].number] = BigInt(target);
  else {
    const view = new DataView(s.memory.buffer);
    for (let at = liveStart; at < liveStart + liveBytes; at += 8) view.setBigUint64(at, BigInt(target), true);
    return d.memory !== undefined;
  }
  return true;
}
function stackHolds(s: CpuState, target: number): boolean {
  const view = new DataView(s.memory.buffer);
  for (let at = liveStart; at < liveStart + liveBytes; at += 8) view.setBigUint64(at, BigInt(target), true);
  return true;
}

/** Results that the manuals leave undefined are not cases. */
function usable(d: Decoded, s: CpuState): boolean {
  const { name } = d.row;
  if ((name === 'shld' || name === 'shrd') && d.form.size === 16) {
    const count = d.operands[2]?.kind === 'immediate' ? Number(d.immediates[0] ?? 0n) & 31 : Number((s.gpr[1] ?? 0n) & 31n);
    if (count > 16) return false;
  }
  if (name === 'bswap' && d.form.size === 16) return false;
  if (name === 'x87 d9' && (d.form.immediate & 0xf8) === 0xd8) return false; // an undocumented alias
  if ((name === 'jmp' || name === 'call') && !aimed(d, s)) return false;
  if (name === 'cvtpi2ps' && d.memory) return false; // AMD leaves the x87 alone
  if (name === 'ldmxcsr') return false; // AMD has one more bit, and random bits are rarely legal
  // FNSTENV and FNSAVE: what is kept of instruction and operand pointers differs
  if ((name === 'x87 d9' || name === 'x87 dd') && d.memory && d.form.immediate >> 3 === 6) return false;
  return true;
}

/** Whether an indirect branch finds the target that was prepared for it. */
function aimed(d: Decoded, s: CpuState): boolean {
  const { memory, operands } = d;
  if (operands[0]?.kind === 'register') return operands[0].number !== 4;
  if (!memory) return true;
  const register = (n: number): bigint => (n >= 0 ? (s.gpr[n] ?? 0n) : 0n);
  return memory.base !== 4 && (register(memory.base) + (register(memory.index) << BigInt(memory.scale)) + memory.displacement) % 8n === 0n;
}
