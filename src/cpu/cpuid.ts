/**
 * CPU models: which features the guest sees, and the CPUID leaves that say so. The default is x86-64-v2 as an Intel processor of family 6,
 * model 0x1C: the one that frees Linux of all speculation work. SDM 2A, CPUID.
 */
import type { Feature } from '../isa/instruction.ts';
import { crystalHz, tscHz } from './local-apic.ts';
import { type SvmFeature, svmFeatures, type VmxFeature, vmxFeatureNeeds, vmxFeatures } from './vmx-features.ts';

type Bit = readonly [leaf: '1c' | '1d' | '7b' | '7c' | '7d' | 'd1a' | 'e1c' | 'e1d', bit: number];

/** Instruction-set features that can be switched, with their CPUID bits. */
const featureBits: Readonly<Partial<Record<Feature | 'pcid' | 'umip' | 'smep' | 'erms' | 'fsrm' | 'tsc-deadline' | 'x2apic' | 'pdpe1gb' | 'lahf' | 'vmx' | 'svm' | 'arch-capabilities', Bit>>> = {
  sse3: ['1c', 0], pclmulqdq: ['1c', 1], ssse3: ['1c', 9], cx16: ['1c', 13], vmx: ['1c', 5], pcid: ['1c', 17], sse4_1: ['1c', 19], sse4_2: ['1c', 20], x2apic: ['1c', 21],
  movbe: ['1c', 22], popcnt: ['1c', 23], 'tsc-deadline': ['1c', 24], aes: ['1c', 25], xsave: ['1c', 26], rdrand: ['1c', 30],
  mmx: ['1d', 23], fxsr: ['1d', 24], sse: ['1d', 25], sse2: ['1d', 26],
  fsgsbase: ['7b', 0], bmi1: ['7b', 3], smep: ['7b', 7], bmi2: ['7b', 8], erms: ['7b', 9], invpcid: ['7b', 10], rdseed: ['7b', 18], adx: ['7b', 19], smap: ['7b', 20],
  clflushopt: ['7b', 23], clwb: ['7b', 24], umip: ['7c', 2], rdpid: ['7c', 22], fsrm: ['7d', 4], serialize: ['7d', 14], 'arch-capabilities': ['7d', 29],
  xsaveopt: ['d1a', 0], xsavec: ['d1a', 1], xsaves: ['d1a', 3],
  lahf: ['e1c', 0], svm: ['e1c', 2], lzcnt: ['e1c', 5], prefetchw: ['e1c', 8], pdpe1gb: ['e1d', 26], rdtscp: ['e1d', 27],
};
type Switch = FeatureName | VmxFeature | SvmFeature;
export type FeatureName = keyof typeof featureBits;
const featureNames = Object.keys(featureBits) as FeatureName[];

const level1: readonly FeatureName[] = ['mmx', 'fxsr', 'sse', 'sse2'];
const machine: readonly FeatureName[] = ['tsc-deadline', 'rdrand', 'fsgsbase', 'erms', 'fsrm', 'rdtscp', 'pdpe1gb', 'prefetchw', 'lahf', 'arch-capabilities', 'serialize'];
const level2: readonly FeatureName[] = [...level1, ...machine, 'sse3', 'ssse3', 'cx16', 'sse4_1', 'sse4_2', 'popcnt'];
const everything = [...featureNames, ...vmxFeatures, ...svmFeatures];
/** A processor is Intel's or AMD's. */
const amdFeatures: readonly string[] = ['svm', ...svmFeatures];
const intelFeatures: readonly string[] = ['vmx', ...vmxFeatures, 'arch-capabilities', 'serialize'];

const cpuModels: Readonly<Record<string, readonly Switch[]>> = {
  'x86-64': [...level1, ...machine],
  'x86-64-v2': level2,
  max: everything.filter((feature) => !amdFeatures.includes(feature)),
};
export const defaultCpu = 'x86-64-v2';

export interface CpuModel {
  readonly features: ReadonlySet<string>;
  /** What the decoder accepts. */
  readonly instructions: ReadonlySet<Feature>;
  /** Family, model and stepping as CPUID.1:EAX gives them. */
  readonly signature: number;
}

/** Family 6, model 0x1C; family 0x17, model 1. */
const intelSignature = 0x0001_06ca;
const amdSignature = 0x0080_0f12;
const isSvmFeature = (name: string): boolean => (svmFeatures as readonly string[]).includes(name);
const isVmxFeature = (name: string): boolean => (vmxFeatures as readonly string[]).includes(name);

