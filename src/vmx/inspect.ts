/** A look into guests of the guest, for people: a VMCS by the names of its fields, and every step of a translation through all stages. Nothing changes. */
import { pointerCount } from '../cpu/page-walk.ts';
import { At, Cr0, Cr4, Efer } from '../cpu/state.ts';
import type { Vcpu } from '../cpu/vcpu.ts';
import { noVmcs } from '../cpu/vcpu.ts';
import { pageBytes } from '../memory/pool.ts';
import { EntryControl, Primary, Secondary } from './controls.ts';
import { entryFailure, reasonName } from './exit-reasons.ts';
import { F, fieldDescriptions } from './fields.ts';
import { Operation } from './operation.ts';
import { Vmcs } from './vmcs.ts';
import type { Vmx } from './vmx.ts';

const hex = (value: bigint | number, digits = 16): string => value.toString(16).padStart(digits, '0');
const operations = ['outside VMX operation', 'in root operation', 'in non-root operation'];

/** The VMCSs seen so far, or the fields of the one named (`undefined`: of the current one). */
export function describeVmcs(x: Vmx, pointer: bigint | undefined): string {
  const known = x.counts.known.map(([at, level]) => `  ${hex(at)}  its guest is of level ${level}`);
  const which = pointer ?? x.current;
  const lines = [`the processor is ${operations[x.operation]}`, ...(known.length > 0 ? ['VMCSs entered so far:', ...known] : [])];
  const region = which === noVmcs ? undefined : regionAt(x, which);
  if (!region) return [...lines, pointer === undefined ? 'no VMCS is current' : `at ${hex(which)} is no memory`].join('\n');
  const reason = region.get32(F.exitReason);
  lines.push(`VMCS ${hex(which)}${which === x.current ? ', the current one' : ''}, ${region.launched ? 'launched' : 'clear'}`);
  lines.push(`last exit: ${reasonName(reason & 0xffff)}${reason >= entryFailure ? ', a failed entry' : ''}`);
  fieldDescriptions.forEach((f, place) => {
    if (f.gate !== undefined && !x.capabilities.has(f.gate)) return;
    lines.push(`  ${hex(f.encoding, 4)} ${f.name.padEnd(28)} ${hex(region.get(place), f.width / 4)}`);
  });
  return lines.join('\n');
}
function regionAt(x: Vmx, pointer: bigint): Vmcs | undefined {
  const frame = x.v.space.frameIfPresent(Number(pointer / BigInt(pageBytes)));
  if (frame === 0) return undefined;
  const region = new Vmcs(x.v.pool, x.v.quads);
  region.select(frame);
  return region;
}

/** What a walk depends on: control registers, and the EPT pointer when there is a second stage. */
interface Regime {
  readonly cr0: number;
  readonly cr3: bigint;
  readonly cr4: number;
  readonly long: boolean;
  readonly ept: bigint | undefined;
  /** Page-directory pointers of PAE paging that are not read from memory. */
  readonly pointers: readonly bigint[] | undefined;
}
const four = <T>(of: (n: number) => T): readonly T[] => Array.from({ length: pointerCount }, (_, n) => of(n));
function currentRegime(v: Vcpu, x: Vmx | undefined): Regime {
  const ept = x?.operation === Operation.nonRoot && x.wantsSecondary(Secondary.ept) ? x.vmcs.get(F.eptPointer) : undefined;
  return {
    cr0: v.cr0,
    cr3: v.get64(At.cr3),
    cr4: v.cr4,
    long: (v.efer & Efer.lma) !== 0,
    ept,
    pointers: four((n) => v.get64(At.pdpte, n)),
  };
}
function savedRegime(region: Vmcs): Regime {
  const secondary = (region.get32(F.primaryControls) & Primary.secondary) !== 0 ? region.get32(F.secondaryControls) : 0;
  return {
    cr0: region.get32(F.guestCr0),
    cr3: region.get(F.guestCr3),
    cr4: region.get32(F.guestCr4),
    long: (region.get32(F.entryControls) & EntryControl.ia32e) !== 0,
    ept: (secondary & Secondary.ept) !== 0 ? region.get(F.eptPointer) : undefined,
    pointers: (secondary & Secondary.ept) !== 0 ? four((n) => region.get(F.guestPdpte0 + n)) : undefined,
  };
}

interface LevelOfTable {
  readonly name: string;
  readonly shift: number;
  readonly bits: number;
}
const longLevels: readonly LevelOfTable[] = [
  { name: 'PML4E', shift: 39, bits: 9 },
  { name: 'PDPTE', shift: 30, bits: 9 },
  { name: 'PDE', shift: 21, bits: 9 },
  { name: 'PTE', shift: 12, bits: 9 },
];
const legacyLevels: readonly LevelOfTable[] = [
  { name: 'PDE', shift: 22, bits: 10 },
  { name: 'PTE', shift: 12, bits: 10 },
];
const addressMask = 0xff_ffff_f000n;
const largeBit = 0x80n;

