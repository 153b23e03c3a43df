/** The few terms of ACPI Machine Language that the DSDT is made of. ACPI 6.4, 20.2; resource descriptors 6.4. */
import { u16, u32 } from './bytes.ts';

const ascii = (s: string): number[] => [...s].map((c) => c.charCodeAt(0));

/** PkgLength counts itself. */
function packageLength(body: number): number[] {
  if (body + 1 < 0x40) return [body + 1];
  if (body + 2 < 0x1000) return [0x40 | ((body + 2) & 15), (body + 2) >> 4];
  return [0x80 | ((body + 3) & 15), ((body + 3) >> 4) & 0xff, (body + 3) >> 12];
}
const withLength = (op: readonly number[], body: readonly number[]): number[] => [...op, ...packageLength(body.length), ...body];

export function integer(n: number): number[] {
  if (n === 0) return [0x00];
  if (n === 1) return [0x01];
  if (n < 0x100) return [0x0a, n];
  return n < 0x1_0000 ? [0x0b, ...u16(n)] : [0x0c, ...u32(n)];
}
/** A four-character name, shorter ones padded with underscores; a leading backslash means the root. */
const nameString = (s: string): number[] => (s.startsWith('\\') ? [0x5c, ...ascii(s.slice(1).padEnd(4, '_'))] : ascii(s.padEnd(4, '_')));

export const name = (s: string, value: readonly number[]): number[] => [0x08, ...nameString(s), ...value];
export const device = (s: string, body: readonly number[]): number[] => withLength([0x5b, 0x82], [...nameString(s), ...body]);
export const scope = (s: string, body: readonly number[]): number[] => withLength([0x10], [...nameString(s), ...body]);
/** At most 255 elements. */
export const packageOf = (items: readonly (readonly number[])[]): number[] => withLength([0x12], [items.length, ...items.flat()]);

export function eisaId(id: string): number[] {
  const letter = (n: number): number => id.charCodeAt(n) - 0x40;
  const vendor = (letter(0) << 10) | (letter(1) << 5) | letter(2);
  const product = Number.parseInt(id.slice(3), 16);
  return [0x0c, vendor >> 8, vendor & 0xff, product >> 8, product & 0xff];
}

/** A resource template: a buffer with an end tag. */
export function resources(descriptors: readonly number[]): number[] {
  const data = [...descriptors, 0x79, 0];
  return withLength([0x11], [...integer(data.length), ...data]);
}
export const io = (base: number, length: number): number[] => [0x47, 1, ...u16(base), ...u16(base), 1, length];
export const irq = (n: number): number[] => [0x22, ...u16(1 << n)];
export const memory32Fixed = (base: number, length: number): number[] => [0x86, 9, 0, 1, ...u32(base), ...u32(length)];

const fixedRange = 0x0c; // minimum and maximum are fixed, positive decode
const word = (type: number, flags: number, min: number, max: number): number[] => [0x88, 13, 0, type, fixedRange, flags, ...u16(0), ...u16(min), ...u16(max), ...u16(0), ...u16(max - min + 1)];
export const wordBusNumber = (min: number, max: number): number[] => word(2, 0, min, max);
export const wordIo = (min: number, max: number): number[] => word(1, 3, min, max);
export const dwordMemory = (min: number, max: number): number[] => [
  0x87, 23, 0, 0, fixedRange, 1, ...u32(0), ...u32(min), ...u32(max), ...u32(0), ...u32(max - min + 1),
];
