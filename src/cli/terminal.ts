/** The terminal as a serial console: raw mode, restored on every way out, and the escape key Ctrl-A. */

const escapeKey = 0x01;

export interface TerminalParts {
  /** Bytes for the guest. */
  readonly input: (bytes: Uint8Array) => void;
  readonly quit: () => void;
  /** Opens the prompt. */
  readonly prompt: () => void;
}

const help = `
Ctrl-A x  quit         Ctrl-A c  prompt: look into the machine, save it
Ctrl-A h  this help    Ctrl-A a  send Ctrl-A to the guest
`;

export class Terminal {
  readonly #parts: TerminalParts;
  readonly #interactive: boolean;
  #escaped = false;
  #restore: (() => void) | undefined;
  /** While the prompt is open, lines go there. */
  onLine: ((line: string) => void) | undefined;
  #line = '';

  constructor(parts: TerminalParts) {
    this.#parts = parts;
    this.#interactive = process.stdin.isTTY === true;
  }
  get interactive(): boolean {
    return this.#interactive;
  }

  open(): void {
    if (this.#interactive) {
      process.stdin.setRawMode(true);
      const restore = (): void => {
        if (process.stdin.isTTY) process.stdin.setRawMode(false);
      };
      this.#restore = restore;
      process.on('exit', restore);
    }
    process.stdin.on('data', (data: Buffer) => this.#receive(data));
    process.stdin.on('error', () => {}); // a closed terminal is the end of input, not of the guest
    process.stdin.resume();
  }
  close(): void {
    this.#restore?.();
    process.stdin.pause();
    process.stdin.unref?.();
  }

  #receive(data: Uint8Array): void {
    if (!this.#interactive) return this.#parts.input(data);
    const forGuest: number[] = [];
    for (const byte of data) {
      if (this.onLine) this.#edit(byte);
      else if (this.#escaped) this.#command(byte, forGuest);
      else if (byte === escapeKey) this.#escaped = true;
      else forGuest.push(byte);
    }
    if (forGuest.length > 0) this.#parts.input(Uint8Array.from(forGuest));
  }
  #command(byte: number, forGuest: number[]): void {
    this.#escaped = false;
    switch (String.fromCharCode(byte)) {
      case 'x':
        return this.#parts.quit();
      case 'c':
        return this.#parts.prompt();
      case 'a':
      case '\x01':
        forGuest.push(escapeKey);
        return;
      default:
        process.stdout.write(help.replaceAll('\n', '\r\n'));
    }
  }
  /** A line editor of the smallest kind: the terminal is raw. */
  #edit(byte: number): void {
    if (byte === 13 || byte === 10) {
      process.stdout.write('\r\n');
      const line = this.#line;
      this.#line = '';
      this.onLine?.(line);
    } else if (byte === 127 || byte === 8) {
      if (this.#line.length === 0) return;
      this.#line = this.#line.slice(0, -1);
      process.stdout.write('\b \b');
    } else if (byte === 3 || byte === 4) {
      process.stdout.write('\r\n');
      this.#line = '';
      this.onLine?.('continue');
    } else if (byte >= 32) {
      this.#line += String.fromCharCode(byte);
      process.stdout.write(String.fromCharCode(byte));
    }
  }
}
