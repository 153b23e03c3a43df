/** Unpacks kernels by the magic number of what is packed: gzip, zstd, LZ4 (legacy and frames), xz. */
import * as zlib from 'node:zlib';
import { isElf } from '../firmware/elf.ts';
import { unxz } from './xz.ts';

/** A size that a damaged file claims is not believed beyond this. */
const unpackedBytesMax = 2 ** 29;

const startsWith = (data: Uint8Array, ...magic: number[]): boolean => magic.every((byte, n) => data[n] === byte);

/** Legacy frames, as `lz4 -l` and the kernel's build write them: a magic number, then blocks with their packed sizes. */
async function unpackLz4Legacy(data: Uint8Array): Promise<Uint8Array> {
  const lz4 = await import('lz4js');
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const blockMax = 8 * 2 ** 20;
  const blocks: Uint8Array[] = [];
  let at = 4;
  while (at + 4 <= data.length) {
    const size = view.getUint32(at, true);
    if (size === 0x184c_2102) {
      at += 4;
      continue;
    }
    if (size === 0 || at + 4 + size > data.length) break; // what follows is the unpacked size that the build appends
    const block = new Uint8Array(blockMax);
    const length = lz4.decompressBlock(data, block, at + 4, size, 0);
    blocks.push(block.subarray(0, length));
    at += 4 + size;
  }
  const whole = new Uint8Array(blocks.reduce((sum, b) => sum + b.length, 0));
  let to = 0;
  for (const block of blocks) {
    whole.set(block, to);
    to += block.length;
  }
  return whole;
}

/** Node has zstd since 22.15. */
async function unpackZstd(data: Uint8Array, bytes: number | undefined): Promise<Uint8Array> {
  const { zstdDecompressSync } = zlib as { readonly zstdDecompressSync?: (data: Uint8Array, options: zlib.ZlibOptions) => Uint8Array };
  if (zstdDecompressSync) return zstdDecompressSync(data, { maxOutputLength: unpackedBytesMax });
  const { decompress } = await import('fzstd');
  return bytes !== undefined && bytes <= unpackedBytesMax ? decompress(data, new Uint8Array(bytes)) : decompress(data);
}

/** Throws a sentence when the data are damaged or packed in an unknown way; an ELF file is returned as it is. */
export async function unpack(data: Uint8Array, name: string, bytes?: number): Promise<Uint8Array> {
  try {
    if (startsWith(data, 0x1f, 0x8b)) return zlib.gunzipSync(data);
    if (startsWith(data, 0x28, 0xb5, 0x2f, 0xfd)) return await unpackZstd(data, bytes);
    if (startsWith(data, 0x02, 0x21, 0x4c, 0x18)) return await unpackLz4Legacy(data);
    if (startsWith(data, 0xfd, 0x37, 0x7a, 0x58, 0x5a)) return await unxz(data, unpackedBytesMax);
    if (startsWith(data, 0x04, 0x22, 0x4d, 0x18)) return (await import('lz4js')).decompress(data);
  } catch (problem) {
    throw new Error(`${name}: the packed kernel is damaged: ${problem instanceof Error ? problem.message : String(problem)}`);
  }
  if (isElf(data)) return data;
  throw new Error(
    `${name}: packed in a way that is not known (first bytes ${[...data.subarray(0, 4)].map((b) => b.toString(16).padStart(2, '0')).join(' ')})`,
  );
}
