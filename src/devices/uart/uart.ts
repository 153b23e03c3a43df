/** 16550A UART (National PC16550D). The transmitter is always empty: bytes leave as fast as they come. */
import type { ByteSink, Line, PortDevice } from '../device.ts';

const Reg = { data: 0, ier: 1, iir: 2, lcr: 3, mcr: 4, lsr: 5, msr: 6, scratch: 7 } as const;
const Ier = { received: 1, transmitEmpty: 2, lineStatus: 4, modemStatus: 8 } as const;
const Iir = { none: 1, modem: 0, transmitEmpty: 2, received: 4, lineStatus: 6, timeout: 12, fifo: 0xc0 } as const;
const Lsr = { ready: 1, overrun: 2, transmitEmpty: 0x60 } as const;
const Mcr = { out2: 8, loop: 0x10 } as const;
const divisorLatch = 0x80;
const fifoDepth = 16;
/** Bytes that wait outside the FIFO for the guest to make room; beyond it the sender is told to wait. */
const backlogMax = 65_536;
const pollsOfReader = 64;

interface State {
  ier: number;
  lcr: number;
  mcr: number;
  scratch: number;
  divisor: number;
  fifo: boolean;
  trigger: number;
  overrun: boolean;
  /** A transmit interrupt has not been acknowledged. */
  sent: boolean;
  /** Received, unread; at most fifoDepth. */
  input: number[];
  modemDelta: number;
  /** Looks at the line status since the last byte was sent. */
  polls: number;
  /** Input the FIFO had no room for. */
  backlog: number[];
}
const powerOn = (): State => ({
  ier: 0, lcr: 0, mcr: 0, scratch: 0, divisor: 12, fifo: false, trigger: 1, overrun: false, sent: false, input: [], modemDelta: 0, polls: 0, backlog: [],
});

export interface UartParts {
  readonly name: string;
  readonly port: number;
  readonly irq: Line;
  readonly output: ByteSink;
}

export class Uart implements PortDevice {
  readonly name: string;
  readonly ports: PortDevice['ports'];
  readonly #irq: Line;
  readonly #output: ByteSink;
  state = powerOn();

  constructor({ name, port, irq, output }: UartParts) {
    this.name = name;
    this.ports = [{ base: port, count: 8 }];
    this.#irq = irq;
    this.#output = output;
  }

  /** A byte from the other side; false when the guest does not read and the backlog is full. */
  receive(byte: number): boolean {
    if (this.state.backlog.length >= backlogMax) return false;
    this.state.backlog.push(byte & 0xff);
    this.#refill();
    return true;
  }
  get backlog(): number {
    return this.state.backlog.length;
  }
  /**
   * Input waits until the guest reads: drivers clear the FIFO when they start, and a person's first words would be lost.
   * A guest reads when it has enabled the interrupt (and its pin: probes set the former alone), or when it polls the line status without sending.
   */
  #refill(): void {
    const listens = (this.state.ier & Ier.received) !== 0 && (this.state.mcr & Mcr.out2) !== 0;
    if (!listens && this.state.polls < pollsOfReader) return;
    const depth = this.state.fifo ? fifoDepth : 1;
    while (this.state.backlog.length > 0 && this.state.input.length < depth) this.state.input.push(this.state.backlog.shift() ?? 0);
    this.#update();
  }

  read(port: number, _width: number): number {
    const s = this.state;
    const latched = (s.lcr & divisorLatch) !== 0;
    switch (port & 7) {
      case Reg.data: return latched ? s.divisor & 0xff : this.#takeInput();
      case Reg.ier: return latched ? s.divisor >> 8 : s.ier;
      case Reg.iir: return this.#acknowledge();
      case Reg.lcr: return s.lcr;
      case Reg.mcr: return s.mcr;
      case Reg.lsr: return this.#lineStatus();
      case Reg.msr: return this.#modemStatus();
      default: return s.scratch;
    }
  }
  write(port: number, _width: number, value: number): void {
    const s = this.state;
    const byte = value & 0xff;
    const latched = (s.lcr & divisorLatch) !== 0;
    switch (port & 7) {
      case Reg.data:
        if (latched) s.divisor = (s.divisor & 0xff00) | byte;
        else this.#transmit(byte);
        break;
      case Reg.ier:
        if (latched) s.divisor = (s.divisor & 0xff) | (byte << 8);
        else {
          if ((byte & ~s.ier & Ier.transmitEmpty) !== 0) s.sent = true; // enabling it with the transmitter empty raises it again
          s.ier = byte & 15;
          this.#refill();
        }
        break;
      case Reg.iir:
        this.#fifoControl(byte);
        break;
      case Reg.lcr:
        s.lcr = byte;
        break;
      case Reg.mcr:
        s.mcr = byte & 0x1f;
        this.#refill();
        break;
      case Reg.scratch:
        s.scratch = byte;
        break;
    }
    this.#update();
  }

  #fifoControl(byte: number): void {
    const s = this.state;
    s.fifo = (byte & 1) !== 0;
    if ((byte & 2) !== 0 || !s.fifo) s.input = s.input.slice(0, (byte & 2) !== 0 ? 0 : 1);
    s.trigger = [1, 4, 8, 14][byte >> 6] ?? 1;
  }
  #transmit(byte: number): void {
    const s = this.state;
    s.sent = true;
    this.state.polls = 0;
    if ((s.mcr & Mcr.loop) !== 0) {
      if (s.input.length < (s.fifo ? fifoDepth : 1)) s.input.push(byte);
      else s.overrun = true;
    } else this.#output(byte);
  }
  #takeInput(): number {
    const byte = this.state.input.shift() ?? 0;
    this.#refill();
    return byte;
  }
  #lineStatus(): number {
    const s = this.state;
    if (this.state.backlog.length > 0 && ++this.state.polls >= pollsOfReader) this.#refill();
    const status = Lsr.transmitEmpty | (s.input.length > 0 ? Lsr.ready : 0) | (s.overrun ? Lsr.overrun : 0);
    s.overrun = false;
    this.#update();
    return status;
  }
  /** In loopback the outputs come back as inputs; otherwise a modem that is always there: DCD, DSR, CTS. */
  #modemStatus(): number {
    const { mcr } = this.state;
    if ((mcr & Mcr.loop) === 0) return 0xb0;
    return ((mcr & 2) << 3) | ((mcr & 1) << 5) | ((mcr & 0xc) << 4);
  }
  #cause(): number {
    const { ier, input, sent, overrun, fifo, trigger } = this.state;
    if (ier & Ier.lineStatus && overrun) return Iir.lineStatus;
    if (ier & Ier.received && input.length > 0) return !fifo || input.length >= trigger ? Iir.received : Iir.timeout;
    if (ier & Ier.transmitEmpty && sent) return Iir.transmitEmpty;
    return Iir.none;
  }
  #acknowledge(): number {
    const cause = this.#cause();
    if (cause === Iir.transmitEmpty) this.state.sent = false;
    this.#update();
    return cause | (this.state.fifo ? Iir.fifo : 0);
  }
  /** The one place the interrupt line is driven. OUT2 gates it on a PC. */
  #update(): void {
    this.#irq.set(this.#cause() !== Iir.none && (this.state.mcr & Mcr.out2) !== 0);
  }
}
