/** A record copied from a template is the record that the decoder would have given. */
import { expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { parseCpu } from '../../src/cpu/cpuid.ts';
import type { Processor } from '../../src/cpu/processor.ts';
import type { CodePages } from '../../src/engine/interpreter/code-pages.ts';
import { commonCode } from '../../src/engine/interpreter/common-code.ts';
import { isConditional, isRelative, shapeKey } from '../../src/engine/interpreter/handler.ts';
import type { Handlers } from '../../src/engine/interpreter/handlers.ts';
import { recordBytes } from '../../src/engine/interpreter/record.ts';
import { RecordWriter } from '../../src/engine/interpreter/record-writer.ts';
import { type Decoded, Decoder } from '../../src/isa/decode.ts';

const model = parseCpu('max');
const decoder = new Decoder(model.instructions);
const arena = 4096;

/** A writer whose handlers are numbers of shapes, and which counts what it had decoded. */
function makeWriter(bytes: Uint8Array<ArrayBuffer>) {
  const counts = { decoded: 0 };
  const keys = new Map<string, number>();
  const number = (key: string): number => {
    if (!keys.has(key)) keys.set(key, keys.size);
    return keys.get(key) ?? 0;
  };
  const pool = { bytes, view: new DataView(bytes.buffer), words: new Int32Array(bytes.buffer) };
  const p = { v: { pool, codeSize: 64, model } } as unknown as Processor;
  const pages = { room: () => arena, allocate: () => arena } as unknown as CodePages;
  const handlers = { of: (d: Decoded) => number(shapeKey(d)), failure: number } as unknown as Handlers;
  const counting = {
    opcodes: decoder.opcodes,
    decode: (...args: Parameters<Decoder['decode']>) => {
      counts.decoded++;
      return decoder.decode(...args);
    },
  } as unknown as Decoder;
  return { writer: new RecordWriter(p, pages, handlers, counting), counts };
}

test('60,000 instructions at random places of a page, and each again with other constants', () => {
  const bytes = new Uint8Array(8192);
  const { writer, counts } = makeWriter(bytes);
  const random = new SeededRandom(29n);
  const known = commonCode.flatMap((code) => code.split(' ')).map((hex) => [...Buffer.from(hex, 'hex')]);
  const prefixes = [0x0f, 0x0f, 0x66, 0x67, 0xf2, 0xf3, 0x48, 0x41, 0x64, 0x65, 0x2e, 0xf0, 0x3e];
  const chance = (): number => random.below(256);
  const record = (): number[] => [...bytes.subarray(arena, arena + recordBytes)];
  let copied = 0;
  for (let n = 0; n < 60_000; n++) {
    const [behind, offset] = [random.below(16), random.below(4096 - 16)];
    const code =
      n % 2 === 0
        ? (known[random.below(known.length)] ?? [])
        : Array.from({ length: 15 }, (_, at) =>
            at < 2 && random.below(2) === 0 ? (prefixes[random.below(prefixes.length)] ?? 0) : chance(),
          );
    for (let round = 0; round < 2; round++) {
      for (let at = 0; at < 16; at++) bytes[offset + at] = round === 0 || at < behind ? (code[at] ?? chance()) : chance();
      const expected = decoder.decode(bytes, offset, 4096, 64);
      if (expected === 'short') break;
      const before = counts.decoded;
      const written = writer.next(offset, 4096, offset, 2);
      const got = record();
      if (counts.decoded === before) copied++;
      writer.write(expected, offset);
      expect(got, Buffer.from(bytes.subarray(offset, offset + 15)).toString('hex')).toEqual(record());
      if (typeof expected === 'string') expect(written).toMatchObject({ ends: true, target: -1 });
      else {
        const target = isRelative(expected) ? offset + expected.length + Number(expected.immediates[0]) : -1;
        const inPage = target >= 0 && target < 4096;
        expect(written).toMatchObject({ length: expected.length, ends: expected.row.ends === true, target: inPage ? target : -1 });
        if (isConditional(expected)) expect(written?.ends).toBe(false);
      }
    }
  }
  expect(copied).toBeGreaterThan(50_000);
});

test('operands far behind the instruction, the last of two prefixes, ModRM that names no memory, absolute addresses', () => {
  const bytes = new Uint8Array(8192);
  const { writer } = makeWriter(bytes);
  const record = (): string => Buffer.from(bytes.subarray(arena, arena + recordBytes)).toString('hex');
  for (const codes of [
    ['8b0500000000', '8b05ffffff7f'],
    ['f2f30f10c0', 'f3f20f10c0'],
    ['64658b00', '65648b00'],
    ['0f2040', '0f2040'], // a control register, whose ModRM looks like memory
    ['48a11122334455667788', '48a1ffffffffffffffff', '67a111223344'],
  ])
    for (const code of codes) {
      bytes.set(Buffer.from(code, 'hex'), 64);
      writer.next(64, 4096, 64, 2);
      const got = record();
      const decoded = decoder.decode(bytes, 64, 4096, 64);
      writer.write(decoded, 64);
      expect(got).toBe(record());
    }
});

test('an instruction that the end of the page cuts, too many prefixes, and handlers that are others now', () => {
  const bytes = new Uint8Array(8192);
  const { writer, counts } = makeWriter(bytes);
  const put = (at: number, hex: string): void => bytes.set(Buffer.from(hex, 'hex'), at);
  put(100, '488b8000010000'); // mov rax, [rax + 0x100]
  put(4092, '488b8000010000');
  expect(writer.next(100, 4096, 100, 2)).toMatchObject({ length: 7 });
  expect(writer.next(4092, 4096, 4092, 2)).toBeUndefined();
  put(200, `${'2e'.repeat(8)}488b8000010000`);
  expect(writer.next(200, 4096, 200, 2)).toMatchObject({ length: 15, ends: false });
  put(300, `${'2e'.repeat(9)}488b8000010000`);
  expect(writer.next(300, 4096, 300, 2)).toMatchObject({ length: 15, ends: true }); // more than 15 bytes: #GP
  const { decoded } = counts;
  writer.next(100, 4096, 100, 2);
  expect(counts.decoded).toBe(decoded);
  writer.next(100, 4096, 100, 6); // where floating point may be off, handlers are others
  expect(counts.decoded).toBe(decoded + 1);
  writer.forget();
  writer.next(100, 4096, 100, 2);
  expect(counts.decoded).toBe(decoded + 2);
});
