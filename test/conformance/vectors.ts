/** The recording's format: the seed of a case and what the processor changed. */
import { type Case, type CpuState, liveBytes, liveStart } from './cases.ts';

export const harnessInputBytes = 128 + 24 + 16 + 8 + 512 + liveBytes;
export const harnessOutputBytes = 128 + 32 + 512 + liveBytes + 256;
/** Bytes recorded around the live part of the window. */
const margin = 128;

export interface Outcome {
  readonly after: Omit<CpuState, 'memory'>;
  readonly ip: number;
  /** 5 SIGTRAP: it ran; 4 SIGILL, 8 SIGFPE, 11 SIGSEGV: it faulted. */
  readonly signal: number;
  readonly window: Uint8Array;
}

export function fxsaveImage(s: CpuState): Uint8Array {
  const image = new Uint8Array(512);
  const view = new DataView(image.buffer);
  view.setUint16(0, s.control, true);
  view.setUint16(2, s.status, true);
  view.setUint8(4, s.tags);
  view.setUint32(24, s.mxcsr, true);
  s.st.forEach((value, n) => {
    view.setBigUint64(32 + 16 * n, value & 0xffff_ffff_ffff_ffffn, true);
    view.setUint16(40 + 16 * n, Number(value >> 64n), true);
  });
  s.xmm.forEach((value, n) => {
    view.setBigUint64(160 + 16 * n, value & 0xffff_ffff_ffff_ffffn, true);
    view.setBigUint64(168 + 16 * n, value >> 64n, true);
  });
  return image;
}

export function writeHarnessInput(out: Buffer, c: Case, ip: number): void {
  c.before.gpr.forEach((value, n) => out.writeBigUInt64LE(value, 8 * n));
  out.writeBigUInt64LE(BigInt(c.before.flags), 128);
  out.writeBigUInt64LE(BigInt(ip), 136);
  out.writeBigUInt64LE(BigInt(c.code.length), 144);
  out.set(c.code, 152);
  out[168] = c.mode;
  out.set(fxsaveImage(c.before), 176);
  out.set(c.before.memory.subarray(liveStart, liveStart + liveBytes), 688);
}

export function outcomeFromHarness(data: Uint8Array): Outcome {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const quad = (at: number): bigint => view.getBigUint64(at, true);
  const fx = 160;
  return {
    after: {
      gpr: Array.from({ length: 16 }, (_, n) => quad(8 * n)),
      flags: Number(quad(128)) & 0xffff_ffff,
      control: view.getUint16(fx, true),
      status: view.getUint16(fx + 2, true),
      tags: view.getUint8(fx + 4),
      mxcsr: view.getUint32(fx + 24, true),
      st: Array.from({ length: 8 }, (_, n) => quad(fx + 32 + 16 * n) | (BigInt(view.getUint16(fx + 40 + 16 * n, true)) << 64n)),
      xmm: Array.from({ length: 16 }, (_, n) => quad(fx + 160 + 16 * n) | (quad(fx + 168 + 16 * n) << 64n)),
    },
    ip: Number(quad(136)),
    signal: Number(quad(144)),
    window: data.slice(fx + 512, fx + 512 + liveBytes + 256),
  };
}

/** The window as the harness copies it, from a whole one. */
export const recordedWindow = (memory: Uint8Array): Uint8Array => memory.slice(liveStart - margin, liveStart + liveBytes + margin);

// --- packed form: seed, signal, ip, flags, and lists of what differs from before

class Writer {
  readonly #bytes: number[] = [];
  number(value: bigint, size: number): void {
    for (let n = 0; n < size; n++) this.#bytes.push(Number((value >> BigInt(8 * n)) & 0xffn));
  }
  get buffer(): Buffer {
    return Buffer.from(this.#bytes);
  }
}

export function encodeOutcome(c: Case, o: Outcome): Buffer {
  const w = new Writer();
  w.number(BigInt(c.seed), 4);
  w.number(BigInt(o.signal), 1);
  w.number(BigInt(o.ip & 0xffff), 2);
  w.number(BigInt(o.after.flags), 2);
  w.number(BigInt(o.after.mxcsr), 2);
  w.number(BigInt(o.after.control), 2);
  w.number(BigInt(o.after.status), 2);
  w.number(BigInt(o.after.tags), 1);
  const list = (before: readonly bigint[], after: readonly bigint[], size: number): void => {
    const changed = after.flatMap((value, n) => (value === before[n] ? [] : [{ n, value }]));
    w.number(BigInt(changed.length), 1);
    for (const { n, value } of changed) {
      w.number(BigInt(n), 1);
      w.number(value, size);
    }
  };
  list(c.before.gpr, o.after.gpr, 8);
  list(c.before.xmm, o.after.xmm, 16);
  list(c.before.st, o.after.st, 10);
  const old = recordedWindow(c.before.memory);
  const differences = [...o.window].flatMap((byte, n) => (byte === old[n] ? [] : [{ n, byte }]));
  w.number(BigInt(differences.length), 2);
  for (const { n, byte } of differences) {
    w.number(BigInt(n), 2);
    w.number(BigInt(byte), 1);
  }
  return w.buffer;
}

export interface RecordedOutcome {
  readonly seed: number;
  readonly signal: number;
  /** Low 16 bits. */
  readonly ip: number;
  readonly flags: number;
  readonly mxcsr: number;
  readonly control: number;
  readonly status: number;
  readonly tags: number;
  readonly gpr: ReadonlyMap<number, bigint>;
  readonly xmm: ReadonlyMap<number, bigint>;
  readonly st: ReadonlyMap<number, bigint>;
  /** Offsets in the recorded window. */
  readonly memory: ReadonlyMap<number, number>;
}

export function* decodeOutcomes(data: Uint8Array): Generator<RecordedOutcome> {
  let at = 0;
  const number = (size: number): number => {
    let value = 0;
    for (let n = 0; n < size; n++) value += (data[at++] ?? 0) * 256 ** n;
    return value;
  };
  const big = (size: number): bigint => {
    let value = 0n;
    for (let n = 0; n < size; n++) value |= BigInt(data[at++] ?? 0) << BigInt(8 * n);
    return value;
  };
  const list = (size: number): Map<number, bigint> => {
    const count = number(1);
    const map = new Map<number, bigint>();
    for (let n = 0; n < count; n++) {
      const index = number(1);
      map.set(index, big(size));
    }
    return map;
  };
  while (at < data.length) {
    const [seed, signal, ip, flags, mxcsr, control, status, tags] = [
      number(4),
      number(1),
      number(2),
      number(2),
      number(2),
      number(2),
      number(2),
      number(1),
    ];
    const [gpr, xmm, st] = [list(8), list(16), list(10)];
    const memory = new Map<number, number>();
    const differences = number(2);
    for (let n = 0; n < differences; n++) {
      const index = number(2);
      memory.set(index, number(1));
    }
    yield { seed, signal, ip, flags, mxcsr, control, status, tags, gpr, xmm, st, memory };
  }
}
