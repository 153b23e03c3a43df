/**
 * The instructions that a hypervisor may intercept, as a layer over the helpers that carry them out. The layer does nothing outside non-root
 * operation. Faults by mode and privilege level come before an exit, faults by operands after it. SDM 3C, 26.1.
 */

import { currentInstruction } from '../cpu/current-instruction.ts';
import { Fault, undefinedOpcode } from '../cpu/fault.ts';
import { checkLevel0, checkPort } from '../cpu/helpers/control.ts';
import type { Helper, HelperTable } from '../cpu/helpers/helper.ts';
import { type Intercept, type Intercepts, intercepted } from '../cpu/helpers/intercepts.ts';
import { linearAddress } from '../cpu/segments.ts';
import { At, Cr4, Segment } from '../cpu/state.ts';
import { VmExit } from '../cpu/vm-exit.ts';
import { virtualization } from './boundary.ts';
import {
  clearTaskSwitched,
  loadMachineStatus,
  readControlRegister,
  storedMachineStatus,
  writeControlRegister,
} from './control-registers.ts';
import { Pin, Primary, Secondary } from './controls.ts';
import { Reason } from './exit-reasons.ts';
import { F } from './fields.ts';
import { displacementOf, instructionInformation } from './information.ts';
import { vmxInstructions } from './instructions.ts';
import type { Vmx } from './vmx.ts';

const exit = (reason: number, qualification = 0n): VmExit => new VmExit(reason, qualification, { length: true });

/** Whether the MSR bitmap (or its absence) asks for an exit. SDM 3C, 25.6.9. */
export function interceptsMsr(x: Vmx, number: number, write: boolean): boolean {
  if (!x.wants(Primary.msrBitmaps)) return true;
  const high = number >= 0xc000_0000;
  const index = high ? number - 0xc000_0000 : number;
  if (index > 0x1fff) return true;
  const byte = (write ? 0x800 : 0) + (high ? 0x400 : 0) + (index >> 3);
  return bitAt(x, F.msrBitmap, byte, index & 7);
}
function bitAt(x: Vmx, bitmap: number, byte: number, bit: number): boolean {
  const word = x.v.space.read32(Number(x.vmcs.get(bitmap) & 0xff_ffff_f000n) + (byte & ~3));
  return ((word >>> ((byte & 3) * 8 + bit)) & 1) !== 0;
}
function interceptsPort(x: Vmx, port: number, width: number): boolean {
  if (!x.wants(Primary.ioBitmaps)) return x.wants(Primary.unconditionalIo);
  for (let n = port; n < port + width; n++) {
    if (n > 0xffff) return true; // around the end of the port space
    if (bitAt(x, n < 0x8000 ? F.ioBitmapA : F.ioBitmapB, (n & 0x7fff) >> 3, n & 7)) return true;
  }
  return false;
}
function portExit(x: Vmx, port: number, width: number, input: boolean): VmExit {
  const { v } = x;
  const d = currentInstruction(x.p);
  const string = d.row.string === true;
  const qualification =
    (width - 1) | (input ? 8 : 0) | (string ? 0x10 : 0) | (d.form.rep !== 0 ? 0x20 : 0) | (d.row.operands.includes('Ib') ? 0x40 : 0);
  const details = { length: true };
  if (!string) return new VmExit(Reason.io, BigInt(qualification) | (BigInt(port) << 16n), details);
  const segment = input ? Segment.es : d.form.segment;
  const mask = (1n << BigInt(d.form.addressSize)) - 1n;
  const linear = linearAddress(v, segment, v.register(input ? 7 : 6) & mask, 1, false);
  const size = d.form.addressSize === 64 ? 2 : d.form.addressSize === 32 ? 1 : 0;
  return new VmExit(Reason.io, BigInt(qualification) | (BigInt(port) << 16n), {
    ...details,
    linear,
    instruction: (size << 7) | (segment << 15),
  });
}

/** Exits for instructions with a memory operand or a register that the information field describes. */
function describedExit(x: Vmx, reason: number, kind = 0, register?: number): VmExit {
  const d = currentInstruction(x.p);
  return new VmExit(reason, displacementOf(x, d.memory), {
    length: true,
    instruction: (instructionInformation(d, register) | (kind << 28)) >>> 0,
  });
}
/** RDRAND and RDSEED name their register and its size. */
function randomExit(x: Vmx, reason: number): VmExit {
  const d = currentInstruction(x.p);
  const size = d.form.size === 64 ? 2 : d.form.size === 32 ? 1 : 0;
  return new VmExit(reason, 0n, { length: true, instruction: ((d.operands[0]?.number ?? 0) << 3) | (size << 11) });
}
function debugExit(x: Vmx, number: number, from: boolean): VmExit {
  const d = currentInstruction(x.p);
  const general = d.operands[from ? 0 : 1]?.number ?? 0;
  return exit(Reason.debugRegister, BigInt(number | (from ? 0x10 : 0) | (general << 8)));
}
/**
 * PAUSE-loop exiting (SDM 3C, 26.1.3), with instructions for cycles: gap and window are made for loops of a real processor, and a lock that
 * a processor spins on is free of its own hand at a PAUSE, which makes this the place to let another one run.
 */
