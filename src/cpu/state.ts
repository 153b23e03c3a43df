/** The vCPU's state as one struct in machine memory: generated code, TypeScript and snapshots share these offsets. */
import { layout } from '../base/layout.ts';

export const stateLayout = layout([
  ['gpr', 8, 16],
  /** Always zero: what an absent base, index or segment reads. */
  ['zero', 8],
  /** The address of a record's instruction, as an offset in CS, is codePage + the record's offset in its page. */
  ['codePage', 8],
  /** Where to continue when no record is current. */
  ['ip', 8],
  /** Zero, sign and parity come from the result (sign-extended), carry, overflow and adjust from `flagBits`: see cpu/flags.ts. */
  ['flagResult', 8],
  ['flagBits', 4],
  ['systemFlags', 4],
  /** Address of the current record, or 0. */
  ['record', 4],
  /** Instructions left to run; may go below zero by a bulk operation. */
  ['fuel', 4],
  ['pending', 4],
  /** After so many entries a place of code is hot. */
  ['hotEntries', 4],
  /**
   * How often regions did not find their memory in the software TLB since this was cleared, less how often instructions by themselves did not; and the
   * record that the last region that did not was entered by.
   */
  ['misses', 4],
  ['missedIn', 4],
  /** Length of the instruction when no record is current, and 1 while it reaches memory in SS (evaluator). */
  ['length', 4],
  ['inStack', 4],
  /** Key of translations of code: code size (2 bits), restricted floating point, CPL 3, TLB context (4 bits); low bits of the instruction TLB's tags. */
  ['codeMode', 8],
  /** Of code at CPL 0 to 2, and at CPL 3: see cpu/jump-epochs.ts. The lowest byte is 0. */
  ['jumpEpoch', 4, 2],
  /** The key of what the jump cache knows now: the epoch of the code that runs, and its mode. */
  ['jumpKey', 4],
  ['interruptShadow', 8],
  /** The same place when MOV SS or POP SS cast the shadow. */
  ['stackShadow', 8],
  ['cpl', 4],
  /** Which set of TLB banks is in use, as a byte offset: see cpu/address-spaces.ts. */
  ['tlbContext', 4],
  ['tlbRead', 4],
  ['tlbWrite', 4],
  ['mxcsr', 4],
  ['segmentBase', 8, 8],
  ['segmentLimit', 4, 8],
  ['segmentSelector', 4, 8],
  /** Bits 8 to 23 of a descriptor's upper half, shifted down by 8 (type, S, DPL, P, AVL, L, D, G); bit 16 set: unusable (null). */
  ['segmentRights', 4, 8],
  ['gdtBase', 8],
  ['idtBase', 8],
  ['gdtLimit', 4],
  ['idtLimit', 4],
  ['cr0', 8],
  ['cr2', 8],
  ['cr3', 8],
  ['cr4', 8],
  /** The page-directory pointers of PAE paging, as they were loaded. */
  ['pdpte', 8, 4],
  ['xcr0', 8],
  ['efer', 8],
  ['debug', 8, 8],
  ['star', 8],
  ['lstar', 8],
  ['cstar', 8],
  ['sfmask', 8],
  ['kernelGsBase', 8],
  ['tscAux', 8],
  ['sysenterCs', 8],
  ['sysenterEsp', 8],
  ['sysenterEip', 8],
  ['pat', 8],
  ['mtrrDefault', 8],
  ['mtrrVariable', 8, 16],
  ['mtrrFixed', 8, 11],
  ['apicBase', 8],
  ['tscOffset', 8],
  ['tscAdjust', 8],
  ['miscEnable', 8],
  ['debugControl', 8],
  ['featureControl', 8],
  /** 0: outside VMX operation, 1: root, 2: non-root, 3: a guest runs under SVM. */
  ['vmxOperation', 4],
  /** Exits due before the next instruction: see vmx/vmx.ts. */
  ['vmxPending', 4],
  /** Qualification of an exit that follows a write to the virtual APIC. */
  ['vmxPendingQualification', 4],
  /** VM entries and exits add this to what the guest reads of the TSC. */
  ['vmxTscOffset', 8],
  /** TSC scaling, with 48 fraction bits; 0: none. */
  ['vmxTscMultiplier', 8],
  /** Guest-physical addresses; all ones: none. */
  ['vmxonPointer', 8],
  ['vmcsPointer', 8],
  /** The same three of the VMX that a level-0 monitor makes for its guest. */
  ['virtualVmxOperation', 4],
  ['virtualVmxonPointer', 8],
  ['virtualVmcsPointer', 8],
  /** SVM: address of the VMCB that runs, of the host save area, and 1 while the global interrupt flag is clear. */
  ['vmcb', 8],
  ['hostSaveArea', 8],
  ['interruptsHeld', 4],
  /** NMIs stay blocked for the hypervisor while its guest has virtual NMIs. */
  ['hostNmiBlocked', 4],
  /** Instructions retired at the first and the last PAUSE of a loop. */
  ['pauseFirst', 8],
  ['pauseLast', 8],
  /** When the VMX-preemption timer expires, in TSC ticks; 0: not running. */
  ['preemptionDeadline', 8],
  /** For each TLB context (cpu/address-spaces.ts): the software's tag, its tables and PCID, the guarded page, and the registers its translations were made under. */
  ['spaceTag', 8, 16],
  ['spaceTables', 8, 16],
  ['spacePcid', 4, 16],
  ['spaceGuarded', 8, 16],
  ['spaceCr0', 8, 16],
  ['spaceCr3', 8, 16],
  ['spaceCr4', 8, 16],
  ['spaceEfer', 8, 16],
  /** When it was entered last, in entries so far. */
  ['spaceUsed', 8, 16],
  ['spaceEntries', 8],
  /** Breakpoints that the instruction at hand has met: bits 0 to 3 of DR6. */
  ['debugHits', 4],
  /** Causes of a debug trap that waits for its turn: bits 0 to 3 of DR6, and 14 for a single step. */
  ['pendingDebug', 4],
  /** NMIs are blocked until IRET. */
  ['nmiBlocked', 4],
  ['halted', 4],
  ['floatControl', 4],
  ['floatStatus', 4],
  /** Two bits per physical register would be redundant: 1 means empty. */
  ['floatEmpty', 4],
  ['floatTop', 4],
  ['floatOpcode', 4],
  ['floatIp', 8],
  ['floatData', 8],
  /** Physical x87 registers R0 to R7 (not relative to the top): 8 bytes significand, 2 bytes sign and exponent. */
  ['float', 16, 8],
  ['xmm', 16, 16],
  /** What an x87 store is about to write, and the status word after it. */
  ['floatOut', 8, 2],
  ['floatOutStatus', 4],
  /** Where accesses that are not plain memory leave or find their bytes. */
  ['scratch', 16, 2],
] as const);

