/**
 * The instructions that a hypervisor may intercept, as a layer over the helpers that carry them out. The layer does nothing while no guest runs.
 * Exceptions that do not depend on operands come before an intercept. APM 2, 15.7 to 15.11.
 */
import { currentInstruction } from '../cpu/current-instruction.ts';
import { protection } from '../cpu/fault.ts';
import { checkLevel0, checkPort } from '../cpu/helpers/control.ts';
import { type Intercept, type Intercepts, intercepted } from '../cpu/helpers/intercepts.ts';
import { At, Cr0, Cr4, Segment } from '../cpu/state.ts';
import { VmExit } from '../cpu/vm-exit.ts';
import { svmVirtualization } from './boundary.ts';
import { ExitCode } from './exit-codes.ts';
import { svmInstructions } from './instructions.ts';
import type { Svm } from './svm.ts';
import { Control, VirtualInterrupt } from './vmcb.ts';

const exit = (code: number, information = 0n, second?: bigint): VmExit =>
  new VmExit(code, information, second === undefined ? { length: true } : { length: true, second });

/** Exits when the bit is set, at privilege level 0 where the instruction needs it; otherwise the instruction runs. */
const privileged =
  (code: number, information: (a: bigint) => bigint = () => 0n): Intercept<Svm> =>
  (x, base, a) => {
    if (!x.intercepts(code)) return base();
    checkLevel0(x.p);
    throw exit(code, information(a));
  };
const discards = privileged(ExitCode.invd);
const flushes = privileged(ExitCode.wbinvd);
const table = (code: number, loads: boolean): Intercept<Svm> => {
  const whenLoads = privileged(code);
  return (x, base, a, b, c) => {
    if (loads) return whenLoads(x, base, a, b, c);
    if (!x.intercepts(code)) return base();
    if ((x.v.cr4 & Cr4.umip) !== 0) checkLevel0(x.p);
    throw exit(code);
  };
};

/** Two bits for each MSR of three ranges. APM 2, 15.11. */
function interceptsMsr(x: Svm, number: number, write: boolean): boolean {
  if (!x.intercepts(ExitCode.msr)) return false;
  const range = [0, 0xc000_0000, 0xc001_0000].findIndex((start) => number >= start && number < start + 0x2000);
  if (range < 0) return true;
  const bit = (number & 0x1fff) * 2 + (write ? 1 : 0);
  return bitAt(x, Control.msrMap, range * 0x800 + (bit >> 3), bit & 7);
}
function bitAt(x: Svm, map: number, byte: number, bit: number): boolean {
  const at = Number(x.vmcb.get64(map) & 0xff_ffff_f000n) + byte;
  return ((x.v.space.read32(at & ~3) >>> ((at & 3) * 8 + bit)) & 1) !== 0;
}
function portExit(x: Svm, port: number, width: number, input: boolean): VmExit | undefined {
  if (!x.intercepts(ExitCode.io)) return undefined;
  let wanted = false;
  for (let n = port; n < port + width; n++) wanted ||= bitAt(x, Control.ioMap, n >> 3, n & 7);
  if (!wanted) return undefined;
  const d = currentInstruction(x.p);
  const string = d.row.string === true;
  const size = d.form.addressSize === 64 ? 1 << 9 : d.form.addressSize === 32 ? 1 << 8 : 1 << 7;
  const repeats = d.form.rep !== 0 ? 8 : 0;
  const segment = (input ? Segment.es : d.form.segment) << 10;
  const information = (input ? 1 : 0) | (string ? 4 | repeats | segment : 0) | (width << 4) | size;
  return exit(ExitCode.io, BigInt(information) | (BigInt(port) << 16n), x.v.nextIp);
}

function accessPort<T>(x: Svm, base: () => T, port: bigint, size: bigint, input: boolean): T {
  const width = Number(size) / 8;
  checkPort(x.p, Number(port), width);
  const leaves = portExit(x, Number(port), width, input);
  if (leaves) throw leaves;
  return base();
}

/** MOV to or from a register: which general register, for those who need not decode it. */
function movInformation(x: Svm, loads: boolean): bigint {
  const d = currentInstruction(x.p);
  return (1n << 63n) | BigInt(d.operands[loads ? 1 : 0]?.number ?? 0);
}
const masksInterrupts = (x: Svm): boolean => (x.vmcb.get32(Control.virtualInterrupt) & VirtualInterrupt.masking) !== 0;

