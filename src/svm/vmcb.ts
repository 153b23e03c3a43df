/** The VMCB: 4 KiB of guest memory with a control area and a save area. The page is the truth; nothing is cached. APM 2, appendix B. */
import { Segment } from '../cpu/state.ts';
import { type FramePool, pageBytes } from '../memory/pool.ts';

/** Offsets in the control area, in bytes. */
export const Control = {
  intercepts: 0x000,
  ioMap: 0x040,
  msrMap: 0x048,
  tscOffset: 0x050,
  asid: 0x058,
  tlb: 0x05c,
  virtualInterrupt: 0x060,
  shadow: 0x068,
  exitCode: 0x070,
  exitInfo1: 0x078,
  exitInfo2: 0x080,
  exitEvent: 0x088,
  nested: 0x090,
  injection: 0x0a8,
  nestedCr3: 0x0b0,
  nextRip: 0x0c8,
  fetched: 0x0d0,
} as const;

/** In the nested-paging field. */
export const nestedPagingBit = 1n;

/** Offsets in the save area. */
export const Save = {
  segments: 0x400,
  gdtr: 0x460,
  idtr: 0x480,
  cpl: 0x4cb,
  efer: 0x4d0,
  cr4: 0x548,
  cr3: 0x550,
  cr0: 0x558,
  dr7: 0x560,
  dr6: 0x568,
  rflags: 0x570,
  rip: 0x578,
  rsp: 0x5d8,
  rax: 0x5f8,
  star: 0x600,
  lstar: 0x608,
  cstar: 0x610,
  sfmask: 0x618,
  kernelGsBase: 0x620,
  sysenterCs: 0x628,
  sysenterEsp: 0x630,
  sysenterEip: 0x638,
  cr2: 0x640,
  pat: 0x668,
} as const;
/** Records of 16 bytes: selector, rights, limit, base. */
export const segmentPlace: Readonly<Record<number, number>> = {
  [Segment.es]: 0x400,
  [Segment.cs]: 0x410,
  [Segment.ss]: 0x420,
  [Segment.ds]: 0x430,
  [Segment.fs]: 0x440,
  [Segment.gs]: 0x450,
  [Segment.ldtr]: 0x470,
  [Segment.tr]: 0x490,
};

/** Bits of the virtual-interrupt field. */
export const VirtualInterrupt = {
  priority: 0xf,
  tprMask: 0xff,
  pending: 1 << 8,
  priorityShift: 16,
  ignoresTpr: 1 << 20,
  masking: 1 << 24,
  vectorOffset: 4,
} as const;

export class Vmcb {
  readonly #pool: FramePool;
  #at = 0;

  constructor(pool: FramePool) {
    this.#pool = pool;
  }
  select(frame: number): void {
    this.#at = frame * pageBytes;
  }
  get32(offset: number): number {
    return this.#pool.view.getUint32(this.#at + offset, true);
  }
  set32(offset: number, value: number): void {
    this.#pool.view.setUint32(this.#at + offset, value, true);
  }
  get64(offset: number): bigint {
    return this.#pool.view.getBigUint64(this.#at + offset, true);
  }
  set64(offset: number, value: bigint): void {
    this.#pool.view.setBigUint64(this.#at + offset, value, true);
  }
  get16(offset: number): number {
    return this.#pool.view.getUint16(this.#at + offset, true);
  }
  set16(offset: number, value: number): void {
    this.#pool.view.setUint16(this.#at + offset, value, true);
  }
  get8(offset: number): number {
    return this.#pool.view.getUint8(this.#at + offset);
  }
  set8(offset: number, value: number): void {
    this.#pool.view.setUint8(this.#at + offset, value);
  }
}
