/**
 * EPT tables that the monitor writes: EPT01, under which its guest runs, and EPT02, the composition of the guest's own tables with EPT01
 * (multi-dimensional paging). EPT02 grows by violations; INVEPT drops it. The Turtles paper, 3.3.
 */
import { pageBytes } from '../../memory/pool.ts';
import type { GuestSpace } from '../../memory/space.ts';
import type { MonitorMemory } from './memory.ts';

const all = 7n;
const writeBack = 6n << 3n;
const large = 0x80n;
const addressMask = 0xff_ffff_f000n;
const present = 7n;
const entryBytes = 8;
/** Tables of a path from the root to a page, with the root. */
const pathTables = 4;
const entries = 512;
/** Nobody's memory: what the guest finds where the monitor is. */
const nobody = 0xff_ffe0_0000n;
export const nobodysPage = Number(nobody / BigInt(pageBytes));
const gibibyte = 2 ** 30;
const largePage = 2 ** 21;

const addressOf = (page: number): number => page * pageBytes;
const pointerTo = (page: number): bigint => BigInt(addressOf(page)) | all;

/** All 40 bits of physical addresses onto themselves, but for the monitor's own pages. Returns the root. */
export function identityTables(space: GuestSpace, memory: MonitorMemory): number {
  const root = memory.allocate();
  const { base, size } = memory.range;
  for (let half = 0; half < 2; half++) {
    const directory = memory.allocate();
    space.write64(addressOf(root) + half * entryBytes, pointerTo(directory));
    for (let n = 0; n < entries; n++) {
      const start = (half * entries + n) * gibibyte;
      const whole = base < start || base >= start + gibibyte;
      space.write64(
        addressOf(directory) + n * entryBytes,
        whole ? BigInt(start) | all | writeBack | large : pointerTo(splitGibibyte(space, memory, start, base, size)),
      );
    }
  }
  return root;
}
function splitGibibyte(space: GuestSpace, memory: MonitorMemory, start: number, base: number, size: number): number {
  const table = memory.allocate();
  for (let n = 0; n < entries; n++) {
    const at = start + n * largePage;
    const target = at >= base && at < base + size ? nobody : BigInt(at);
    space.write64(addressOf(table) + n * entryBytes, target | all | writeBack | large);
  }
  return table;
}

/** The roots of EPT02, by the EPT pointers of the guest. */
export class ComposedTables {
  readonly #space: GuestSpace;
  readonly #memory: MonitorMemory;
  readonly #roots = new Map<bigint, number[]>();
  readonly #dropped: () => void;

  /** `dropped`: translations that came from tables which are no more must go. */
  constructor(space: GuestSpace, memory: MonitorMemory, dropped: () => void) {
    this.#space = space;
    this.#memory = memory;
    this.#dropped = dropped;
  }
  /** The root for the guest's EPT pointer. */
  rootOf(pointer: bigint): number {
    const known = this.#roots.get(pointer)?.[0];
    if (known !== undefined) return known;
    this.#makeRoom();
    const root = this.#memory.allocate();
    this.#roots.set(pointer, [root]);
    return root;
  }
  /** Lets go of everything when memory is short: it comes again by violations. */
  #makeRoom(): void {
    if (this.#memory.left < pathTables) this.drop(() => true);
  }
  drop(test: (pointer: bigint) => boolean): void {
    let any = false;
    for (const [pointer, pages] of this.#roots) {
      if (!test(pointer)) continue;
      for (const page of pages) this.#memory.release(page);
      this.#roots.delete(pointer);
      any = true;
    }
    if (any) this.#dropped();
  }
  /** Maps a page of the guest's guest to a page of the machine, with rights R, W, X in bits 0 to 2. The root may be another one afterwards. */
  fill(pointer: bigint, page: number, below: number, rights: number): void {
    this.#makeRoom();
    let table = this.rootOf(pointer);
    for (let level = 4; level > 1; level--) {
      const at = addressOf(table) + (Math.floor(page / 2 ** (9 * (level - 1))) % entries) * entryBytes;
      const entry = this.#space.read64(at);
      if ((entry & present) !== 0n) {
        table = Number((entry & addressMask) / BigInt(pageBytes));
        continue;
      }
      table = this.#memory.allocate();
      this.#roots.get(pointer)?.push(table);
      this.#space.write64(at, pointerTo(table));
    }
    this.#space.write64(addressOf(table) + (page % entries) * entryBytes, BigInt(addressOf(below)) | BigInt(rights & 7) | writeBack);
  }
}
