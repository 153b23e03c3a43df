/** The guest's clock: follows the host's, but a host that had no time for a busy guest does not make it jump. */
import { expect, test } from 'vitest';
import { HostClock } from '../../src/time/clock.ts';

const bench = () => {
  let host = 1000;
  const clock = new HostClock(() => host);
  const ms = (): number => clock.nowNs() / 1e6;
  const pass = (milliseconds: number): number => {
    host += milliseconds;
    return ms();
  };
  ms();
  return { clock, pass };
};

test('small steps follow the host, and never go back', () => {
  const { pass } = bench();
  expect(pass(5)).toBeCloseTo(5, 3);
  expect(pass(10)).toBeCloseTo(15, 3);
  expect(pass(0)).toBeGreaterThan(15);
});
test('a stall of a busy guest is a step of 20 ms, and comes back at a quarter of the rate', () => {
  const { pass } = bench();
  expect(pass(10)).toBeCloseTo(10, 3);
  expect(pass(220)).toBeCloseTo(30, 3); // owes 200
  expect(pass(10)).toBeCloseTo(42.5, 3);
  for (let n = 0; n < 80; n++) pass(10);
  expect(pass(10)).toBeCloseTo(10 + 220 + 820, 1);
});
test('a guest at rest, or paused for seconds, sees all the time that passed', () => {
  const { clock, pass } = bench();
  pass(10);
  clock.rest();
  expect(pass(500)).toBeCloseTo(510, 3);
  expect(pass(5000)).toBeCloseTo(5510, 3);
});
test('a clock goes on from where another was, whatever the host did in between', () => {
  const { clock, pass } = bench();
  pass(10);
  clock.state = { ns: 5_000e6 };
  expect(pass(10)).toBeCloseTo(5010, 3);
  expect(clock.state.ns / 1e6).toBeCloseTo(5010, 3);
});
