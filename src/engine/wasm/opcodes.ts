/** Opcode bytes of the WebAssembly instructions that the engine emits. WebAssembly 2.0, appendix A.7. */
import type { VectorOp1, VectorOp2 } from '../../isa/vector-names.ts';

export const Op = {
  unreachable: 0x00, block: 0x02, loop: 0x03, if: 0x04, else: 0x05, end: 0x0b, br: 0x0c, brIf: 0x0d, return: 0x0f,
  call: 0x10, callIndirect: 0x11, brTable: 0x0e, drop: 0x1a, select: 0x1b, localGet: 0x20, localSet: 0x21, localTee: 0x22,
  i32Load: 0x28, i64Load: 0x29, f32Load: 0x2a, f64Load: 0x2b, i32Load8U: 0x2d, i32Load16U: 0x2f, i64Load8U: 0x31, i64Load16U: 0x33, i64Load32S: 0x34, i64Load32U: 0x35,
  i32Store: 0x36, i64Store: 0x37, i64Store8: 0x3c, i64Store16: 0x3d, i64Store32: 0x3e, i32Store8: 0x3a, i32Store16: 0x3b,
  i32Const: 0x41, i64Const: 0x42, i32Eqz: 0x45, i32Eq: 0x46, i32Ne: 0x47, i32LtS: 0x48, i32LtU: 0x49, i32GtU: 0x4b, i32LeU: 0x4d, i32GeS: 0x4e, i32GeU: 0x4f, i64Eqz: 0x50, i64Eq: 0x51, i64Ne: 0x52, i64LtS: 0x53, i64LtU: 0x54, i64GeS: 0x59, i64GeU: 0x5a,
  i32Add: 0x6a, i32Sub: 0x6b, i32Mul: 0x6c, i32And: 0x71, i32Or: 0x72, i32Xor: 0x73, i32Shl: 0x74, i32ShrS: 0x75, i32ShrU: 0x76, i32Rotl: 0x77,
  i64Clz: 0x79, i64Ctz: 0x7a, i64Popcnt: 0x7b, i64Add: 0x7c, i64Sub: 0x7d, i64Mul: 0x7e, i64DivS: 0x7f, i64DivU: 0x80, i64RemS: 0x81, i64RemU: 0x82,
  i64And: 0x83, i64Or: 0x84, i64Xor: 0x85, i64Shl: 0x86, i64ShrS: 0x87, i64ShrU: 0x88,
  i32WrapI64: 0xa7, i64ExtendI32S: 0xac, i64ExtendI32U: 0xad, i64Extend8S: 0xc2, i64Extend16S: 0xc3, i64Extend32S: 0xc4,
} as const;

/** Floating point. */
export const Float = {
  f32Eq: 0x5b, f32Ne: 0x5c, f32Lt: 0x5d, f32Le: 0x5f, f64Eq: 0x61, f64Ne: 0x62, f64Lt: 0x63, f64Le: 0x65,
  f32Neg: 0x8c, f64Neg: 0x9a, f32Ceil: 0x8d, f32Floor: 0x8e, f32Trunc: 0x8f, f64Ceil: 0x9b, f64Floor: 0x9c, f64Trunc: 0x9d, f32Nearest: 0x90, f32Sqrt: 0x91, f32Add: 0x92, f32Sub: 0x93, f32Mul: 0x94, f32Div: 0x95,
  f64Nearest: 0x9e, f64Sqrt: 0x9f, f64Add: 0xa0, f64Sub: 0xa1, f64Mul: 0xa2, f64Div: 0xa3,
  f32ConvertI32S: 0xb2, f32ConvertI64S: 0xb4, f32DemoteF64: 0xb6, f64ConvertI32S: 0xb7, f64ConvertI64S: 0xb9, f64PromoteF32: 0xbb,
  i32ReinterpretF32: 0xbc, i64ReinterpretF64: 0xbd, f32ReinterpretI32: 0xbe, f64ReinterpretI64: 0xbf,
} as const;

