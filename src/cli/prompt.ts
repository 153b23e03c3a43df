/** The prompt behind Ctrl-A c: looks into a stopped machine. */

import { Fault } from '../cpu/fault.ts';
import { readFlags } from '../cpu/flags.ts';
import { systemRead } from '../cpu/page-walk.ts';
import { At } from '../cpu/state.ts';
import { VmExit } from '../cpu/vm-exit.ts';
import type { Machine } from '../domain/machine.ts';
import { describeTranslation, describeVmcs } from '../vmx/inspect.ts';

const registerNames = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'];
const segmentNames = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr'];
const hex = (value: bigint | number, digits = 16): string => value.toString(16).padStart(digits, '0');

export function registers({ processor: { v } }: Machine): string {
  const general = registerNames.map((name, n) => `${name.padEnd(3)} ${hex(v.register(n))}`);
  const lines = [0, 4, 8, 12].map((n) => general.slice(n, n + 4).join('  '));
  lines.push(
    `rip ${hex(v.ip)}  flags ${hex(readFlags(v), 8)}  cpl ${v.get(At.cpl)}  ${v.codeSize}-bit code${v.get(At.halted) !== 0 ? ', halted' : ''}`,
  );
  lines.push(
    `cr0 ${hex(v.low(At.cr0), 8)}  cr2 ${hex(v.get64(At.cr2))}  cr3 ${hex(v.get64(At.cr3))}  cr4 ${hex(v.low(At.cr4), 8)}  efer ${hex(v.low(At.efer), 4)}`,
  );
  segmentNames.forEach((name, n) => {
    lines.push(
      `${name.padEnd(4)} ${hex(v.get(At.segmentSelector, n), 4)}  base ${hex(v.get64(At.segmentBase, n))}  limit ${hex(v.get(At.segmentLimit, n) >>> 0, 8)}  rights ${hex(v.get(At.segmentRights, n), 5)}`,
    );
  });
  return lines.join('\n');
}

/** Bytes at a linear address, as the guest sees them now. */
export function memory({ processor: { paging } }: Machine, start: bigint, length: number): string {
  const lines: string[] = [];
  for (let row = 0; row < length; row += 16) {
    const bytes: (number | undefined)[] = [];
    for (let n = 0; n < Math.min(16, length - row); n++) {
      try {
        bytes.push(Number(paging.read(BigInt.asUintN(64, start + BigInt(row + n)), 1, systemRead)));
      } catch (problem) {
        if (!(problem instanceof Fault || problem instanceof VmExit)) throw problem;
        bytes.push(undefined);
      }
    }
    const text = bytes.map((b) => (b !== undefined && b >= 32 && b < 127 ? String.fromCharCode(b) : '.')).join('');
    lines.push(
      `${hex(BigInt.asUintN(64, start + BigInt(row)))}  ${bytes
        .map((b) => (b === undefined ? '??' : hex(b, 2)))
        .join(' ')
        .padEnd(47)}  ${text}`,
    );
  }
  return lines.join('\n');
}

const help = `registers               registers, control registers, segments
memory ADDRESS [BYTES]  memory by linear address (hexadecimal), 64 bytes by default
translate ADDRESS [VMCS]  every step from a linear address to the machine's memory, of what runs now or of a VMCS's guest
vmcs [VMCS]             the VMCSs entered so far, and the current or the named one by its fields (hexadecimal address)
devices                 the machine's devices
exits                   what made the processor leave the engine, per second
save FILE               save the machine: run --restore FILE goes on with it
power                   press the power button, and back to the guest
continue                back to the guest (or Ctrl-C)
quit                    end the program`;

const hexadecimal = (text: string): bigint | undefined => {
  const digits = text.replace(/^0x/, '');
  return /^[0-9a-f]{1,16}$/i.test(digits) ? BigInt(`0x${digits}`) : undefined;
};

export type PromptAction =
  | { readonly then: 'stay'; readonly text: string }
  | { readonly then: 'save'; readonly path: string }
  | { readonly then: 'continue' }
  | { readonly then: 'quit' };

/** One command; any unambiguous beginning of a word is enough. */
export function command(machine: Machine, line: string, secondsRun: number): PromptAction {
  const [word = '', ...rest] = line.trim().split(/\s+/);
  const stay = (text: string): PromptAction => ({ text, then: 'stay' });
  const names = ['registers', 'memory', 'translate', 'vmcs', 'devices', 'exits', 'save', 'power', 'continue', 'quit', 'help'];
  const matches = word === '' ? [] : names.filter((name) => name.startsWith(word));
  if (word === '') return stay('');
  if (matches.length !== 1)
    return stay(matches.length === 0 ? `'${word}': no such command; try help` : `'${word}': ${matches.join(' or ')}?`);
  switch (matches[0]) {
    case 'registers':
      return stay(registers(machine));
    case 'memory': {
      const address = hexadecimal(rest[0] ?? '');
      const length = Number(rest[1] ?? 64);
      if (address === undefined || !Number.isInteger(length) || length < 1 || length > 4096)
        return stay('memory ADDRESS [BYTES]: a hexadecimal address, and 1 to 4096 bytes');
      return stay(memory(machine, address, length));
    }
    case 'translate': {
      const [address, vmcs] = rest.map(hexadecimal);
      if (address === undefined || rest.length > 2 || (rest.length === 2 && vmcs === undefined))
        return stay('translate ADDRESS [VMCS]: hexadecimal addresses');
      return stay(describeTranslation(machine.processor.v, machine.vmx, address, vmcs));
    }
    case 'vmcs':
      if (!machine.vmx) return stay('this processor has no VMX: start with --nested, or with --cpu x86-64-v2,+vmx');
      if (rest.length > 0 && hexadecimal(rest[0] ?? '') === undefined) return stay('vmcs [VMCS]: a hexadecimal address');
      return stay(describeVmcs(machine.vmx, rest[0] === undefined ? undefined : hexadecimal(rest[0])));
    case 'devices':
      return stay(machine.chips.names.join('\n'));
    case 'exits':
      return stay(exits(machine, secondsRun));
    case 'save': {
      const path = line.trim().slice(word.length).trim();
      return path === '' ? stay('save FILE: where to?') : { then: 'save', path };
    }
    case 'power':
      machine.chips.power.pressButton();
      return { then: 'continue' };
    case 'continue':
      return { then: 'continue' };
    case 'quit':
      return { then: 'quit' };
    default:
      return stay(help);
  }
}

function exits(machine: Machine, seconds: number): string {
  const { interpreter, translator } = machine;
  const counts = machine.vmx?.counts ?? machine.svm?.counts;
  const vm = counts ? { 'VM exits': counts.total } : {};
  const { regions = 0, reused = 0, refused = 0 } = translator?.counts ?? {};
  const all = {
    ...machine.counts,
    ...vm,
    ...interpreter.counts,
    shapes: interpreter.shapes,
    regions,
    'regions reused': reused,
    'regions refused': refused,
  };
  const lines = Object.entries(all).map(
    ([name, count]) => `${name.padEnd(16)} ${String(count).padStart(12)}  ${(count / Math.max(seconds, 1e-3)).toFixed(1).padStart(12)} /s`,
  );
  return [
    `instructions     ${String(machine.retired).padStart(12)}  ${(machine.retired / Math.max(seconds, 1e-3)).toFixed(0).padStart(12)} /s`,
    ...lines,
  ].join('\n');
}