/** Parses `MODEL[,+FEATURE][,-FEATURE]...`; throws a sentence for the user. */
export function parseCpu(text: string): CpuModel {
  const [name = '', ...changes] = text.split(',');
  const base = cpuModels[name];
  if (!base) throw new Error(`cpu '${name}': no such model; there are ${Object.keys(cpuModels).join(', ')}`);
  const features = new Set<string>(base);
  for (const change of changes) {
    const feature = change.replace(/^[+-]/, '');
    if (!(everything as readonly string[]).includes(feature)) throw new Error(`cpu feature '${feature}': not known; there are ${everything.join(', ')}`);
    const on = !change.startsWith('-');
    if (on && isVmxFeature(feature) && !features.has('vmx')) throw new Error(`cpu feature '${feature}': is a part of vmx; write +vmx before it`);
    if (on && isSvmFeature(feature) && !features.has('svm')) throw new Error(`cpu feature '${feature}': is a part of svm; write +svm before it`);
    if (on && feature === 'svm' && features.has('vmx')) throw new Error(`cpu feature 'svm': is AMD's, and vmx is Intel's; a processor has one of them`);
    if (on && feature === 'vmx' && features.has('svm')) throw new Error(`cpu feature 'vmx': is Intel's, and svm is AMD's; a processor has one of them`);
    for (const each of feature === 'vmx' ? ['vmx', ...vmxFeatures] : feature === 'svm' ? amdFeatures : [feature])
      if (on) features.add(each);
      else features.delete(each);
    if (on && feature === 'svm') for (const each of intelFeatures) features.delete(each);
  }
  for (const name of vmxFeatures) {
    const needs = vmxFeatureNeeds[name];
    if (needs !== undefined && !features.has(needs)) features.delete(name);
  }
  const instructions = new Set(features) as Set<Feature>;
  instructions.add('x87');
  return { features, instructions, signature: features.has('svm') ? amdSignature : intelSignature };
}

export interface CpuidContext {
  readonly apicId: number;
  readonly cpuCount: number;
  readonly osxsave: boolean;
  readonly xcr0: number;
}

const brand = 'Testudo x86-64 processor';

function gather(features: ReadonlySet<string>, leaf: Bit[0]): number {
  let word = 0;
  for (const name of features) {
    const bit = featureBits[name as FeatureName];
    if (bit && bit[0] === leaf) word |= 1 << bit[1];
  }
  return word;
}

const maxBasicLeaf = 0x16;
const maxExtendedLeaf = 0x8000_0008;
const maxAmdBasicLeaf = 0xd;
const maxAmdExtendedLeaf = 0x8000_000a;
/** Address space identifiers of SVM. */
const asidCount = 64;

/** EAX, EBX, ECX, EDX. A basic leaf beyond the last gives the last one's data, as Intel's do. */
export function cpuid(model: CpuModel, leaf: number, subleaf: number, context: CpuidContext): readonly [number, number, number, number] {
  const { features } = model;
  const { apicId, cpuCount } = context;
  const amd = features.has('svm') ? amdLeaf(features, leaf) : undefined;
  if (amd) return amd;
  switch (leaf) {
    case 0: return [maxBasicLeaf, 0x756e_6547, 0x6c65_746e, 0x4965_6e69];
    case 1: {
      const always = 0x0000_0001 | 0x8 | 0x10 | 0x20 | 0x40 | 0x100 | 0x200 | 0x800 | 0x1000 | 0x2000 | 0x8000 | 0x1_0000 | 0x2_0000 | 0x8_0000; // FPU PSE TSC MSR PAE CX8 APIC SEP MTRR PGE CMOV PAT PSE36 CLFSH
      const ecx = gather(features, '1c') | (context.osxsave ? 1 << 27 : 0);
      return [model.signature, (apicId << 24) | (cpuCount << 16) | 0x800, ecx, always | 0x4 | gather(features, '1d') | (cpuCount > 1 ? 1 << 28 : 0)];
    }
    case 2: return [cacheDescriptors, 0, 0, 0];
    case 4: return cacheLeaf(subleaf, cpuCount);
    case 6: return [4, 0, 0, 0]; // ARAT
    case 7: return subleaf === 0 ? [0, gather(features, '7b') | 2, gather(features, '7c'), gather(features, '7d')] : [0, 0, 0, 0];
    case 0xb: return topologyLeaf(subleaf, apicId, cpuCount);
    case 0xd: return stateLeaf(model, subleaf, context);
    case 0x15: return [1, tscHz / crystalHz, crystalHz, 0];
    case 0x8000_0000: return [maxExtendedLeaf | 0, 0, 0, 0];
    case 0x8000_0001: return [model.signature, 0, gather(features, 'e1c'), gather(features, 'e1d') | (1 << 11) | (1 << 20) | (1 << 29)];
    case 0x8000_0002: case 0x8000_0003: case 0x8000_0004: return brandWords(leaf - 0x8000_0002);
    case 0x8000_0006: return [0, 0, 0x0100_6040, 0];
    case 0x8000_0007: return [0, 0, 0, 0x100]; // invariant TSC
    case 0x8000_0008: return [0x3028, 0, 0, 0];
    default:
      if (leaf > maxBasicLeaf && leaf < 0x8000_0000) return cpuid(model, maxBasicLeaf, subleaf, context);
      return leaf === 0x16 ? [tscHz / 1e6, tscHz / 1e6, 100, 0] : [0, 0, 0, 0];
  }
}