/** Sub-opcodes after 0xfd. */
export const vector1Codes: Readonly<Record<VectorOp1, number>> = {
  'v128.not': 77, 'i8x16.abs': 96, 'i16x8.abs': 128, 'i32x4.abs': 160, 'i8x16.bitmask': 100, 'i32x4.bitmask': 164, 'i64x2.bitmask': 196,
  'i16x8.extend_low_i8x16_s': 135, 'i16x8.extend_low_i8x16_u': 137, 'i32x4.extend_low_i16x8_s': 167, 'i32x4.extend_low_i16x8_u': 169,
  'i64x2.extend_low_i32x4_s': 199, 'i64x2.extend_low_i32x4_u': 201, 'i8x16.splat': 15,
};
export const vector2Codes: Readonly<Record<VectorOp2, number>> = {
  'v128.and': 78, 'v128.andnot': 79, 'v128.or': 80, 'v128.xor': 81,
  'i8x16.add': 110, 'i16x8.add': 142, 'i32x4.add': 174, 'i64x2.add': 206, 'i8x16.sub': 113, 'i16x8.sub': 145, 'i32x4.sub': 177, 'i64x2.sub': 209,
  'i8x16.add_sat_s': 111, 'i8x16.add_sat_u': 112, 'i16x8.add_sat_s': 143, 'i16x8.add_sat_u': 144,
  'i8x16.sub_sat_s': 114, 'i8x16.sub_sat_u': 115, 'i16x8.sub_sat_s': 146, 'i16x8.sub_sat_u': 147,
  'i8x16.eq': 35, 'i16x8.eq': 45, 'i32x4.eq': 55, 'i64x2.eq': 214, 'i8x16.gt_s': 39, 'i16x8.gt_s': 49, 'i32x4.gt_s': 59, 'i64x2.gt_s': 217,
  'i8x16.min_s': 118, 'i8x16.min_u': 119, 'i8x16.max_s': 120, 'i8x16.max_u': 121, 'i16x8.min_s': 150, 'i16x8.min_u': 151, 'i16x8.max_s': 152, 'i16x8.max_u': 153,
  'i32x4.min_s': 182, 'i32x4.min_u': 183, 'i32x4.max_s': 184, 'i32x4.max_u': 185, 'i8x16.avgr_u': 123, 'i16x8.avgr_u': 155,
  'i16x8.mul': 149, 'i32x4.mul': 181, 'i32x4.dot_i16x8_s': 186, 'i16x8.extmul_low_i8x16_s': 156, 'i32x4.extmul_low_i16x8_s': 188, 'i32x4.extmul_high_i16x8_s': 189,
  'i32x4.extmul_low_i16x8_u': 190, 'i32x4.extmul_high_i16x8_u': 191, 'i64x2.extmul_low_i32x4_s': 220, 'i64x2.extmul_low_i32x4_u': 222,
  'i8x16.narrow_i16x8_s': 101, 'i8x16.narrow_i16x8_u': 102, 'i16x8.narrow_i32x4_s': 133, 'i16x8.narrow_i32x4_u': 134, 'i8x16.swizzle': 14,
};
export const vectorShiftCodes = {
  shl: { 16: 139, 32: 171, 64: 203 }, shr_s: { 16: 140, 32: 172, 64: 204 }, shr_u: { 16: 141, 32: 173, 64: 205 },
} as const;
export const extractLaneCodes = { 8: 22, 16: 25, 32: 27, 64: 29 } as const;
export const replaceLaneCodes = { 8: 23, 16: 26, 32: 28, 64: 30 } as const;
export const floatLaneCodes = { extract: { 32: 31, 64: 33 }, replace: { 32: 32, 64: 34 } } as const;
export const Simd = { prefix: 0xfd, load: 0, store: 11, constant: 12, shuffle: 13, splat64: 18, load32Zero: 92, load64Zero: 93 } as const;

/** Truncation to a signed 64-bit integer, by the float's size; what does not fit saturates. */
export const truncateCodes = { 32: [0xfc, 4], 64: [0xfc, 6] } as const;
