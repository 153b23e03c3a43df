/** VMREAD and VMWRITE of fields by their encodings. SDM 3C, 25.11 and 31.3. */
import { FieldType, fieldDescriptions, fieldType } from './fields.ts';
import { fail, succeed, VmError } from './outcome.ts';
import { placeOf, type Vmcs } from './vmcs.ts';
import type { Vmx } from './vmx.ts';

const highHalf = 1;
const widthOf = fieldDescriptions.map((f) => f.width);
/** Encodings whose bits outside these are set are rights of segments: the processor keeps no others. */
const rightsMask = 0x1_f0ffn;
const isRights = (encoding: number): boolean => encoding >= 0x4814 && encoding <= 0x4822;

/** The place of a field; -1 when the processor does not support it. */
function find(x: Vmx, field: bigint): number {
  const encoding = Number(field);
  if (encoding >= 0x8000) return -1;
  const place = placeOf[encoding & ~highHalf] ?? -1;
  if (place < 0 || !x.offers(place)) return -1;
  return (encoding & highHalf) !== 0 && encoding >> 13 !== 1 ? -1 : place; // only 64-bit fields have a high half
}
const isHigh = (field: bigint): boolean => (Number(field) & highHalf) !== 0;

/** The value, zero-extended; undefined after a failure. */
export function readField(x: Vmx, vmcs: Vmcs, field: bigint): bigint | undefined {
  const place = find(x, field);
  if (place < 0) {
    fail(x, VmError.unsupportedField, vmcs);
    return undefined;
  }
  x.accessed(Number(field), false);
  const value = vmcs.get(place);
  succeed(x);
  const shown = isHigh(field) ? value >> 32n : value;
  return x.v.long ? shown : shown & 0xffff_ffffn;
}
export function writeField(x: Vmx, vmcs: Vmcs, field: bigint, value: bigint): void {
  const place = find(x, field);
  if (place < 0) return fail(x, VmError.unsupportedField, vmcs);
  const encoding = Number(field);
  if (fieldType(encoding) === FieldType.readOnly && !x.capabilities.has('shadow-vmcs')) return fail(x, VmError.readOnlyField, vmcs);
  x.accessed(encoding, true);
  if (isHigh(field)) vmcs.set(place, (vmcs.get(place) & 0xffff_ffffn) | ((value & 0xffff_ffffn) << 32n));
  else {
    const written = BigInt.asUintN(widthOf[place] ?? 64, x.v.long ? value : value & 0xffff_ffffn);
    vmcs.set(place, isRights(encoding) ? written & rightsMask : written);
  }
  succeed(x);
}
