/** A fault, trap or software interrupt on its way to the guest. Thrown, never shown: it carries no stack. */
export class Fault {
  readonly vector: number;
  /** Pushed by vectors that have one. */
  readonly error: number | undefined;
  /** Linear address of a page fault: for CR2, when the fault is delivered. */
  readonly address: bigint | undefined;
  /** An IRET met it after it had ended the blocking of NMIs. */
  unblockedNmis = false;
  constructor(vector: number, error?: number, address?: bigint) {
    this.vector = vector;
    this.error = error;
    this.address = address;
  }
}

export const Vector = {
  divide: 0, debug: 1, nmi: 2, breakpoint: 3, overflow: 4, bound: 5, undefined: 6, deviceNotAvailable: 7, doubleFault: 8, invalidTss: 10,
  notPresent: 11, stack: 12, protection: 13, page: 14, float: 16, alignment: 17, machineCheck: 18, simd: 19, virtualization: 20,
} as const;

export const protection = (error = 0): Fault => new Fault(Vector.protection, error);
export const undefinedOpcode = (): Fault => new Fault(Vector.undefined);

/** The guest shut itself down: a fault while delivering a double fault. */
export class TripleFault {
  readonly why: string;
  constructor(why: string) {
    this.why = why;
  }
}
