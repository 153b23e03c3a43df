/** The decoder against iced-x86 on random bytes: length, and what the operands are. */
import { Code, DecoderOptions, Decoder as IcedDecoder, Mnemonic, OpKind } from 'iced-x86';
import { expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { parseCpu } from '../../src/cpu/cpuid.ts';
import { type CodeSize, Decoder } from '../../src/isa/decode.ts';

const model = parseCpu('max');
const ours = new Decoder(model.instructions);

/** Kinds of encodings that `max` does not offer, or where processors and iced's options differ: not compared. */
function outside(bytes: Uint8Array, mnemonic: number): boolean {
  return mnemonic === Mnemonic.INVALID || bytes.length === 0;
}

function compare(bytes: Uint8Array, code: CodeSize): string | undefined {
  const iced = new IcedDecoder(code, bytes, DecoderOptions.None);
  const theirs = iced.decode();
  const mine = ours.decode(bytes, 0, bytes.length, code);
  try {
    if (typeof mine === 'string') return undefined; // rows we lack are #UD; the coverage table counts them
    if (outside(bytes, theirs.mnemonic)) return theirs.code === Code.INVALID ? `we decode ${mine.row.name}, iced nothing` : undefined;
    if (mine.length !== theirs.length) return `${mine.row.name}: length ${mine.length}, iced ${theirs.length}`;
    const memory = Array.from({ length: theirs.opCount }, (_, n) => theirs.opKind(n)).includes(OpKind.Memory);
    if (mine.memory && memory && theirs.memoryBase === 0 && mine.memory.base >= 0 && mine.memory.base !== 16)
      return `${mine.row.name}: a base register, iced none`;
    return undefined;
  } finally {
    theirs.free();
    iced.free();
  }
}

/** Encodings that are accepted here and not by iced: its table says why. */
const accepted: readonly RegExp[] = [/^x87/, /^prefetchw/, /^nop/, /^mov: /];

for (const code of [64, 32, 16] as const) {
  test(`${code}-bit code: 60,000 random byte strings have iced's length`, { timeout: 60_000 }, () => {
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
