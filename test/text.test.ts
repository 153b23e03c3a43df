/** The text of a region is what it was made of: an assembler makes the same bytes of it. */
import { expect, test } from 'vitest';
import createWabt from 'wabt';
import type { EngineProfile } from '../src/engine/profile.ts';
import { deterministicMachine } from './guest/deterministic.ts';

test('the hottest regions of a boot, as text and assembled again', { timeout: 120_000 }, async () => {
  const wabt = await createWabt();
  const { machine, run } = await deterministicMachine({ profile: true });
  for (const c of "awk 'BEGIN { for (i = 0; i < 30000; i++) s += i % 7.5; print s }'\nsha256sum /bin/busybox\npoweroff\n")
    machine.chips.uart.receive(c.charCodeAt(0));
  const bodies: Uint8Array[] = [];
  while (run(1000).kind !== 'stopped');
  const profile = machine.profile as EngineProfile;
  const texts = profile.texts(machine.retired);
  expect(texts.length).toBe(20);
  for (const { name, text, body } of texts) {
    expect(name).toMatch(/^\d\d-[0-9a-f]+\.wat$/);
    const module = wabt.parseWat(name, text, { simd: true, sat_float_to_int: true });
    module.validate();
    const bytes = Buffer.from(module.toBinary({}).buffer);
    expect(bytes.includes(Buffer.from(body.code as Uint8Array)), name).toBe(true);
    bodies.push(body.code as Uint8Array);
  }
  expect(bodies.reduce((sum, b) => sum + b.length, 0)).toBeGreaterThan(20_000);
});
