/** Instructions as text, in the manuals' (Intel's) order of operands; for profiles and traces. */
import type { Decoded, DecodedOperand } from './decode.ts';

const legacy = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'] as const;
const bytes = ['al', 'cl', 'dl', 'bl', 'spl', 'bpl', 'sil', 'dil'] as const;
const highBytes = ['ah', 'ch', 'dh', 'bh'] as const;
const segments = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const;
const conditions = ['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'] as const;
const instructionPointer = 16;

function register(number: number, size: number): string {
  const old = legacy[number];
  if (old === undefined) return `r${number}${{ 8: 'b', 16: 'w', 32: 'd' }[size] ?? ''}`;
  if (size === 8) return bytes[number] ?? '';
  return size === 16 ? old : `${size === 32 ? 'e' : 'r'}${old}`;
}
const hex = (value: bigint): string => (value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`);

function memory(d: Decoded): string {
  const m = d.memory;
  if (!m) return '[]';
  const parts: string[] = [];
  if (m.base === instructionPointer) parts.push('rip');
  else if (m.base >= 0) parts.push(register(m.base, d.form.addressSize));
  if (m.index >= 0) parts.push(`${register(m.index, d.form.addressSize)}*${1 << m.scale}`);
  const displacement = BigInt.asIntN(64, m.displacement);
  const sum = parts.join('+');
  const rest = displacement === 0n && sum !== '' ? '' : `${sum !== '' && displacement >= 0n ? '+' : ''}${hex(displacement)}`;
  return `${m.segment >= 4 ? `${segments[m.segment]}:` : ''}[${sum}${rest}]`;
}

function operand(d: Decoded, o: DecodedOperand): string {
  switch (o.kind) {
    case 'register':
      return register(o.number, o.size);
    case 'high':
      return highBytes[o.number] ?? '';
    case 'memory':
      return memory(d);
    case 'immediate':
      return hex(BigInt.asIntN(64, d.immediates[o.number] ?? 0n));
    case 'segment':
      return segments[o.number] ?? '';
    default:
      return `${{ control: 'cr', debug: 'dr', xmm: 'xmm', mmx: 'mm' }[o.kind]}${o.number}`;
  }
}

/** The text of an instruction at an address. */
export function formatInstruction(d: Decoded, address: bigint): string {
  const name = d.row.name.endsWith('cc') ? d.row.name.slice(0, -2) + (conditions[d.form.condition & 15] ?? '') : d.row.name;
  const prefix = `${d.lock ? 'lock ' : ''}${d.form.rep === 0xf3 ? 'rep ' : d.form.rep === 0xf2 ? 'repne ' : ''}`;
  const jumps = d.row.operands[0]?.[0] === 'J';
  const target = BigInt.asUintN(64, address + BigInt(d.length) + BigInt.asIntN(64, d.immediates[0] ?? 0n));
  const operands = jumps ? [hex(target)] : d.operands.map((o) => operand(d, o));
  return `${prefix}${name} ${operands.join(', ')}`.trimEnd();
}
