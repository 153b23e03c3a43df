/** The level-0 monitor's own pages: a range of the machine's memory that its guest cannot reach by addresses of its own. */
import { assert } from '../../base/assert.ts';
import { pageBytes } from '../../memory/pool.ts';
import type { GuestSpace, RamRange } from '../../memory/space.ts';

const monitorBytes = 16 * 2 ** 20;
const hole = 0xa000_0000;
const fourGiB = 2 ** 32;

/** Behind the guest's RAM, aligned to its own size. */
export function monitorRange(ram: readonly RamRange[]): RamRange {
  const end = Math.max(...ram.map((r) => r.base + r.size));
  const base = Math.ceil((end > hole && end < fourGiB ? fourGiB : end) / monitorBytes) * monitorBytes;
  return { base, size: monitorBytes };
}

export class MonitorMemory {
  readonly range: RamRange;
  readonly #space: GuestSpace;
  #next: number;
  readonly #free: number[] = [];

  constructor(space: GuestSpace, range: RamRange) {
    this.range = range;
    this.#space = space;
    this.#next = range.base / pageBytes;
  }
  /** Pages that can still be had. */
  get left(): number {
    return (this.range.base + this.range.size) / pageBytes - this.#next + this.#free.length;
  }
  /** A page of zeros by its number. There must be one left. */
  allocate(): number {
    assert(this.left > 0, 'the monitor has no page left');
    const page = this.#free.pop() ?? this.#next++;
    this.#space.zero(page * pageBytes, pageBytes);
    return page;
  }
  release(page: number): void {
    this.#free.push(page);
  }
  contains(page: number): boolean {
    return page * pageBytes >= this.range.base && page * pageBytes < this.range.base + this.range.size;
  }
}
