/**
 * xz files, also those with the x86 branch filter that kernels are packed with: the decoder library knows LZMA2 only, so the file is
 * wrapped anew without filter and check, and both are done here. The .xz File Format, version 1.1.0.
 */
import { crc32 } from 'node:zlib';
import { present } from '../base/assert.ts';

const Filter = { x86: 0x04, lzma2: 0x21 } as const;
const checkBytes: Readonly<Record<number, number>> = { 0: 0, 1: 4, 4: 8, 10: 32 };

async function decode(data: Uint8Array, bytesMax: number): Promise<Uint8Array> {
  const { XzReadableStream } = (await import('xz-decompress')).default;
  const source = present(new Response(data as Uint8Array<ArrayBuffer>).body, 'body');
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of new XzReadableStream(source) as AsyncIterable<Uint8Array>) {
    bytes += part.length;
    if (bytes > bytesMax) throw new Error('it would be too large');
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** Throws when the file is damaged, or would unpack to more than `bytesMax`. */
export async function unxz(data: Uint8Array, bytesMax: number): Promise<Uint8Array> {
  const block = readBlock(data);
  if (!block) return decode(data, bytesMax);
  const out = await decode(rewrap(block), bytesMax);
  if (out.length !== block.uncompressedBytes) throw new Error('its index tells another size');
  undoX86(out);
  if (block.check === 1) {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    if (checksum(out) !== view.getUint32(block.end, true)) throw new Error('its checksum does not match');
  }
  return out;
}

const checksum = (data: Uint8Array): number => (typeof crc32 === 'function' ? crc32(data) : slowChecksum(data));
function slowChecksum(data: Uint8Array): number {
  let c = -1;
  for (const byte of data) {
    c ^= byte;
    for (let n = 0; n < 8; n++) c = c & 1 ? (c >>> 1) ^ 0xedb8_8320 : c >>> 1;
  }
  return ~c >>> 0;
}

interface Block {
  readonly check: number;
  readonly dictionary: number;
  /** Compressed bytes, without header and padding. */
  readonly compressed: Uint8Array;
  /** Where the block's check lies. */
  readonly end: number;
  readonly uncompressedBytes: number;
}

function variable(data: Uint8Array, at: number): { readonly value: number; readonly next: number } {
  let value = 0;
  let next = at;
  for (let shift = 0; ; shift += 7) {
    const byte = data[next++] ?? 0;
    value += (byte & 0x7f) * 2 ** shift;
    if ((byte & 0x80) === 0) return { value, next };
  }
}

/** The single block of a file whose filters are x86 and LZMA2; undefined for any other file. */
function readBlock(data: Uint8Array): Block | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const check = (data[7] ?? 0) & 15;
  const headerBytes = ((data[12] ?? 0) + 1) * 4;
  const flags = data[13] ?? 0;
  if ((flags & 3) !== 1) return undefined;
  let at = 14;
  if ((flags & 0x40) !== 0) at = variable(data, at).next;
  if ((flags & 0x80) !== 0) at = variable(data, at).next;
  if (data[at] !== Filter.x86 || data[at + 1] !== 0 || data[at + 2] !== Filter.lzma2 || data[at + 3] !== 1) return undefined;
  const dictionary = data[at + 4] ?? 0;
  // the index at the end has the sizes: indicator, number of records, unpadded size, uncompressed size
  const footer = data.length - 12;
  const index = footer - (view.getUint32(footer + 4, true) + 1) * 4;
  const records = variable(data, index + 1);
  if (data[index] !== 0 || records.value !== 1) return undefined;
  const unpadded = variable(data, records.next);
  const uncompressed = variable(data, unpadded.next);
  const size = unpadded.value - headerBytes - (checkBytes[check] ?? 0);
  const start = 12 + headerBytes;
  const padded = (size + 3) & ~3;
  return { check, dictionary, compressed: data.subarray(start, start + size), end: start + padded, uncompressedBytes: uncompressed.value };
}

const u32 = (n: number): number[] => [n & 0xff, (n >>> 8) & 0xff, (n >>> 16) & 0xff, n >>> 24];
function toVariable(n: number): number[] {
  const bytes: number[] = [];
  let rest = n;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  return [...bytes, rest];
}
const sealed = (bytes: readonly number[]): number[] => [...bytes, ...u32(slowChecksum(Uint8Array.from(bytes)))];

/** The same compressed data with LZMA2 as the only filter and no check. */
function rewrap({ compressed, dictionary, uncompressedBytes }: Block): Uint8Array {
  const streamFlags = [0, 0];
  const header = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, ...sealed(streamFlags)];
  const blockHeader = sealed([2, 0, Filter.lzma2, 1, dictionary, 0, 0, 0]);
  const padding = new Array<number>((4 - (compressed.length & 3)) & 3).fill(0);
  const indexBody = [0, 1, ...toVariable(blockHeader.length + compressed.length), ...toVariable(uncompressedBytes)];
  while (indexBody.length % 4 !== 0) indexBody.push(0);
  const index = sealed(indexBody);
  const footerBody = [...u32(index.length / 4 - 1), ...streamFlags];
  const footer = [...u32(slowChecksum(Uint8Array.from(footerBody))), ...footerBody, 0x59, 0x5a];
  const out = new Uint8Array(header.length + blockHeader.length + compressed.length + padding.length + index.length + footer.length);
  let at = 0;
  for (const part of [header, blockHeader, compressed, padding, index, footer]) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Which of the three bytes before an opcode were opcodes, too: the filter's state decides whether the operand was converted. */
const convertible = [true, true, true, false, true, false, false, false];
const distance = [0, 1, 2, 2, 3, 3, 3, 3];
const plausible = (byte: number): boolean => byte === 0 || byte === 0xff;

/** Turns the absolute targets of CALL and JMP back into relative ones, in place. */
function undoX86(data: Uint8Array): void {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let last = -1;
  let mask = 0;
  const end = data.length - 4;
  for (let at = 0; at < end; at++) {
    while (at < end && ((data[at] as number) & 0xfe) !== 0xe8) at++;
    if (at === end) break;
    const gap = at - last;
    mask = gap > 3 ? 0 : (mask << (gap - 1)) & 7;
    last = at;
    if (mask !== 0 && (!convertible[mask] || plausible(data[at + 4 - (distance[mask] ?? 0)] ?? 0))) {
      mask = (mask << 1) | 1;
      continue;
    }
    if (!plausible(data[at + 4] ?? 0)) {
      mask = (mask << 1) | 1;
      continue;
    }
    let source = view.getInt32(at + 1, true);
    let target: number;
    for (;;) {
      target = (source - (at + 5)) | 0;
      if (mask === 0) break;
      const bits = (distance[mask] ?? 0) * 8;
      if (!plausible((target >>> (24 - bits)) & 0xff)) break;
      source = target ^ ((2 ** (32 - bits) - 1) | 0);
    }
    view.setInt32(at + 1, (target << 7) >> 7, true); // 25 bits, sign-extended
    at += 4;
  }
}
