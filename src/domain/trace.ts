/** What `--trace` prints: exceptions, interrupts, accesses to ports and device memory, instructions. */
import type { TraceKind } from '../config/options.ts';
import type { Fault } from '../cpu/fault.ts';
import type { Vcpu } from '../cpu/vcpu.ts';
import type { DeviceWindow } from '../devices/device.ts';
import type { PortBus } from '../devices/port-bus.ts';

export interface Trace {
  readonly kinds: ReadonlySet<TraceKind>;
  readonly line: (text: string) => void;
}
const hex = (value: number | bigint): string => value.toString(16);

export function traceFault(trace: Trace | undefined, v: Vcpu, fault: Fault): void {
  if (!trace?.kinds.has('exceptions')) return;
  const error = fault.error === undefined ? '' : ` error ${hex(fault.error)}`;
  trace.line(`exception ${fault.vector}${error} at ${hex(v.ip)}${fault.vector === 14 ? ` address ${hex(v.get64('cr2'))}` : ''}`);
}

/** Prints the instruction about to run; true when instructions are traced, one at a time. */
export function traceInstruction(trace: Trace | undefined, v: Vcpu): boolean {
  if (!trace?.kinds.has('instructions')) return false;
  trace.line(`${hex(v.get('segmentSelector', 1))}:${hex(v.ip)} ${[0, 1, 2, 3, 4, 5, 6, 7].map((n) => hex(v.register(n))).join(' ')}`);
  return true;
}

export function tracedPorts(bus: PortBus, trace: Trace | undefined): Pick<PortBus, 'readPort' | 'writePort'> {
  if (!trace?.kinds.has('ports')) return bus;
  return {
    readPort(port, width) {
      const value = bus.readPort(port, width);
      trace.line(`in ${hex(port)}.${width} = ${hex(value)}`);
      return value;
    },
    writePort(port, width, value) {
      trace.line(`out ${hex(port)}.${width} = ${hex(value)}`);
      bus.writePort(port, width, value);
    },
  };
}

export function tracedWindows(windows: readonly DeviceWindow[], trace: Trace | undefined): readonly DeviceWindow[] {
  if (!trace?.kinds.has('mmio')) return windows;
  return windows.map((w) => ({
    base: w.base,
    size: w.size,
    read(offset, width) {
      const value = w.read(offset, width);
      trace.line(`read ${hex(w.base + offset)}.${width} = ${hex(value)}`);
      return value;
    },
    write(offset, width, value) {
      trace.line(`write ${hex(w.base + offset)}.${width} = ${hex(value)}`);
      w.write(offset, width, value);
    },
  }));
}
