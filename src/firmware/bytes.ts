/** Little-endian fields of firmware tables, put one after another. */
export const bytes = (...parts: (readonly number[] | Uint8Array)[]): Uint8Array => Uint8Array.from(parts.flatMap((p) => [...p]));
export const u8 = (n: number): number[] => [n & 0xff];
export const u16 = (n: number): number[] => [n & 0xff, (n >> 8) & 0xff];
export const u32 = (n: number): number[] => [...u16(n & 0xffff), ...u16((n >>> 16) & 0xffff)];
export const u64 = (n: number): number[] => [...u32(n >>> 0), ...u32(Math.floor(n / 2 ** 32))];
/** Padded with spaces. */
export const text = (s: string, length: number): number[] => Array.from({ length }, (_, n) => (n < s.length ? s.charCodeAt(n) : 0x20));

/** Makes the bytes add up to 0, by the one at `at`. */
export function checksum(data: Uint8Array, at: number, length = data.length): void {
  let sum = 0;
  for (let n = 0; n < length; n++) sum += data[n] ?? 0;
  data[at] = (256 - (sum & 0xff)) & 0xff;
}
