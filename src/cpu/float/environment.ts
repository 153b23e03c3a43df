/** FNSTENV, FLDENV, FNSAVE, FRSTOR in their 16- and 32-bit formats, and the FXSAVE and XSAVE areas. SDM 1, 8.1.10 and 10.5; chapter 13. */

import { protection } from '../fault.ts';
import { accessOf } from '../page-walk.ts';
import type { Processor } from '../processor.ts';
import { At, offsetOf, Segment } from '../state.ts';
import type { FloatStack } from './registers.ts';

export function storeEnvironment(p: Processor, stack: FloatStack, address: bigint, size: number): void {
  const { v } = p;
  const ip = v.get64(At.floatIp);
  const data = v.get64(At.floatData);
  const cs = BigInt(v.get(At.segmentSelector, Segment.cs));
  if (size === 16) {
    [stack.control, stack.status, stack.tags, Number(ip & 0xffffn), Number(cs), Number(data & 0xffffn), 0].forEach((word, n) => p.store(address + BigInt(2 * n), 2, BigInt(word)));
  } else {
    const upper = 0xffff_0000n;
    const words = [BigInt(stack.control) | upper, BigInt(stack.status) | upper, BigInt(stack.tags) | upper, ip & 0xffff_ffffn, cs | (BigInt(v.get(At.floatOpcode)) << 16n), data & 0xffff_ffffn, upper];
    words.forEach((word, n) => p.store(address + BigInt(4 * n), 4, word));
  }
  stack.control = stack.control | 0x3f;
}

export function loadEnvironment(p: Processor, stack: FloatStack, address: bigint, size: number): void {
  const bytes = size === 16 ? 2 : 4;
  const [control = 0, status = 0, tags = 0, ip = 0, code = 0, data = 0] = [0, 1, 2, 3, 4, 5].map((n) => Number(p.load(address + BigInt(bytes * n), bytes)));
  stack.tags = tags & 0xffff;
  stack.control = control & 0xffff;
  stack.status = status & 0xffff;
  p.v.set64(At.floatIp, BigInt(ip >>> 0));
  p.v.set64(At.floatData, BigInt(data >>> 0));
  if (size !== 16) p.v.set(At.floatOpcode, (code >>> 16) & 0x7ff);
}

export function saveState(p: Processor, stack: FloatStack, address: bigint, size: number): void {
  const start = address + (size === 16 ? 14n : 28n);
  for (let n = 0; n < 8; n++) {
    const value = stack.get(n);
    p.store(start + BigInt(10 * n), 8, value & 0xffff_ffff_ffff_ffffn);
    p.store(start + BigInt(10 * n + 8), 2, value >> 64n);
  }
  storeEnvironment(p, stack, address, size);
  stack.initialise();
}
export function restoreState(p: Processor, stack: FloatStack, address: bigint, size: number): void {
  const start = address + (size === 16 ? 14n : 28n);
  const values = Array.from({ length: 8 }, (_, n) => p.load(start + BigInt(10 * n), 8) | (p.load(start + BigInt(10 * n + 8), 2) << 64n));
  loadEnvironment(p, stack, address, size);
  values.forEach((value, n) => stack.setRaw((p.v.get(At.floatTop) + n) & 7, value));
}

// --- FXSAVE and XSAVE
const legacyAreaBytes = 512;

/** FXSAVE in 64-bit mode at once, where its area is plain memory in one page; false when it is not. */
export function saveLegacyArea(p: Processor, stack: FloatStack, address: bigint): boolean {
  const { v } = p;
  const at = p.paging.plain(address, legacyAreaBytes, accessOf(v, 'write'));
  if (at === 0) return false;
  const { view, bytes } = v.pool;
  view.setUint16(at, stack.control, true);
  view.setUint16(at + 2, stack.status, true);
  view.setUint16(at + 4, ~v.get(At.floatEmpty) & 0xff, true);
  view.setUint16(at + 6, v.get(At.floatOpcode), true);
  view.setBigUint64(at + 8, v.get64(At.floatIp), true);
  view.setBigUint64(at + 16, v.get64(At.floatData), true);
  view.setUint32(at + 24, v.get(At.mxcsr), true);
  view.setUint32(at + 28, mxcsrMask, true);
  const top = v.get(At.floatTop);
  for (let n = 0; n < 8; n++) {
    const from = v.base + At.float + 16 * ((top + n) & 7);
    const to = at + 32 + 16 * n;
    bytes.copyWithin(to, from, from + 10);
    bytes.fill(0, to + 10, to + 16);
  }
  bytes.copyWithin(at + 160, v.base + At.xmm, v.base + At.xmm + 256);
  return true;
}
/** FXRSTOR likewise. */
export function loadLegacyArea(p: Processor, stack: FloatStack, address: bigint): boolean {
  const { v } = p;
  const at = p.paging.plain(address, legacyAreaBytes, accessOf(v, 'read'));
  if (at === 0) return false;
  const { view, bytes } = v.pool;
  checkMxcsr(view.getUint32(at + 24, true));
  v.set(At.mxcsr, view.getUint32(at + 24, true));
  stack.control = view.getUint16(at, true);
  stack.status = view.getUint16(at + 2, true);
  v.set(At.floatEmpty, ~view.getUint8(at + 4) & 0xff);
  v.set(At.floatOpcode, view.getUint16(at + 6, true) & 0x7ff);
  v.set64(At.floatIp, view.getBigUint64(at + 8, true));
  v.set64(At.floatData, view.getBigUint64(at + 16, true));
  const top = v.get(At.floatTop);
  for (let n = 0; n < 8; n++) {
    const to = v.base + At.float + 16 * ((top + n) & 7);
    bytes.copyWithin(to, at + 32 + 16 * n, at + 42 + 16 * n);
  }
  bytes.copyWithin(v.base + At.xmm, at + 160, at + 416);
  return true;
}