function pauseLoops(x: Vmx): boolean {
  if (x.v.cpl !== 0 || !x.wantsSecondary(Secondary.pauseLoop)) return false;
  const now = x.v.clock.retired();
  const { v } = x;
  if (BigInt(now) - v.get64(At.pauseLast) > BigInt(x.vmcs.get32(F.pleGap))) v.set64(At.pauseFirst, BigInt(now));
  v.set64(At.pauseLast, BigInt(now));
  return BigInt(now) - v.get64(At.pauseFirst) > BigInt(x.vmcs.get32(F.pleWindow));
}
function accessPort<T>(x: Vmx, base: () => T, port: bigint, size: bigint, input: boolean): T {
  const width = Number(size) / 8;
  checkPort(x.p, Number(port), width);
  if (interceptsPort(x, Number(port), width)) throw portExit(x, Number(port), width, input);
  return base();
}
const deniesTime = ({ v }: Vmx): boolean => (v.cr4 & Cr4.tsd) !== 0 && v.cpl !== 0;

/** Exits when `wants` says so, at privilege level 0 where the instruction needs it; otherwise the instruction runs. */
const privileged =
  (wants: (x: Vmx) => boolean, make: (x: Vmx, a: bigint) => VmExit): Intercept<Vmx> =>
  (x, base, a) => {
    checkLevel0(x.p);
    if (wants(x)) throw make(x, a);
    return base();
  };
/** SGDT, LLDT and their relatives; loads are privileged. */
const table =
  (reason: number, kind: number, loads: boolean): Intercept<Vmx> =>
  (x, base) => {
    if (!x.wantsSecondary(Secondary.descriptorTables)) return base();
    if (reason === Reason.localTable && (!x.v.protectedMode || x.v.virtual8086)) return base();
    if (loads || ((x.v.cr4 & Cr4.umip) !== 0 && x.v.cpl !== 0)) checkLevel0(x.p);
    throw describedExit(x, reason, kind);
  };
const absentUnless =
  (bit: number, then: Intercept<Vmx> = (_x, base) => base()): Intercept<Vmx> =>
  (x, base, a, b, c) => {
    if (!x.wantsSecondary(bit)) throw undefinedOpcode();
    return then(x, base, a, b, c);
  };

