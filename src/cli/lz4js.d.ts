/** What is used of lz4js, which ships no types. */
declare module 'lz4js' {
  export function decompressBlock(
    source: Uint8Array,
    destination: Uint8Array,
    sourceIndex: number,
    sourceLength: number,
    destinationIndex: number,
  ): number;
  export function decompress(source: Uint8Array): Uint8Array;
}