/** Bit of a code mode: at CPL 3. */
export const userCode = 8;

export type StateField = keyof typeof stateLayout.fields;
export function offsetOf(field: StateField, index = 0): number {
  const { offset, size } = stateLayout.fields[field];
  return offset + size * index;
}

/** Byte offsets of the fields in a vCPU's area: what `Vcpu.get` and its relatives take. */
export const At = Object.fromEntries(Object.values(stateLayout.fields).map((f) => [f.name, f.offset])) as Readonly<Record<StateField, number>>;

export const Segment = { es: 0, cs: 1, ss: 2, ds: 3, fs: 4, gs: 5, ldtr: 6, tr: 7 } as const;

/** Bits of `segmentRights`. */
export const Rights = {
  type: 0xf, accessed: 1, writableOrReadable: 2, expandDownOrConforming: 4, code: 8,
  system: 0x10, dplShift: 5, present: 0x80, long: 0x2000, big: 0x4000, granular: 0x8000, unusable: 0x1_0000,
} as const;

export const Flag = {
  carry: 1, fixed: 2, parity: 4, adjust: 0x10, zero: 0x40, sign: 0x80, trap: 0x100, interrupt: 0x200, direction: 0x400, overflow: 0x800,
  iopl: 0x3000, nested: 0x4000, resume: 0x1_0000, virtual8086: 0x2_0000, alignment: 0x4_0000, virtualInterrupt: 0x8_0000, virtualPending: 0x10_0000, id: 0x20_0000,
} as const;
export const statusFlags = 0x8d5;

export const Cr0 = { pe: 1, mp: 2, em: 4, ts: 8, et: 0x10, ne: 0x20, wp: 0x1_0000, am: 0x4_0000, nw: 0x2000_0000, cd: 0x4000_0000, pg: 0x8000_0000 } as const;
export const Cr4 = {
  vme: 1, pvi: 2, tsd: 4, de: 8, pse: 0x10, pae: 0x20, mce: 0x40, pge: 0x80, pce: 0x100, osfxsr: 0x200, osxmmexcpt: 0x400, umip: 0x800,
  vmxe: 0x2000, fsgsbase: 0x1_0000, pcide: 0x2_0000, osxsave: 0x4_0000, smep: 0x10_0000, smap: 0x20_0000,
} as const;
export const Efer = { sce: 1, lme: 0x100, lma: 0x400, nxe: 0x800, svme: 0x1000 } as const;

/**
 * Where in a vCPU's area the software TLBs lie: for each context (an address space of a guest of the guest, or of the machine's own software)
 * banks for user, supervisor and supervisor with AC (SMAP lifted).
 */
export const tlbEntries = 4096;
const tlbEntryBytes = 16;
export const tlbEntryWords = tlbEntryBytes / 4;
export const tlbBankBytes = tlbEntries * tlbEntryBytes;
/** Offset of a linear address's entry in its bank: the address shifted right by `tlbSlotShift`, with this mask. */
export const tlbSlotMask = (tlbEntries - 1) * tlbEntryBytes;
export const tlbSlotShift = 8;
export const readTlbOffset = 0x4000;
export const writeTlbOffset = readTlbOffset + 3 * tlbBankBytes;
/** Each bank has a second one for what others took the places of: an entry's second place lies so many bytes behind the first. */
export const secondPlaceOffset = 6 * tlbBankBytes;
export const tlbContextBytes = 12 * tlbBankBytes;
export const tlbContexts = 16;
/** A bank that is never filled: while alignment is checked every access takes the slow path. */
export const emptyBankOffset = readTlbOffset + tlbContexts * tlbContextBytes;
export const codeTlbOffset = emptyBankOffset + tlbBankBytes;
export const codeTlbEntries = 4096;
/** Where in the code TLB an address is looked for, in bytes; the mode (context, user, code size) keeps kernels and programs of all levels apart. */
export const codeTlbSlot = (low: number, codeMode: number): number => ((low >>> 8) + codeMode * codeTlbSpread) & codeTlbMask;
export const codeTlbSpread = 0x1510;
export const codeTlbMask = 0xfff0;
/** 4,096 entries of 16 bytes: see engine/interpreter/jump-cache.ts. */
export const jumpCacheOffset = codeTlbOffset + codeTlbEntries * tlbEntryBytes;
export const jumpCacheBytes = 4096 * 16;
export const jumpCacheMask = jumpCacheBytes - 16;
export const vcpuAreaBytes = jumpCacheOffset + jumpCacheBytes;
/** Entries that one context can fill. */
export const tlbPlaces = 12 * tlbEntries + codeTlbEntries;
