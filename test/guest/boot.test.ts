/** The default guest, deterministic: boots to its shell, works, powers off; twice the same. */
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { deterministicMachine } from './deterministic.ts';

async function session(commands: string, translator: boolean): Promise<{ output: string; retired: number; memory: string }> {
  const { machine, output, run } = await deterministicMachine({ translator });
  for (const c of commands) machine.chips.uart.receive(c.charCodeAt(0));
  for (;;) {
    const end = run(1000);
    if (end.kind === 'stopped') {
      expect(end.reason.kind).toBe('power-off');
      break;
    }
    if (machine.retired > 3e9) throw new Error(`no end after ${machine.retired} instructions: ${output().slice(-500)}`);
  }
  const { pool } = machine;
  const memory = createHash('sha256')
    .update(pool.bytes.subarray(pool.firstFrame * 4096, (pool.firstFrame + pool.used) * 4096))
    .digest('hex');
  return { output: output(), retired: machine.retired, memory };
}

const commands = `uname -m
echo pipe works | tr a-z A-Z
dd if=/dev/zero bs=1k count=64 2>/dev/null | md5sum
awk 'BEGIN { printf "%.3f\\n", 1.5 * 3 + 0.001 }'
poweroff
`;

test('it reaches a shell that works, and the same input gives the same run, translated or interpreted', { timeout: 120_000 }, async () => {
  const first = await session(commands, true);
  expect(first.output).toMatch(/this is Linux, running in JavaScript/);
  expect(first.output).toMatch(/x86_64/);
  expect(first.output).toMatch(/PIPE WORKS/);
  expect(first.output).toMatch(/fcd6bcb56c1689fcef28b57c22475bad/);
  expect(first.output).toMatch(/4\.501/);
  expect(await session(commands, true)).toEqual(first);
  expect(await session(commands, false)).toEqual(first);
});