class Walk {
  readonly #v: Vcpu;
  readonly #regime: Regime;
  readonly lines: string[] = [];

  constructor(v: Vcpu, regime: Regime) {
    this.#v = v;
    this.#regime = regime;
  }
  /** The physical address, or undefined where the walk ends early. */
  linear(address: bigint): bigint | undefined {
    const { cr0, cr3, cr4, long, pointers } = this.#regime;
    if ((cr0 & Cr0.pg) === 0) {
      this.lines.push('paging is off');
      return this.#below(address & 0xffff_ffffn, '');
    }
    const pae = (cr4 & Cr4.pae) !== 0;
    const levels = long ? longLevels : pae ? [{ name: 'PDPTE', shift: 30, bits: 2 }, ...longLevels.slice(2)] : legacyLevels;
    const width = pae ? 8n : 4n;
    let table = long ? cr3 & addressMask : cr3 & (pae ? 0xffff_ffe0n : 0xffff_f000n);
    for (const [n, level] of levels.entries()) {
      const index = (address >> BigInt(level.shift)) & ((1n << BigInt(level.bits)) - 1n);
      const title = `${level.name} ${hex(index, 3)}`;
      const loaded = level.bits === 2 ? pointers?.[Number(index)] : undefined;
      const entry =
        loaded === undefined ? this.#entry(title, table + index * width, Number(width)) : this.#shown(`${title} as loaded`, loaded, 8);
      if (entry === undefined || (entry & 1n) === 0n) return undefined;
      const last = n === levels.length - 1;
      if (!last && ((entry & largeBit) === 0n || level.name === 'PML4E' || (level.name === 'PDPTE' && !long))) {
        table = entry & addressMask;
        continue;
      }
      const span = (1n << BigInt(level.shift)) - 1n;
      return this.#below((entry & addressMask & ~span) | (address & span), '');
    }
    return undefined;
  }
  #entry(name: string, at: bigint, bytes: number): bigint | undefined {
    const below = this.#below(at, '  ');
    if (below === undefined) return undefined;
    const { space } = this.#v;
    const value = bytes === 8 ? space.read64(Number(below)) : BigInt(space.read32(Number(below)));
    return this.#shown(`${name} at ${hex(at)}`, value, bytes);
  }
  #shown(title: string, value: bigint, bytes: number): bigint {
    this.lines.push(`${title}: ${hex(value, bytes * 2)}${(value & 1n) === 0n ? ', not present' : ''}`);
    return value;
  }
  /** Through the second stage, when there is one. */
  #below(physical: bigint, indent: string): bigint | undefined {
    const { ept } = this.#regime;
    if (ept === undefined) return physical;
    let table = ept & addressMask;
    const steps: string[] = [];
    for (let shift = 39n; shift >= 12n; shift -= 9n) {
      const index = (physical >> shift) & 0x1ffn;
      const entry = this.#v.space.read64(Number(table + index * 8n));
      steps.push(hex(entry));
      if ((entry & 7n) === 0n) {
        this.lines.push(`${indent}EPT ${hex(physical)}: ${steps.join(' > ')}, not present`);
        return undefined;
      }
      if (shift === 12n || ((entry & largeBit) !== 0n && shift < 39n)) {
        const span = (1n << shift) - 1n;
        const result = (entry & addressMask & ~span) | (physical & span);
        this.lines.push(`${indent}EPT ${hex(physical)}: ${steps.join(' > ')} = ${hex(result)}`);
        return result;
      }
      table = entry & addressMask;
    }
    return undefined;
  }
}

/** Every step from a linear address to a frame of the machine: of what runs now, or of the guest of a VMCS. */
export function describeTranslation(v: Vcpu, x: Vmx | undefined, address: bigint, pointer: bigint | undefined): string {
  const region = pointer === undefined ? undefined : x && regionAt(x, pointer);
  if (pointer !== undefined && !region) return `at ${hex(pointer)} is no VMCS`;
  const walk = new Walk(v, region ? savedRegime(region) : currentRegime(v, x));
  const physical = walk.linear(address);
  if (physical === undefined) return [...walk.lines, `${hex(address)} is not mapped`].join('\n');
  const frame = v.space.frameIfPresent(Number(physical / BigInt(pageBytes)));
  const where =
    frame === 0 ? (v.space.window(Number(physical)) ? 'a device' : 'no memory yet') : `frame ${hex(frame, 1)} of the machine's memory`;
  return [...walk.lines, `${hex(address)} is physical ${hex(physical)}: ${where}`].join('\n');
}