const mxcsrMask = 0xffff;
export function checkMxcsr(value: number): void {
  if ((value & ~mxcsrMask) !== 0) throw protection(0);
}

const xmmCount = (p: Processor): number => (p.v.long ? 16 : 8);

export function saveX87(p: Processor, stack: FloatStack, at: bigint, wide: boolean): void {
  const { v } = p;
  let tags = 0;
  for (let n = 0; n < 8; n++) if ((v.get(At.floatEmpty) & (1 << n)) === 0) tags |= 1 << n;
  p.store(at, 8, BigInt(stack.control) | (BigInt(stack.status) << 16n) | (BigInt(tags) << 32n) | (BigInt(v.get(At.floatOpcode)) << 48n));
  p.store(at + 8n, 8, wide ? v.get64(At.floatIp) : v.get64(At.floatIp) & 0xffff_ffffn);
  p.store(at + 16n, 8, wide ? v.get64(At.floatData) : v.get64(At.floatData) & 0xffff_ffffn);
  for (let n = 0; n < 8; n++) {
    const value = stack.get(n);
    p.store(at + BigInt(32 + 16 * n), 8, value & 0xffff_ffff_ffff_ffffn);
    p.store(at + BigInt(40 + 16 * n), 8, value >> 64n);
  }
}
export function loadX87(p: Processor, stack: FloatStack, at: bigint, wide: boolean): void {
  const { v } = p;
  const head = p.load(at, 8);
  const [ip, data] = [p.load(at + 8n, 8), p.load(at + 16n, 8)];
  const values = Array.from({ length: 8 }, (_, n) => p.load(at + BigInt(32 + 16 * n), 8) | ((p.load(at + BigInt(40 + 16 * n), 8) & 0xffffn) << 64n));
  stack.control = Number(head & 0xffffn);
  stack.status = Number((head >> 16n) & 0xffffn);
  v.set(At.floatEmpty, ~Number((head >> 32n) & 0xffn) & 0xff);
  v.set(At.floatOpcode, Number((head >> 48n) & 0x7ffn));
  v.set64(At.floatIp, wide ? ip : ip & 0xffff_ffffn);
  v.set64(At.floatData, wide ? data : data & 0xffff_ffffn);
  values.forEach((value, n) => stack.setRaw((v.get(At.floatTop) + n) & 7, value));
}
export function saveMxcsr(p: Processor, at: bigint): void {
  p.store(at + 24n, 8, BigInt(p.v.get(At.mxcsr)) | (BigInt(mxcsrMask) << 32n));
}
export function saveXmm(p: Processor, at: bigint): void {
  for (let n = 0; n < xmmCount(p) * 2; n++) p.store(at + BigInt(160 + 8 * n), 8, p.v.quads[(p.v.base + xmmOffset(n)) >>> 3] ?? 0n);
}
export function loadXmm(p: Processor, at: bigint): void {
  const values = Array.from({ length: xmmCount(p) * 2 }, (_, n) => p.load(at + BigInt(160 + 8 * n), 8));
  values.forEach((value, n) => {
    p.v.quads[(p.v.base + xmmOffset(n)) >>> 3] = value;
  });
}
export function initialiseXmm(p: Processor): void {
  for (let n = 0; n < xmmCount(p) * 2; n++) p.v.quads[(p.v.base + xmmOffset(n)) >>> 3] = 0n;
}
const xmmOffset = (half: number): number => offsetOf('xmm') + 8 * half;
