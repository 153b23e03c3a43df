/** What the helpers work on: the vCPU with its paging unit, and accesses to system structures by linear address. */
import { Decoder } from '../isa/decode.ts';
import { AddressSpaces } from './address-spaces.ts';
import { Fault, Vector } from './fault.ts';
import type { HelperTable } from './helpers/helper.ts';
import { accessOf, systemRead, systemWrite } from './page-walk.ts';
import { Paging } from './paging.ts';
import type { Vcpu } from './vcpu.ts';
import type { Virtualization } from './vm-exit.ts';

export class Processor {
  readonly v: Vcpu;
  readonly paging: Paging;
  readonly spaces: AddressSpaces;
  readonly decoder: Decoder;
  /** What instructions leave to TypeScript. The engine takes them when it is made. */
  helpers: HelperTable;
  virtualization: Virtualization | undefined;

  constructor(v: Vcpu, helpers: HelperTable) {
    this.v = v;
    this.helpers = helpers;
    this.paging = new Paging(v);
    this.spaces = new AddressSpaces(v);
    this.decoder = new Decoder(v.model.instructions);
  }

  /** With the rights of the current privilege level. */
  load(address: bigint, bytes: number): bigint {
    this.#checkAlignment(address, bytes);
    return this.paging.read(BigInt.asUintN(64, address), bytes, accessOf(this.v, 'read'));
  }
  store(address: bigint, bytes: number, value: bigint): void {
    this.#checkAlignment(address, bytes);
    this.paging.write(BigInt.asUintN(64, address), bytes, value, accessOf(this.v, 'write'));
  }
  /** Faults as a store would, and stores nothing: before an instruction stores in pieces. */
  checkStore(address: bigint, bytes: number): void {
    this.#checkAlignment(address, bytes);
    this.paging.read(BigInt.asUintN(64, address), bytes, accessOf(this.v, 'write'));
  }
  #checkAlignment(address: bigint, bytes: number): void {
    if (this.v.checksAlignment && (Number(address & 7n) & (bytes - 1)) !== 0) throw new Fault(Vector.alignment, 0);
  }
  /** Descriptor tables, TSS, stacks of an inner level: supervisor rights whatever the CPL. */
  loadSystem(address: bigint, bytes: number): bigint {
    return this.paging.read(BigInt.asUintN(64, address), bytes, systemRead);
  }
  storeSystem(address: bigint, bytes: number, value: bigint): void {
    this.paging.write(BigInt.asUintN(64, address), bytes, value, systemWrite);
  }
}
