/**
 * Nested page tables: guest-physical pages to the machine's pages, by tables of the processor's own long-mode format. The software TLB holds the
 * composition of both stages, so that this walk happens only when it is filled. APM 2, 15.25.
 */
import { markEntry, type Purpose, type SecondStage } from '../cpu/page-walk.ts';
import type { Processor } from '../cpu/processor.ts';
import { VmExit } from '../cpu/vm-exit.ts';
import { pageBytes } from '../memory/pool.ts';
import { ExitCode } from './exit-codes.ts';

const Entry = { present: 1, writable: 2, user: 4, accessed: 0x20, dirty: 0x40, large: 0x80 } as const;
const noExecute = 0x8000_0000 | 0;
/** Physical addresses have 40 bits. */
const reservedHigh = 0x000f_ff00;
const physicalHigh = 0xff;
const pagesMax = 2 ** 36;
/** Pages that an entry of a level spans, from the lowest level on. */
const spans = [1, 2 ** 9, 2 ** 18, 2 ** 27] as const;
/** Bits of EXITINFO1. APM 2, 15.25.6. */
const Fault = { present: 1n, write: 2n, user: 4n, reserved: 8n, fetch: 16n, final: 1n << 32n, table: 1n << 33n } as const;

export class NestedPaging implements SecondStage {
  readonly rereadsPointers = true;
  readonly #p: Processor;
  readonly #passed = new Int32Array(4);
  #root = 0;

  constructor(p: Processor) {
    this.#p = p;
  }
  use(cr3: bigint): void {
    this.#root = Number((cr3 & 0xff_ffff_f000n) >> 12n);
  }

  page(page: number, offset: number, write: boolean, execute: boolean, purpose: Purpose): number {
    const final = purpose === 'access';
    const { v } = this.#p;
    // walks of the guest's tables may set flags in them: they are writes
    const writes = write || purpose === 'structure';
    const fault = (bits: bigint): never => {
      const kind = Fault.user | (writes ? Fault.write : 0n) | (execute ? Fault.fetch : 0n) | (final ? Fault.final : Fault.table);
      const second = BigInt(page) * BigInt(pageBytes) + BigInt(offset);
      throw new VmExit(ExitCode.nestedPageFault, kind | bits, { second });
    };
    if (page >= pagesMax) return fault(0n);
    let table = this.#root;
    let writable = true;
    let executable = true;
    for (let level = 4; ; level--) {
      const span = spans[level - 1] as number;
      const index = Math.floor(page / span) & 0x1ff;
      const frame = v.space.frameOf(table);
      const at = (frame * pageBytes + index * 8) >>> 2;
      const entry = frame === 0 ? 0 : (v.words[at] ?? 0);
      const upper = frame === 0 ? 0 : (v.words[at + 1] ?? 0);
      if ((entry & Entry.present) === 0) return fault(0n);
      const large = (entry & Entry.large) !== 0 && level > 1;
      const base = (upper & physicalHigh) * 0x10_0000 + (entry >>> 12);
      const misplaced = large && (level === 4 || ((base % span) & ~1) !== 0); // bit 12 of a large page is PAT
      if ((upper & reservedHigh) !== 0 || misplaced) return fault(Fault.present | Fault.reserved);
      writable &&= (entry & Entry.writable) !== 0;
      executable &&= (upper & noExecute) === 0;
      if ((entry & Entry.user) === 0) return fault(Fault.present);
      this.#passed[4 - level] = at;
      if (level > 1 && !large) {
        table = base;
        continue;
      }
      if ((writes && !writable) || (execute && !executable)) return fault(Fault.present);
      this.#mark(5 - level, writes);
      return base - (base % span) + (page % span);
    }
  }
  #mark(count: number, write: boolean): void {
    const { v } = this.#p;
    for (let n = 0; n < count; n++) markEntry(v, this.#passed[n] ?? 0, Entry.accessed | (write && n === count - 1 ? Entry.dirty : 0));
  }
}