const intercepts: Intercepts<Svm> = {
  identify(x, base) {
    if (x.intercepts(ExitCode.cpuid)) throw exit(ExitCode.cpuid);
    return base();
  },
  halt: privileged(ExitCode.hlt),
  invalidateCaches: (x, base, writesBack, b, c) => (writesBack === 0n ? discards : flushes)(x, base, writesBack, b, c),
  writeExtendedControl: privileged(ExitCode.xsetbv),
  invalidatePage: privileged(ExitCode.invlpg, (address) => address),
  readPerformanceCounter(x, base) {
    if (!x.intercepts(ExitCode.rdpmc)) return base();
    if ((x.v.cr4 & Cr4.pce) === 0) checkLevel0(x.p);
    throw exit(ExitCode.rdpmc);
  },
  timestamp(x, base, withId) {
    const code = withId === 0n ? ExitCode.rdtsc : ExitCode.rdtscp;
    if (!x.intercepts(code)) return base();
    if ((x.v.cr4 & Cr4.tsd) !== 0) checkLevel0(x.p);
    throw exit(code);
  },
  readModelSpecific(x, base) {
    checkLevel0(x.p);
    if (interceptsMsr(x, x.v.low(At.gpr, 1), false)) throw exit(ExitCode.msr);
    return base();
  },
  writeModelSpecific(x, base) {
    checkLevel0(x.p);
    if (interceptsMsr(x, x.v.low(At.gpr, 1), true)) throw exit(ExitCode.msr, 1n);
    return base();
  },
  checkPort: (x, base, port, size, input) => accessPort(x, base, port, size, input !== 0n),
  portIn: (x, base, port, size) => accessPort(x, base, port, size, true),
  portOut: (x, base, port, _value, size) => accessPort(x, base, port, size, false),
  readDebug(x, base, number) {
    const code = ExitCode.readDr + Number(number);
    if (!x.intercepts(code)) return base();
    checkLevel0(x.p);
    throw exit(code, movInformation(x, false));
  },
  writeDebug(x, base, number) {
    const code = ExitCode.writeDr + Number(number);
    if (!x.intercepts(code)) return base();
    checkLevel0(x.p);
    throw exit(code, movInformation(x, true));
  },
  readControl(x, base, number) {
    const code = ExitCode.readCr + Number(number);
    if (x.v.cpl === 0 && x.intercepts(code)) throw exit(code, movInformation(x, false));
    if (x.v.cpl === 0 && number === 8n && masksInterrupts(x)) return BigInt(x.vmcb.get32(Control.virtualInterrupt) & 15);
    return base();
  },
  writeControl(x, base, number, value) {
    const { v, vmcb } = x;
    const code = ExitCode.writeCr + Number(number);
    if (v.cpl !== 0) return base();
    if (x.intercepts(code)) throw exit(code, movInformation(x, true));
    if (number === 0n && changesMore(x, value)) throw exit(ExitCode.selectiveCr0, movInformation(x, true));
    if (number !== 8n || !masksInterrupts(x)) return base();
    if (value > 15n) throw protection(0);
    vmcb.set32(Control.virtualInterrupt, (vmcb.get32(Control.virtualInterrupt) & ~VirtualInterrupt.tprMask) | Number(value));
    v.wake();
  },
  clearTaskSwitched: privileged(ExitCode.writeCr),
  loadMachineStatus(x, base, value) {
    const { v } = x;
    if (v.cpl !== 0) return base();
    if (x.intercepts(ExitCode.writeCr)) throw exit(ExitCode.writeCr);
    const changed = (Number(value) ^ v.cr0) & 0xf & ~(Cr0.ts | Cr0.mp);
    if (changed !== 0 && x.intercepts(ExitCode.selectiveCr0)) throw exit(ExitCode.selectiveCr0);
    return base();
  },
  storeMachineStatus(x, base) {
    if (x.intercepts(ExitCode.readCr)) throw exit(ExitCode.readCr);
    return base();
  },
  storeInterruptTable: table(ExitCode.storeIdtr, false),
  storeGlobalTable: table(ExitCode.storeGdtr, false),
  storeLocalTable: table(ExitCode.storeLdtr, false),
  storeTask: table(ExitCode.storeTr, false),
  loadInterruptTable: table(ExitCode.loadIdtr, true),
  loadGlobalTable: table(ExitCode.loadGdtr, true),
  loadLocalTable: table(ExitCode.loadLdtr, true),
  loadTask: table(ExitCode.loadTr, true),
  interruptReturn(x, base) {
    if (x.intercepts(ExitCode.iret)) throw exit(ExitCode.iret);
    return base();
  },
  softwareInterrupt(x, base, vector) {
    if (x.intercepts(ExitCode.softwareInterrupt)) throw exit(ExitCode.softwareInterrupt, vector & 0xffn);
    return base();
  },
  pause(x, base) {
    if (x.intercepts(ExitCode.pause)) throw exit(ExitCode.pause);
    return base();
  },
};
/** Any bit of CR0 but TS and MP. APM 2, 15.8. */
const changesMore = (x: Svm, value: bigint): boolean =>
  x.intercepts(ExitCode.selectiveCr0) && ((value ^ x.v.get64(At.cr0)) & ~BigInt(Cr0.ts | Cr0.mp) & 0xffff_ffffn) !== 0n;

/** Gives a processor SVM: its instructions, the layer of intercepts, and the way events go. */
export function attachSvm(x: Svm): void {
  x.p.helpers = intercepted(x, () => x.inGuest, intercepts, { ...x.p.helpers, ...svmInstructions(x) });
  x.p.virtualization = svmVirtualization(x);
}
