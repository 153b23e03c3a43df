/** The UART as Linux's 8250 driver probes and uses it. */
import { expect, test } from 'vitest';
import { Uart } from '../../src/devices/uart/uart.ts';

const Reg = { data: 0, ier: 1, iir: 2, lcr: 3, mcr: 4, lsr: 5, msr: 6, scratch: 7 } as const;

function bench() {
  let line = false;
  const output: number[] = [];
  const uart = new Uart({
    name: 'com1',
    port: 0x3f8,
    irq: {
      set: (level) => {
        line = level;
      },
    },
    output: (byte) => void output.push(byte),
  });
  return {
    uart,
    output,
    line: () => line,
    read: (r: number) => uart.read(0x3f8 + r, 1),
    write: (r: number, v: number) => uart.write(0x3f8 + r, 1, v),
  };
}

test('the probe finds a 16550A: loopback, FIFO bits, interrupt enable bits', () => {
  const b = bench();
  b.write(Reg.ier, 0x0f);
  expect(b.read(Reg.ier)).toBe(0x0f);
  b.write(Reg.ier, 0);
  b.write(Reg.mcr, 0x1a);
  expect(b.read(Reg.msr) & 0xf0).toBe(0x90);
  b.write(Reg.mcr, 0);
  b.write(Reg.iir, 1);
  expect(b.read(Reg.iir) >> 6).toBe(3);
  b.write(Reg.lcr, 0x80);
  b.write(Reg.data, 1);
  expect(b.read(Reg.data)).toBe(1);
});
test('enabling the transmit interrupt with an empty transmitter raises it again and again', () => {
  const b = bench();
  b.write(Reg.mcr, 8);
  for (let n = 0; n < 2; n++) {
    b.write(Reg.ier, 2);
    expect(b.line()).toBe(true);
    expect(b.read(Reg.iir) & 15).toBe(2);
    expect(b.line()).toBe(false);
    b.write(Reg.ier, 0);
  }
});
test('a received byte raises the line until it is read', () => {
  const b = bench();
  b.write(Reg.mcr, 8);
  b.write(Reg.iir, 1);
  b.write(Reg.ier, 1);
  b.uart.receive(0x41);
  expect(b.line()).toBe(true);
  expect(b.read(Reg.lsr) & 1).toBe(1);
  expect(b.read(Reg.data)).toBe(0x41);
  expect(b.line()).toBe(false);
});
test('input waits until the guest listens, even when the driver clears the FIFO first', () => {
  const b = bench();
  b.uart.receive(0x55);
  b.write(Reg.ier, 0x0f); // the probe
  b.write(Reg.ier, 0);
  b.write(Reg.iir, 7);
  b.write(Reg.mcr, 8);
  b.write(Reg.ier, 1);
  expect(b.read(Reg.data)).toBe(0x55);
});
test('a guest that polls without interrupts gets its input, too', () => {
  const b = bench();
  b.uart.receive(0x55);
  let status = 0;
  for (let n = 0; n < 1000 && (status & 1) === 0; n++) status = b.read(Reg.lsr);
  expect(b.read(Reg.data)).toBe(0x55);
});
test('what is sent comes out, and in loopback comes back', () => {
  const b = bench();
  b.write(Reg.data, 0x42);
  expect(b.output).toEqual([0x42]);
  b.write(Reg.mcr, 0x10);
  b.write(Reg.data, 0x43);
  expect(b.output).toEqual([0x42]);
  expect(b.read(Reg.data)).toBe(0x43);
});
