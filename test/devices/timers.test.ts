/** HPET, PIT, RTC and the local APIC's timer on a bench with a clock that is moved by hand. */
import { expect, test } from 'vitest';
import { LocalApic } from '../../src/cpu/local-apic.ts';
import { Hpet } from '../../src/devices/hpet/hpet.ts';
import { Pit } from '../../src/devices/pit/pit.ts';
import { Rtc } from '../../src/devices/rtc/rtc.ts';
import { TimerQueue } from '../../src/time/timers.ts';

function bench() {
  const clock = { ns: 0, nowNs: () => clock.ns, peekNs: () => clock.ns, rest: () => {}, state: { ns: 0 } };
  const timers = new TimerQueue();
  /** Moves time to the next deadline, plus `late`. */
  const next = (late = 0): number => {
    clock.ns = timers.nextNs() + late;
    timers.run(clock.ns);
    return clock.ns;
  };
  return { clock, timers, next };
}

test('HPET: a periodic comparator in 32-bit mode fires each period, and a late one does not wait for the counter to wrap', () => {
  const { clock, timers, next } = bench();
  const edges: number[] = [];
  const hpet = new Hpet({
    clock,
    timers,
    line: (pin, level) => {
      if (level && pin === 2) edges.push(clock.ns);
    },
  });
  hpet.write(0x10, 4, 3);
  hpet.write(0x100, 4, 0x17c);
  hpet.write(0x108, 4, 400_000); // 4 ms at 10 ns
  hpet.write(0x108, 4, 400_000);
  expect([next(), next()]).toEqual([4_000_000, 8_000_000]);
  next(9_000_000); // the third is due at 12 ms and is served at 21
  expect(next()).toBe(24_000_000);
  expect(edges).toEqual([4_000_000, 8_000_000, 21_000_000, 24_000_000]);
});
test('HPET: a periodic comparator without its interrupt wakes nobody, and goes on in step when it has it again', () => {
  const { clock, timers, next } = bench();
  const edges: number[] = [];
  const hpet = new Hpet({ clock, timers, line: (_pin, level) => void (level && edges.push(clock.ns)) });
  hpet.write(0x10, 4, 3);
  hpet.write(0x100, 4, 0x17c);
  hpet.write(0x108, 4, 400_000); // 4 ms at 10 ns
  hpet.write(0x108, 4, 400_000);
  next();
  hpet.write(0x100, 4, 0x138);
  expect(timers.nextNs()).toBe(Number.POSITIVE_INFINITY);
  clock.ns = 50_500_000_000; // the 32-bit comparator has wrapped once
  hpet.write(0x100, 4, 0x13c);
  expect(next()).toBeLessThanOrEqual(50_504_000_000);
  expect(edges.length).toBe(2);
});
test('HPET: the counter runs at 100 MHz and stops', () => {
  const { clock, timers } = bench();
  const hpet = new Hpet({ clock, timers, line: () => {} });
  expect(hpet.read(4, 4)).toBe(10_000_000);
  hpet.write(0x10, 4, 1);
  clock.ns = 1_000_000;
  expect(hpet.read(0xf0, 4)).toBe(100_000);
  hpet.write(0x10, 4, 0);
  clock.ns = 2_000_000;
  expect(hpet.read(0xf0, 4)).toBe(100_000);
});
test('PIT: counter 0 in mode 2 interrupts at its rate; counter 2 shows its output in port 0x61', () => {
  const { clock, timers, next } = bench();
  let rises = 0;
  let level = false;
  const irq = {
    set: (up: boolean) => {
      if (up && !level) rises++;
      level = up;
    },
  };
  const pit = new Pit({ clock, timers, irq });
  pit.write(0x43, 1, 0x34);
  pit.write(0x40, 1, 4773 & 0xff);
  pit.write(0x40, 1, 4773 >> 8);
  const before = rises;
  next();
  next();
  expect(rises - before).toBe(2);
  expect(Math.round(clock.ns / 1000)).toBe(Math.round((2 * 4773 * 1e6) / 1_193_182));
  pit.write(0x61, 1, 1);
  pit.write(0x43, 1, 0xb0);
  pit.write(0x42, 1, 0xff);
  pit.write(0x42, 1, 0x00); // 255 ticks: 214 microseconds
  expect(pit.read(0x61, 1) & 0x20).toBe(0);
  clock.ns += 220_000;
  expect(pit.read(0x61, 1) & 0x20).toBe(0x20);
});
test('PIT: latched counts come low byte first', () => {
  const { clock, timers } = bench();
  const pit = new Pit({ clock, timers, irq: { set: () => {} } });
  pit.write(0x43, 1, 0x34);
  pit.write(0x40, 1, 0);
  pit.write(0x40, 1, 0);
  clock.ns = 1_000_000; // 1193 ticks
  pit.write(0x43, 1, 0);
  const count = pit.read(0x40, 1) | (pit.read(0x40, 1) << 8);
  expect(65_536 - count).toBe(1193);
});
test('RTC: date and time in BCD, and what is set comes back', () => {
  const { clock, timers } = bench();
  const rtc = new Rtc({ clock, timers, irq: { set: () => {} }, epochMs: Date.UTC(2026, 10, 21, 17, 5, 9) });
  const read = (register: number): number => {
    rtc.write(0x70, 1, register);
    return rtc.read(0x71, 1);
  };
  expect([0x32, 9, 8, 7, 4, 2, 0].map(read)).toEqual([0x20, 0x26, 0x11, 0x21, 0x17, 0x05, 0x09]);
  clock.ns = 60e9;
  expect(read(2)).toBe(0x06);
  rtc.write(0x70, 1, 9);
  rtc.write(0x71, 1, 0x30);
  expect(read(9)).toBe(0x30);
  expect(read(13)).toBe(0x80);
  // a machine that goes on another day: the host's time again, to the second
  rtc.follow(Date.UTC(2027, 0, 2, 3, 4, 5, 400));
  expect([0x32, 8, 4, 2, 0].map(read)).toEqual([0x20, 0x01, 0x03, 0x04, 0x05]);
});

