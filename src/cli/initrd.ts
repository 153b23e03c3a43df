/** A gzip-compressed initramfs is unpacked before the guest sees it, which takes the host far less time than the guest's kernel. */
import { gunzipSync, inflateRawSync, type ZlibOptions } from 'node:zlib';

/** Archives begin at multiples of this. */
const alignment = 4;
const Header = { magic: [0x1f, 0x8b, 8], flags: 3, bytes: 10 } as const;
const Flag = { headerCrc: 2, extra: 4, name: 8, comment: 16 } as const;
/** CRC-32 and size behind the compressed data. */
const trailerBytes = 8;

/** Length of a gzip header. RFC 1952, 2.3. */
function headerLength(data: Uint8Array): number {
  const flags = data[Header.flags] ?? 0;
  let at: number = Header.bytes;
  if ((flags & Flag.extra) !== 0) at += 2 + ((data[at] ?? 0) | ((data[at + 1] ?? 0) << 8));
  for (const flag of [Flag.name, Flag.comment]) if ((flags & flag) !== 0) at = data.indexOf(0, at) + 1;
  return (flags & Flag.headerCrc) !== 0 ? at + 2 : at;
}
/** Bytes of the archive's first compressed stream. */
function streamLength(data: Uint8Array, limit: ZlibOptions): number {
  const header = headerLength(data);
  const { engine } = inflateRawSync(data.subarray(header), { ...limit, info: true }) as unknown as {
    readonly engine: { readonly bytesWritten: number };
  };
  return header + engine.bytesWritten + trailerBytes;
}

/**
 * The same root file system with the first of its archives unpacked. Given back as it is when that is not gzip, would be longer than `bytesMax`, or is
 * damaged: Linux itself then says what it thinks of it.
 */
export function unpackInitrd(data: Uint8Array, bytesMax: number): Uint8Array {
  if (!Header.magic.every((byte, n) => data[n] === byte)) return data;
  const limit = { maxOutputLength: bytesMax };
  try {
    const length = streamLength(data, limit);
    const first = gunzipSync(data.subarray(0, length), limit); // checks the CRC
    // what follows lies as it lay, counted in the alignment of archives
    const start = first.length + ((((length - first.length) % alignment) + alignment) % alignment);
    const rest = data.subarray(length);
    const all = new Uint8Array(start + rest.length);
    all.set(first);
    all.set(rest, start);
    return all;
  } catch {
    return data;
  }
}
