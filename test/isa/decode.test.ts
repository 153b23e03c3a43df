/** The decoder against iced-x86 on random bytes: length and operands. */
import { DecoderOptions, Decoder as IcedDecoder, type Instruction, Mnemonic, OpKind, Register } from 'iced-x86';
import { expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { parseCpu } from '../../src/cpu/cpuid.ts';
import { type CodeSize, type Decoded, type DecodedOperand, Decoder } from '../../src/isa/decode.ts';

const model = parseCpu('max');
const ours = new Decoder(model.instructions);

const names8 = ['AL', 'CL', 'DL', 'BL', 'SPL', 'BPL', 'SIL', 'DIL'];
const names16 = ['AX', 'CX', 'DX', 'BX', 'SP', 'BP', 'SI', 'DI'];
/** iced's name of a general register. */
function general(size: number, n: number): string {
  if (size === 8) return names8[n] ?? `R${n}L`;
  const name = names16[n];
  if (size === 16) return name ?? `R${n}W`;
  if (size === 32) return name ? `E${name}` : `R${n}D`;
  return name ? `R${name}` : `R${n}`;
}
function nameOf(o: DecodedOperand): string | undefined {
  switch (o.kind) {
    case 'register':
      return general(o.size, o.number);
    case 'high':
      return ['AH', 'CH', 'DH', 'BH'][o.number];
    case 'xmm':
      return `XMM${o.number}`;
    case 'mmx':
      return `MM${o.number}`;
    case 'segment':
      return ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'][o.number];
    case 'control':
      return `CR${o.number}`;
    case 'debug':
      return `DR${o.number}`;
    default:
      return undefined;
  }
}
const registerNames = new Map<number, string>(
  Object.entries(Register).flatMap(([name, value]) => (typeof value === 'number' ? [[value, name] as const] : [])),
);
const icedName = (register: number): string => registerNames.get(register) ?? '?';

/** Base, index, scale and displacement of a memory operand; RIP-relative ones and absolute ones are compared by their kind only. */
function memoryDiffers(mine: Decoded, theirs: Instruction): string | undefined {
  const { memory, form } = mine;
  if (!memory) return 'no memory operand, iced has one';
  const register = (n: number): string =>
    n < 0 ? 'None' : n === 16 ? (form.addressSize === 64 ? 'RIP' : 'EIP') : general(form.addressSize, n);
  const [base, index] = [icedName(theirs.memoryBase), icedName(theirs.memoryIndex)];
  if (register(memory.base) !== base) return `base ${register(memory.base)}, iced ${base}`;
  if (register(memory.index) !== index) return `index ${register(memory.index)}, iced ${index}`;
  if (memory.index >= 0 && 1 << memory.scale !== theirs.memoryIndexScale)
    return `scale ${1 << memory.scale}, iced ${theirs.memoryIndexScale}`;
  if (memory.base === 16) return undefined;
  const displacement = BigInt.asUintN(form.addressSize, memory.displacement);
  return displacement === BigInt.asUintN(form.addressSize, theirs.memoryDisplacement)
    ? undefined
    : `displacement ${displacement}, iced ${theirs.memoryDisplacement}`;
}

/** Instructions that use the low part of a register: iced names the whole one. */
const lowPart = /^(lar|lsl|verr|verw|lldt|ltr|lmsw|arpl|pinsrw|pinsrb|mov)$/;
const sameRegister = (mine: Decoded, o: DecodedOperand, name: string): boolean =>
  nameOf(o) === name ||
  (lowPart.test(mine.row.name) && o.kind === 'register' && [16, 32, 64].some((size) => general(size, o.number) === name));

/** Compares operands where both list the same number of them; implicit ones are iced's alone. */
function operandsDiffer(mine: Decoded, theirs: Instruction): string | undefined {
  if (mine.operands.length !== theirs.opCount || mine.row.name.startsWith('x87')) return undefined;
  for (const [n, o] of mine.operands.entries()) {
    const kind = theirs.opKind(n);
    const name = icedName(theirs.opRegister(n));
    if (kind === OpKind.Register && nameOf(o) !== undefined && !sameRegister(mine, o, name))
      return `operand ${n} is ${nameOf(o)}, iced ${name}`;
    if (kind === OpKind.Memory) {
      const problem = memoryDiffers(mine, theirs);
      if (problem) return problem;
    }
    if (o.kind === 'immediate' && kind >= OpKind.Immediate8 && kind <= OpKind.Immediate32to64) {
      const width = BigInt.asUintN(Math.min(64, o.size), mine.immediates[o.number] ?? 0n);
      if (width !== BigInt.asUintN(Math.min(64, o.size), theirs.immediate(n))) return `immediate ${width}, iced ${theirs.immediate(n)}`;
    }
  }
  return undefined;
}

function compare(bytes: Uint8Array, code: CodeSize): string | undefined {
  const iced = new IcedDecoder(code, bytes, DecoderOptions.None);
  const theirs = iced.decode();
  const mine = ours.decode(bytes, 0, bytes.length, code);
  try {
    if (typeof mine === 'string') return undefined; // rows we lack are #UD; the coverage table counts them
    if (theirs.mnemonic === Mnemonic.INVALID) return `we decode ${mine.row.name}, iced nothing`;
    if (mine.length !== theirs.length) return `${mine.row.name}: length ${mine.length}, iced ${theirs.length}`;
    const problem = operandsDiffer(mine, theirs);
    return problem && `${mine.row.name}: ${problem}`;
  } finally {
    theirs.free();
    iced.free();
  }
}

/** Encodings that are accepted here and not by iced: its table says why. */
const accepted: readonly RegExp[] = [/^x87/, /^prefetchw/, /^nop/, /^mov: /];

for (const code of [64, 32, 16] as const) {
  test(`${code}-bit code: 60,000 random byte strings have iced's length and operands`, { timeout: 60_000 }, () => {
    const random = new SeededRandom(BigInt(code));
    const wrong: string[] = [];
    for (let n = 0; n < 60_000; n++) {
      const bytes = random.bytes(15);
      if (random.below(2) === 0) bytes[0] = [0x0f, 0x66, 0xf2, 0xf3, 0x48, 0x41, 0x67, 0x64][random.below(8)] ?? 0;
      if (random.below(3) === 0) bytes[1] = 0x0f;
      const problem = compare(bytes, code);
      if (problem && !accepted.some((a) => a.test(problem.replace(/^we decode /, ''))))
        wrong.push(`${Buffer.from(bytes).toString('hex')} ${problem}`);
    }
    expect([...new Set(wrong.map((w) => w.slice(31)))].slice(0, 20).map((kind) => wrong.find((w) => w.endsWith(kind)))).toEqual([]);
  });
}
