/** VMREAD and VMWRITE of fields by their encodings. SDM 3C, 25.11 and 31.3. */
import { FieldType, fieldDescriptions, fieldType } from './fields.ts';
import { fail, succeed, VmError } from './outcome.ts';
import { placeOf, type Vmcs } from './vmcs.ts';
import type { Vmx } from './vmx.ts';

const highHalf = 1;
/** Encodings whose bits outside these are set are rights of segments: the processor keeps no others. */
const rightsMask = 0x1_f0ffn;
const isRights = (encoding: number): boolean => encoding >= 0x4814 && encoding <= 0x4822;

interface Place {
  readonly place: number;
  readonly width: number;
  readonly high: boolean;
  readonly encoding: number;
}
/** Undefined when the processor does not support such a field. */
function find(x: Vmx, field: bigint): Place | undefined {
  if (field >> 15n !== 0n) return undefined;
  const number = Number(field);
  const encoding = number & ~highHalf;
  const place = placeOf[encoding] ?? -1;
  const description = fieldDescriptions[place];
  if (!description || (description.gate !== undefined && !x.capabilities.has(description.gate))) return undefined;
  const high = (number & highHalf) !== 0;
  if (high && encoding >> 13 !== 1) return undefined; // only 64-bit fields have a high half
  return { place, width: description.width, high, encoding };
}

/** The value, zero-extended; undefined after a failure. */
export function readField(x: Vmx, vmcs: Vmcs, field: bigint): bigint | undefined {
  const found = find(x, field);
  if (!found) {
    fail(x, VmError.unsupportedField, vmcs);
    return undefined;
  }
  const value = vmcs.get(found.place);
  succeed(x);
  const shown = found.high ? value >> 32n : value;
  return x.v.long ? shown : shown & 0xffff_ffffn;
}
export function writeField(x: Vmx, vmcs: Vmcs, field: bigint, value: bigint): void {
  const found = find(x, field);
  if (!found) return fail(x, VmError.unsupportedField, vmcs);
  if (fieldType(found.encoding) === FieldType.readOnly && !x.capabilities.has('shadow-vmcs')) return fail(x, VmError.readOnlyField, vmcs);
  const before = vmcs.get(found.place);
  if (found.high) vmcs.set(found.place, (before & 0xffff_ffffn) | ((value & 0xffff_ffffn) << 32n));
  else {
    const written = BigInt.asUintN(found.width, x.v.long ? value : value & 0xffff_ffffn);
    vmcs.set(found.place, isRights(found.encoding) ? written & rightsMask : written);
  }
  succeed(x);
}
