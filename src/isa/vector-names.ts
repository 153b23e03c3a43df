/** Vector operations by the names WebAssembly gives them, where they mean exactly what SSE means. */
const vectorOps1 = ['v128.not', 'i8x16.abs', 'i16x8.abs', 'i32x4.abs', 'i8x16.bitmask', 'i32x4.bitmask', 'i64x2.bitmask',
  'i16x8.extend_low_i8x16_s', 'i16x8.extend_low_i8x16_u', 'i32x4.extend_low_i16x8_s', 'i32x4.extend_low_i16x8_u',
  'i64x2.extend_low_i32x4_s', 'i64x2.extend_low_i32x4_u', 'i8x16.splat'] as const;
const vectorOps2 = ['v128.and', 'v128.andnot', 'v128.or', 'v128.xor',
  'i8x16.add', 'i16x8.add', 'i32x4.add', 'i64x2.add', 'i8x16.sub', 'i16x8.sub', 'i32x4.sub', 'i64x2.sub',
  'i8x16.add_sat_s', 'i8x16.add_sat_u', 'i16x8.add_sat_s', 'i16x8.add_sat_u', 'i8x16.sub_sat_s', 'i8x16.sub_sat_u', 'i16x8.sub_sat_s', 'i16x8.sub_sat_u',
  'i8x16.eq', 'i16x8.eq', 'i32x4.eq', 'i64x2.eq', 'i8x16.gt_s', 'i16x8.gt_s', 'i32x4.gt_s', 'i64x2.gt_s',
  'i8x16.min_s', 'i8x16.min_u', 'i8x16.max_s', 'i8x16.max_u', 'i16x8.min_s', 'i16x8.min_u', 'i16x8.max_s', 'i16x8.max_u',
  'i32x4.min_s', 'i32x4.min_u', 'i32x4.max_s', 'i32x4.max_u', 'i8x16.avgr_u', 'i16x8.avgr_u',
  'i16x8.mul', 'i32x4.mul', 'i32x4.dot_i16x8_s', 'i16x8.extmul_low_i8x16_s', 'i32x4.extmul_low_i16x8_s', 'i32x4.extmul_high_i16x8_s',
  'i32x4.extmul_low_i16x8_u', 'i32x4.extmul_high_i16x8_u', 'i64x2.extmul_low_i32x4_s', 'i64x2.extmul_low_i32x4_u',
  'i8x16.narrow_i16x8_s', 'i8x16.narrow_i16x8_u', 'i16x8.narrow_i32x4_s', 'i16x8.narrow_i32x4_u', 'i8x16.swizzle'] as const;
export type VectorOp1 = (typeof vectorOps1)[number];
export type VectorOp2 = (typeof vectorOps2)[number];
