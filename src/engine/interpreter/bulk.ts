/**
 * All but the last iterations of REP MOVS and REP STOS at once, as far as the pages at hand reach and nothing special is met.
 * The handler does the next iteration itself, so these may stop anywhere, or do nothing.
 */
import { Fault } from '../../cpu/fault.ts';
import { accessOf } from '../../cpu/paging.ts';
import type { Processor } from '../../cpu/processor.ts';
import { At, Flag, Segment } from '../../cpu/state.ts';
import { pageBytes } from '../../memory/pool.ts';

const smallest = 8;

/** Plain memory behind a flat 64-bit address, or 0 (device, no mapping, decoded code when written). */
function hostOf(p: Processor, address: bigint, kind: 'read' | 'write'): number {
  const { v, paging } = p;
  const low = Number(address & 0xffff_ffffn) | 0;
  const high = Number((address >> 32n) & 0xffff_ffffn) | 0;
  if (high >> 15 !== 0 && high >> 15 !== -1) return 0;
  try {
    const page = paging.translate(low, high, accessOf(v, kind));
    if (kind === 'write' && v.space.isReadOnly(page)) return 0;
    const frame = v.space.frameOf(page);
    if (frame === 0) return 0;
    if (kind === 'write' && ((v.pool.code[frame * 2] ?? 0) | (v.pool.code[frame * 2 + 1] ?? 0)) !== 0) return 0;
    return frame * pageBytes + (low & 0xfff);
  } catch (problem) {
    if (problem instanceof Fault) return 0; // the single iteration will raise it, with exact registers
    throw problem;
  }
}

/** How many iterations may be done: the count less one, the fuel, and what is left of the pages. */
function iterations(p: Processor, bytes: number, ...addresses: number[]): number {
  const { v } = p;
  const count = v.register(1);
  const wanted = count > 1_000_000n ? 1_000_000 : Number(count) - 1;
  return addresses.reduce(
    (least, address) => Math.min(least, Math.floor((pageBytes - (address & 0xfff)) / bytes)),
    Math.min(wanted, v.get(At.fuel)),
  );
}

function finish(p: Processor, done: number, bytes: number, ...registers: number[]): void {
  const { v } = p;
  for (const n of registers) v.setRegister(n, v.register(n) + BigInt(done * bytes));
  v.setRegister(1, v.register(1) - BigInt(done));
  v.set(At.fuel, v.get(At.fuel) - done);
}

const applies = (p: Processor, addressSize: number): boolean =>
  addressSize === 64 &&
  p.v.long &&
  p.v.register(1) > BigInt(smallest) &&
  (p.v.systemFlags & (Flag.direction | Flag.trap)) === 0 &&
  (p.v.dr7 & 0xff) === 0 &&
  !p.v.checksAlignment;

export function bulkStore(p: Processor, bytes: number, addressSize: number): void {
  const { v } = p;
  if (!applies(p, addressSize)) return;
  const to = hostOf(p, v.register(7), 'write');
  if (to === 0) return;
  const n = iterations(p, bytes, to);
  if (n < smallest) return;
  const value = v.register(0);
  const low = BigInt.asUintN(bytes * 8, value);
  if (bytes === 1 || low === 0n) v.pool.bytes.fill(Number(low & 0xffn), to, to + n * bytes);
  else {
    for (let at = 0; at < bytes; at++) v.pool.bytes[to + at] = Number((low >> BigInt(8 * at)) & 0xffn);
    for (let done = bytes; done < n * bytes; done *= 2) v.pool.bytes.copyWithin(to + done, to, to + Math.min(done, n * bytes - done));
  }
  finish(p, n, bytes, 7);
}

export function bulkMove(p: Processor, bytes: number, addressSize: number, segment: number): void {
  const { v } = p;
  if (!applies(p, addressSize)) return;
  const source = segment >= Segment.fs ? BigInt.asUintN(64, v.register(6) + v.get64(At.segmentBase, segment)) : v.register(6);
  const from = hostOf(p, source, 'read');
  const to = hostOf(p, v.register(7), 'write');
  if (from === 0 || to === 0) return;
  const n = iterations(p, bytes, from, to);
  // an overlap that copies upward repeats a pattern: left to single iterations
  if (n < smallest || (to > from && to < from + n * bytes)) return;
  v.pool.bytes.copyWithin(to, from, from + n * bytes);
  finish(p, n, bytes, 6, 7);
}