const intercepts: Intercepts<Vmx> = {
  identify() {
    throw exit(Reason.cpuid);
  },
  halt: privileged(
    (x) => x.wants(Primary.hlt),
    () => exit(Reason.hlt),
  ),
  invalidateCaches(x, base, writesBack) {
    checkLevel0(x.p);
    if (writesBack === 0n) throw exit(Reason.invd);
    if (x.wantsSecondary(Secondary.wbinvd)) throw exit(Reason.wbinvd);
    return base();
  },
  writeExtendedControl(x) {
    if ((x.v.cr4 & Cr4.osxsave) === 0) throw undefinedOpcode();
    checkLevel0(x.p);
    throw exit(Reason.xsetbv);
  },
  invalidatePage: privileged(
    (x) => x.wants(Primary.invlpg),
    (_x, address) => exit(Reason.invlpg, address),
  ),
  invalidateContext: absentUnless(
    Secondary.invpcid,
    privileged(
      (x) => x.wants(Primary.invlpg),
      (x) => describedExit(x, Reason.invpcid, 0, 0),
    ),
  ),
  readPerformanceCounter(x, base) {
    if ((x.v.cr4 & Cr4.pce) === 0) checkLevel0(x.p);
    if (x.wants(Primary.rdpmc)) throw exit(Reason.rdpmc);
    return base();
  },
  timestamp(x, base, withId) {
    if (withId !== 0n && !x.wantsSecondary(Secondary.rdtscp)) throw undefinedOpcode();
    if (!deniesTime(x) && x.wants(Primary.rdtsc)) throw exit(withId === 0n ? Reason.rdtsc : Reason.rdtscp);
    return base();
  },
  processorId: absentUnless(Secondary.rdtscp),
  readModelSpecific(x, base) {
    checkLevel0(x.p);
    const number = x.v.low(At.gpr, 1);
    if (interceptsMsr(x, number, false)) throw exit(Reason.rdmsr);
    const value = x.apic.readMsr(number);
    if (value === undefined) return base();
    x.v.setRegister32(0, Number(value & 0xffff_ffffn));
    x.v.setRegister32(2, Number(value >> 32n));
  },
  writeModelSpecific(x, base) {
    checkLevel0(x.p);
    const number = x.v.low(At.gpr, 1);
    if (interceptsMsr(x, number, true)) throw exit(Reason.wrmsr);
    const value = (BigInt(x.v.low(At.gpr, 2)) << 32n) | BigInt(x.v.low(At.gpr, 0));
    if (!x.apic.writeMsr(number, value)) return base();
  },
  checkPort: (x, base, port, size, input) => accessPort(x, base, port, size, input !== 0n),
  portIn: (x, base, port, size) => accessPort(x, base, port, size, true),
  portOut: (x, base, port, _value, size) => accessPort(x, base, port, size, false),
  // the exit comes before every fault of MOV DR
  readDebug(x, base, number) {
    if (x.wants(Primary.movDr)) throw debugExit(x, Number(number), true);
    return base();
  },
  writeDebug(x, base, number) {
    if (x.wants(Primary.movDr)) throw debugExit(x, Number(number), false);
    return base();
  },
  storeGlobalTable: table(Reason.descriptorTable, 0, false),
  storeInterruptTable: table(Reason.descriptorTable, 1, false),
  loadGlobalTable: table(Reason.descriptorTable, 2, true),
  loadInterruptTable: table(Reason.descriptorTable, 3, true),
  storeLocalTable: table(Reason.localTable, 0, false),
  storeTask: table(Reason.localTable, 1, false),
  loadLocalTable: table(Reason.localTable, 2, true),
  loadTask: table(Reason.localTable, 3, true),
  randomNumber(x, base) {
    if (x.wantsSecondary(Secondary.rdrand)) throw randomExit(x, Reason.rdrand);
    return base();
  },
  randomSeed(x, base) {
    if (x.wantsSecondary(Secondary.rdseed)) throw randomExit(x, Reason.rdseed);
    return base();
  },
  pause(x, base) {
    if (x.wants(Primary.pause) || pauseLoops(x)) throw exit(Reason.pause);
    return base();
  },
  xsaves: absentUnless(Secondary.xsaves),
  xrstors: absentUnless(Secondary.xsaves),
  // IRET ends the blocking of NMIs for those who own them
  interruptReturn(x, base) {
    const { v } = x;
    const blocked = v.get(At.nmiBlocked);
    if (blocked === 0) return base();
    const unblocks = !x.wantsPin(Pin.nmi) || x.wantsPin(Pin.virtualNmis);
    try {
      return base();
    } catch (problem) {
      if (unblocks && (problem instanceof Fault || problem instanceof VmExit)) problem.unblockedNmis = true;
      throw problem;
    } finally {
      if (!unblocks) v.set(At.nmiBlocked, blocked);
    }
  },
};

/** Registers whose guest's view differs from theirs; these matter in root operation too. */
const controlRegisters = (x: Vmx, helpers: HelperTable): Partial<HelperTable> => ({
  readControl: (_p, number) => readControlRegister(x, Number(number)),
  writeControl: (_p, number, value) => writeControlRegister(x, Number(number), value),
  clearTaskSwitched: (p, ...rest) => clearTaskSwitched(x, () => void helpers.clearTaskSwitched(p, ...rest)),
  loadMachineStatus: (p, value, ...rest) => loadMachineStatus(x, value, () => void helpers.loadMachineStatus(p, value, ...rest)),
  storeMachineStatus: (p, ...rest) => storedMachineStatus(x, helpers.storeMachineStatus(p, ...rest) ?? 0n),
});

/** RDMSR of the capability MSRs. */
const withCapabilities =
  (x: Vmx, readMsr: Helper): Helper =>
  (p, ...rest) => {
    const value = p.v.cpl === 0 ? x.capabilities.msrs.get(p.v.low(At.gpr, 1)) : undefined;
    if (value === undefined) return readMsr(p, ...rest);
    p.v.setRegister32(0, Number(value & 0xffff_ffffn));
    p.v.setRegister32(2, Number(value >> 32n));
  };

/** What instructions leave to TypeScript on a processor with VMX outside non-root operation. */
export function rootHelpers(x: Vmx, plain: HelperTable): HelperTable {
  const helpers = { ...plain, ...vmxInstructions(x), readModelSpecific: withCapabilities(x, plain.readModelSpecific) };
  return { ...helpers, ...controlRegisters(x, helpers) };
}

/** Gives a processor VMX: its instructions, the layer of intercepts, and the way events go. */
export function attachVmx(x: Vmx): void {
  x.p.helpers = intercepted(x, () => x.nonRoot, intercepts, rootHelpers(x, x.p.helpers));
  x.p.virtualization = virtualization(x);
}
