/** QEMU's isa-debug-exit at port 0xF4: a write ends the program with status value << 1 | 1. */
import type { PortDevice } from './device.ts';

export class DebugExit implements PortDevice {
  readonly name = 'debug-exit';
  readonly ports = [{ base: 0xf4, count: 4 }];
  state = {};
  readonly #exit: (status: number) => void;

  constructor(exit: (status: number) => void) {
    this.#exit = exit;
  }
  read(): number {
    return 0;
  }
  write(_port: number, _width: number, value: number): void {
    this.#exit(((value << 1) | 1) & 0xff);
  }
}
