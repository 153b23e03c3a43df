/** What is remembered for a shape of instruction is remembered for no other. */
import { expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { parseCpu } from '../../src/cpu/cpuid.ts';
import { shapeKey } from '../../src/engine/interpreter/handler.ts';
import { ShapeMap } from '../../src/engine/interpreter/shapes.ts';
import { Decoder } from '../../src/isa/decode.ts';

test('300,000 random byte strings in three code sizes: instructions that share an entry have the same key', () => {
  const decoder = new Decoder(parseCpu('max').instructions);
  const random = new SeededRandom(11n);
  const keys = new ShapeMap<string>();
  const prefixes = [0x0f, 0x0f, 0x66, 0x67, 0xf2, 0xf3, 0x48, 0x41, 0x64, 0x65];
  let shared = 0;
  for (let n = 0; n < 300_000; n++) {
    const bytes = Uint8Array.from({ length: 16 }, (_, at) =>
      at < 2 && random.below(2) === 0 ? (prefixes[random.below(prefixes.length)] ?? 0) : random.below(256),
    );
    const decoded = decoder.decode(bytes, 0, 16, ([16, 32, 64] as const)[n % 3] ?? 64);
    if (typeof decoded === 'string') continue;
    const known = keys.get(decoded);
    if (known === undefined) keys.set(decoded, shapeKey(decoded));
    else if (++shared && known !== shapeKey(decoded)) expect(shapeKey(decoded)).toBe(known);
  }
  expect(shared).toBeGreaterThan(50_000);
});
test('an operand so far behind the instruction that its displacement is added in the handler has an entry of its own', () => {
  const decoder = new Decoder(parseCpu('max').instructions);
  const [far, near] = ['8b05ffffff7f', '8b0500000000'].map((hex) => decoder.decode(new Uint8Array(Buffer.from(hex, 'hex')), 0, 6, 64));
  if (!far || !near || typeof far === 'string' || typeof near === 'string') throw new Error('not decoded');
  const values = new ShapeMap<number>();
  values.set(far, 1);
  expect(values.get(near)).toBeUndefined();
});