/** Leaves that differ on AMD's processors. APM 3, appendix E. */
function amdLeaf(features: ReadonlySet<string>, leaf: number): readonly [number, number, number, number] | undefined {
  switch (leaf) {
    case 0: return [maxAmdBasicLeaf, 0x6874_7541, 0x444d_4163, 0x6974_6e65];
    case 0x8000_0000: return [maxAmdExtendedLeaf | 0, 0, 0, 0];
    case 0x8000_0005: return [0, 0, 0x2008_0140, 0x2008_0140]; // L1: 32 KiB, 8 ways
    case 0x8000_000a: {
      const decodeAssists = 1 << 7;
      const flushByAsid = 1 << 6;
      return [1, asidCount, 0, decodeAssists | flushByAsid | (features.has('npt') ? 1 : 0) | (features.has('nrip-save') ? 8 : 0)];
    }
    case 2: case 4: return [0, 0, 0, 0];
    default: return leaf > maxAmdBasicLeaf && leaf < 0x8000_0000 ? [0, 0, 0, 0] : undefined;
  }
}

/**
 * The caches of leaf 4 as descriptors: L2 of 256 KiB, L1i, L1d. A descriptor that says `see leaf 4` would have each program of the GNU C library use CPUID
 * 54 times as it starts instead of 21, which are exits where a hypervisor runs it. SDM 2A, table 3-12.
 */
const cacheDescriptors = 0x2130_2c01;

function cacheLeaf(subleaf: number, cpuCount: number): readonly [number, number, number, number] {
  const cores = Math.min(63, cpuCount - 1) << 26;
  switch (subleaf) {
    case 0: return [cores | 0x121, (7 << 22) | 63, 63, 0]; // L1d 32 KiB, 8 ways
    case 1: return [cores | 0x122, (7 << 22) | 63, 63, 0]; // L1i
    case 2: return [cores | 0x143, (7 << 22) | 63, 511, 0]; // L2 256 KiB
    default: return [0, 0, 0, 0];
  }
}

function topologyLeaf(subleaf: number, apicId: number, cpuCount: number): readonly [number, number, number, number] {
  const coreBits = Math.ceil(Math.log2(Math.max(1, cpuCount)));
  if (subleaf === 0) return [0, 1, 0x100, apicId];
  if (subleaf === 1) return [coreBits, cpuCount, 0x201, apicId];
  return [0, 0, subleaf & 0xff, apicId];
}

function stateLeaf(model: CpuModel, subleaf: number, context: CpuidContext): readonly [number, number, number, number] {
  if (!model.features.has('xsave')) return [0, 0, 0, 0];
  if (subleaf === 0) return [3, 0x240, 0x240, 0];
  if (subleaf === 1) return [gather(model.features, 'd1a') | 4, context.xcr0 === 0 ? 0 : 0x240, 0, 0];
  return [0, 0, 0, 0];
}

function brandWords(index: number): readonly [number, number, number, number] {
  const bytes = new Uint8Array(48);
  new TextEncoder().encodeInto(brand, bytes);
  const view = new DataView(bytes.buffer);
  const word = (n: number): number => view.getUint32(index * 16 + n * 4, true);
  return [word(0), word(1), word(2), word(3)];
}
