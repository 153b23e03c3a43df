/** What `--trace` prints: exceptions, interrupts, accesses to ports and device memory, instructions. */

import type { TraceFilter, TraceKind } from '../config/options.ts';
import type { Fault } from '../cpu/fault.ts';
import { At } from '../cpu/state.ts';
import type { Vcpu } from '../cpu/vcpu.ts';
import type { DeviceWindow } from '../devices/device.ts';
import type { PortBus } from '../devices/port-bus.ts';
import type { Vmx } from '../vmx/vmx.ts';

/** Which events are wanted, and where their lines go. */
export class Trace {
  readonly #filters: readonly TraceFilter[];
  readonly line: (text: string) => void;

  constructor(filters: readonly TraceFilter[], line: (text: string) => void) {
    this.#filters = filters;
    this.line = line;
  }
  /** Whether any event of the kind is wanted. */
  has(kind: TraceKind): boolean {
    return this.#filters.some((f) => f.kind === kind);
  }
  /** `at` is the vector, the port or the address. */
  wants(kind: TraceKind, at: number | bigint): boolean {
    return this.#filters.some((f) => f.kind === kind && f.from <= BigInt(at) && BigInt(at) <= f.to);
  }
}
const hex = (value: number | bigint): string => value.toString(16);

export function traceFault(trace: Trace | undefined, v: Vcpu, fault: Fault): void {
  if (!trace?.wants('exceptions', fault.vector)) return;
  const error = fault.error === undefined ? '' : ` error ${hex(fault.error)}`;
  trace.line(`exception ${fault.vector}${error} at ${hex(v.ip)}${fault.address === undefined ? '' : ` address ${hex(fault.address)}`}`);
}

/** Prints the instruction about to run; true when instructions are traced, one at a time. */
export function traceInstruction(trace: Trace | undefined, v: Vcpu): boolean {
  if (!trace?.has('instructions')) return false;
  if (trace.wants('instructions', v.ip))
    trace.line(`${hex(v.get(At.segmentSelector, 1))}:${hex(v.ip)} ${[0, 1, 2, 3, 4, 5, 6, 7].map((n) => hex(v.register(n))).join(' ')}`);
  return true;
}

export function tracedPorts(bus: PortBus, trace: Trace | undefined): Pick<PortBus, 'readPort' | 'writePort'> {
  if (!trace?.has('ports')) return bus;
  return {
    readPort(port, width) {
      const value = bus.readPort(port, width);
      if (trace.wants('ports', port)) trace.line(`in ${hex(port)}.${width} = ${hex(value)}`);
      return value;
    },
    writePort(port, width, value) {
      if (trace.wants('ports', port)) trace.line(`out ${hex(port)}.${width} = ${hex(value)}`);
      bus.writePort(port, width, value);
    },
  };
}

export function tracedWindows(windows: readonly DeviceWindow[], trace: Trace | undefined): readonly DeviceWindow[] {
  if (!trace?.has('mmio')) return windows;
  return windows.map((w) => ({
    base: w.base,
    size: w.size,
    read(offset, width) {
      const value = w.read(offset, width);
      if (trace.wants('mmio', w.base + offset)) trace.line(`read ${hex(w.base + offset)}.${width} = ${hex(value)}`);
      return value;
    },
    write(offset, width, value) {
      if (trace.wants('mmio', w.base + offset)) trace.line(`write ${hex(w.base + offset)}.${width} = ${hex(value)}`);
      w.write(offset, width, value);
    },
  }));
}

/** Entries into guests and exits from them. */
export function traceGuests(trace: Trace | undefined, host: Pick<Vmx, 'trace'>): void {
  if (!trace?.has('vmx')) return;
  host.trace = (reason, line) => {
    if (trace.wants('vmx', reason ?? 0)) trace.line(line);
  };
}