function apicBench() {
  const b = bench();
  const ended: number[] = [];
  const apic = new LocalApic({
    id: 0,
    clock: b.clock,
    timers: b.timers,
    send: () => {},
    endOfInterrupt: (v) => void ended.push(v),
    wake: () => {},
  });
  apic.write(0xf0, 0x1ff);
  return { ...b, apic, ended };
}
test('local APIC: one-shot, periodic and deadline timers', () => {
  const b = apicBench();
  b.apic.write(0x3e0, 3); // divide by 16: 640 ns a tick
  b.apic.write(0x320, 0xec);
  b.apic.write(0x380, 100);
  expect(b.next()).toBe(64_000);
  expect(b.apic.pendingVector()).toBe(0xec);
  b.apic.acknowledge(0xec);
  b.apic.write(0xb0, 0);
  b.apic.write(0x320, 0x2_00ec);
  b.apic.write(0x380, 100);
  expect([b.next(), b.next()]).toEqual([128_000, 192_000]);
  b.apic.write(0x320, 0x4_00ec);
  b.apic.setDeadline(500_000n);
  expect(b.apic.deadline).toBe(500_000n);
  expect(b.next()).toBe(500_000);
  expect(b.apic.deadline).toBe(0n);
});
test('local APIC: higher classes interrupt lower ones, the TPR holds back, level-triggered vectors report their end', () => {
  const { apic, ended } = apicBench();
  const send = (vector: number, level = false): void => apic.receive({ destination: 0, logical: false, mode: 0, vector, level });
  send(0x41);
  send(0x52, true);
  expect(apic.pendingVector()).toBe(0x52);
  apic.acknowledge(0x52);
  expect(apic.pendingVector()).toBe(-1); // 0x41 is of a lower class than what is in service
  send(0x61);
  expect(apic.pendingVector()).toBe(0x61);
  apic.write(0x80, 0x60);
  expect(apic.pendingVector()).toBe(-1);
  apic.write(0x80, 0);
  apic.acknowledge(0x61);
  apic.write(0xb0, 0);
  apic.write(0xb0, 0);
  expect(ended).toEqual([0x52]);
  expect(apic.pendingVector()).toBe(0x41);
});
