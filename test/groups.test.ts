/** Instructions that have a handler together are still done one by one where it matters. */
import { expect, test } from 'vitest';
import { parseCpu } from '../src/cpu/cpuid.ts';
import { commonCode } from '../src/engine/interpreter/common-code.ts';
import { type Decoded, Decoder } from '../src/isa/decode.ts';
import { Bench } from './conformance/bench.ts';
import { codeAddress, makeCase, windowAddress } from './conformance/cases.ts';

const piece = 64;
const ignoredPrefix = 0x2e;
const decoder = new Decoder(parseCpu('max').instructions);
const decode = (bytes: readonly number[]) => decoder.decode(Uint8Array.from(bytes), 0, bytes.length, 64);
const isOnRegisters = (d: Decoded | string): boolean =>
  typeof d !== 'string' &&
  d.row.name !== 'call' &&
  !d.row.ends &&
  d.operands.length > 0 &&
  d.operands.every((o) => o.kind === 'register' && o.number !== 4);

test('what was written over the last of a group, a 64-byte piece of code behind the first, is run', () => {
  const groups = commonCode.filter((code) => code.includes(' ')).map((code) => code.split(' ').map((hex) => [...Buffer.from(hex, 'hex')]));
  const onRegisters = groups.filter((group) => group.every((bytes) => isOnRegisters(decode(bytes))));
  expect(onRegisters.length).toBeGreaterThan(3);
  const [together, alone] = [new Bench(), new Bench()];
  for (const group of onRegisters) {
    const { before } = makeCase(1) ?? {};
    if (!before) throw new Error('no case');
    before.gpr[4] = BigInt(windowAddress + 4096);
    const [last = []] = group.slice(-1);
    // as long as instructions can be, so that the first lies further before the piece than any instruction reaches
    const first = group.slice(0, -1).flatMap((bytes) => [...Array(15 - bytes.length).fill(ignoredPrefix), ...bytes]);
    const head: number[] = Array(piece - first.length).fill(0x90);
    const code = [...head, ...first, ...last];
    const length = code.length;
    const program = { code: Uint8Array.from([...code, 0xeb, -(length + 2)]), before };
    const steps = head.length + group.length + 1;
    for (const bench of [together, alone]) bench.load(program);
    const round = () => {
      const result = together.runSteps(steps);
      for (let n = 1; n < steps; n++) alone.runSteps(1);
      expect(result).toEqual(alone.runSteps(1));
    };
    round();
    round();
    for (const bench of [together, alone]) bench.patch(codeAddress + piece, Array(length - piece).fill(0x90));
    round();
    round();
  }
});
