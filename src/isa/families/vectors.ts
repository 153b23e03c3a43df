/** SSE to SSE4.2 on integers and the moves of all vectors, with the MMX forms of the same operations: a table. SDM 2, chapters 3 and 4, and appendix A. */
import type { Feature, Instruction, Notation } from '../instruction.ts';
import type { Meaning } from '../ops.ts';
import { type RowOptions, row } from '../table.ts';
import type { VectorOp1 } from '../vector-names.ts';
import { textFamily } from './text.ts';
import {
  absolute,
  alignRight,
  blend,
  blendByMask,
  bytes,
  carryless,
  cipher,
  combine,
  duplicate,
  emptyMmx,
  evenProduct,
  extend,
  extract,
  gathered,
  highProduct,
  highToLow,
  horizontal,
  insert,
  insertSingle,
  interleave,
  load,
  loadHigh,
  loadMmx,
  lowToHigh,
  maskedStore,
  merge,
  move,
  moveAligned,
  moveMmx,
  plain,
  roundedProduct,
  shiftBy,
  shiftWhole,
  shuffleBytes,
  shuffleTwo,
  shuffleWords,
  sign,
  signMask,
  smallestWord,
  storeHigh,
  sumOfDifferences,
  sumsOfDifferences,
  swapped,
  test,
  unaryCipher,
  unsignedBySigned,
} from './vector-meanings.ts';

/** An operation that exists on XMM registers (66) and, from `mmx` on, on MMX registers (no prefix). */
function both(name: string, opcode: number, meaning: Meaning, feature: Feature, mmx: Feature | undefined): Instruction[] {
  const rows = [row(name, opcode, 'Vx Wx', meaning, { prefix: 0x66, feature })];
  if (mmx) rows.push(row(name, opcode, 'Pq Qq', meaning, { prefix: 0, feature: mmx }));
  return rows;
}
const table: readonly (readonly [name: string, byte: number, meaning: Meaning, mmx?: Feature])[] = [
  ['punpcklbw', 0x60, interleave(1, false), 'mmx'], ['punpcklwd', 0x61, interleave(2, false), 'mmx'], ['punpckldq', 0x62, interleave(4, false), 'mmx'],
  ['packsswb', 0x63, gathered((o, a, b) => o.vector2('i8x16.narrow_i16x8_s', a, b)), 'mmx'],
  ['pcmpgtb', 0x64, plain('i8x16.gt_s'), 'mmx'], ['pcmpgtw', 0x65, plain('i16x8.gt_s'), 'mmx'], ['pcmpgtd', 0x66, plain('i32x4.gt_s'), 'mmx'],
  ['packuswb', 0x67, gathered((o, a, b) => o.vector2('i8x16.narrow_i16x8_u', a, b)), 'mmx'],
  ['punpckhbw', 0x68, interleave(1, true), 'mmx'], ['punpckhwd', 0x69, interleave(2, true), 'mmx'], ['punpckhdq', 0x6a, interleave(4, true), 'mmx'],
  ['packssdw', 0x6b, gathered((o, a, b) => o.vector2('i16x8.narrow_i32x4_s', a, b)), 'mmx'],
  ['punpcklqdq', 0x6c, interleave(8, false)], ['punpckhqdq', 0x6d, interleave(8, true)],
  ['pcmpeqb', 0x74, plain('i8x16.eq'), 'mmx'], ['pcmpeqw', 0x75, plain('i16x8.eq'), 'mmx'], ['pcmpeqd', 0x76, plain('i32x4.eq'), 'mmx'],
  ['psrlw', 0xd1, shiftBy('shr_u', 16), 'mmx'], ['psrld', 0xd2, shiftBy('shr_u', 32), 'mmx'], ['psrlq', 0xd3, shiftBy('shr_u', 64), 'mmx'],
  ['paddq', 0xd4, plain('i64x2.add'), 'sse2'], ['pmullw', 0xd5, plain('i16x8.mul'), 'mmx'],
  ['psubusb', 0xd8, plain('i8x16.sub_sat_u'), 'mmx'], ['psubusw', 0xd9, plain('i16x8.sub_sat_u'), 'mmx'], ['pminub', 0xda, plain('i8x16.min_u'), 'sse'],
  ['pand', 0xdb, plain('v128.and'), 'mmx'], ['paddusb', 0xdc, plain('i8x16.add_sat_u'), 'mmx'], ['paddusw', 0xdd, plain('i16x8.add_sat_u'), 'mmx'],
  ['pmaxub', 0xde, plain('i8x16.max_u'), 'sse'], ['pandn', 0xdf, swapped('v128.andnot'), 'mmx'],
  ['pavgb', 0xe0, plain('i8x16.avgr_u'), 'sse'], ['psraw', 0xe1, shiftBy('shr_s', 16), 'mmx'], ['psrad', 0xe2, shiftBy('shr_s', 32), 'mmx'],
  ['pavgw', 0xe3, plain('i16x8.avgr_u'), 'sse'], ['pmulhuw', 0xe4, combine(highProduct('u')), 'sse'], ['pmulhw', 0xe5, combine(highProduct('s')), 'mmx'],
  ['psubsb', 0xe8, plain('i8x16.sub_sat_s'), 'mmx'], ['psubsw', 0xe9, plain('i16x8.sub_sat_s'), 'mmx'], ['pminsw', 0xea, plain('i16x8.min_s'), 'sse'],
  ['por', 0xeb, plain('v128.or'), 'mmx'], ['paddsb', 0xec, plain('i8x16.add_sat_s'), 'mmx'], ['paddsw', 0xed, plain('i16x8.add_sat_s'), 'mmx'],
  ['pmaxsw', 0xee, plain('i16x8.max_s'), 'sse'], ['pxor', 0xef, plain('v128.xor'), 'mmx'],
  ['psllw', 0xf1, shiftBy('shl', 16), 'mmx'], ['pslld', 0xf2, shiftBy('shl', 32), 'mmx'], ['psllq', 0xf3, shiftBy('shl', 64), 'mmx'],
  ['pmuludq', 0xf4, combine(evenProduct('u')), 'sse2'], ['pmaddwd', 0xf5, plain('i32x4.dot_i16x8_s'), 'mmx'], ['psadbw', 0xf6, combine(sumOfDifferences), 'sse'],
  ['psubb', 0xf8, plain('i8x16.sub'), 'mmx'], ['psubw', 0xf9, plain('i16x8.sub'), 'mmx'], ['psubd', 0xfa, plain('i32x4.sub'), 'mmx'], ['psubq', 0xfb, plain('i64x2.sub'), 'sse2'],
  ['paddb', 0xfc, plain('i8x16.add'), 'mmx'], ['paddw', 0xfd, plain('i16x8.add'), 'mmx'], ['paddd', 0xfe, plain('i32x4.add'), 'mmx'],
];
const ssse3: readonly (readonly [name: string, byte: number, meaning: Meaning])[] = [
  ['pshufb', 0x00, shuffleBytes], ['phaddw', 0x01, gathered(horizontal('i16x8.add'))], ['phaddd', 0x02, gathered(horizontal('i32x4.add'))],
  ['phaddsw', 0x03, gathered(horizontal('i16x8.add_sat_s'))], ['pmaddubsw', 0x04, combine(unsignedBySigned)],
  ['phsubw', 0x05, gathered(horizontal('i16x8.sub'))], ['phsubd', 0x06, gathered(horizontal('i32x4.sub'))], ['phsubsw', 0x07, gathered(horizontal('i16x8.sub_sat_s'))],
  ['psignb', 0x08, combine(sign(8))], ['psignw', 0x09, combine(sign(16))], ['psignd', 0x0a, combine(sign(32))], ['pmulhrsw', 0x0b, combine(roundedProduct)],
  ['pabsb', 0x1c, absolute('i8x16.abs')], ['pabsw', 0x1d, absolute('i16x8.abs')], ['pabsd', 0x1e, absolute('i32x4.abs')],
];
const sse4: readonly (readonly [name: string, byte: number, meaning: Meaning])[] = [
  ['pmuldq', 0x28, combine(evenProduct('s'))], ['pcmpeqq', 0x29, plain('i64x2.eq')], ['packusdw', 0x2b, plain('i16x8.narrow_i32x4_u')],
  ['pminsb', 0x38, plain('i8x16.min_s')], ['pminsd', 0x39, plain('i32x4.min_s')], ['pminuw', 0x3a, plain('i16x8.min_u')], ['pminud', 0x3b, plain('i32x4.min_u')],
  ['pmaxsb', 0x3c, plain('i8x16.max_s')], ['pmaxsd', 0x3d, plain('i32x4.max_s')], ['pmaxuw', 0x3e, plain('i16x8.max_u')], ['pmaxud', 0x3f, plain('i32x4.max_u')],
  ['pmulld', 0x40, plain('i32x4.mul')], ['phminposuw', 0x41, smallestWord], ['ptest', 0x17, test],
  ['pblendvb', 0x10, blendByMask('i8x16.gt_s')], ['blendvps', 0x14, blendByMask('i32x4.gt_s')], ['blendvpd', 0x15, blendByMask('i64x2.gt_s')],
];
const extensions: readonly (readonly [name: string, byte: number, source: Notation, steps: VectorOp1[]])[] = (['s', 'u'] as const).flatMap((s, n) => {
  const [bw, wd, dq] = [`i16x8.extend_low_i8x16_${s}`, `i32x4.extend_low_i16x8_${s}`, `i64x2.extend_low_i32x4_${s}`] as const;
  const base = 0x20 + n * 0x10;
  const name = s === 's' ? 'pmovsx' : 'pmovzx';
  return [
    [`${name}bw`, base, 'Wq', [bw]], [`${name}bd`, base + 1, 'Wd', [bw, wd]], [`${name}bq`, base + 2, 'Ww', [bw, wd, dq]],
    [`${name}wd`, base + 3, 'Wq', [wd]], [`${name}wq`, base + 4, 'Wd', [wd, dq]], [`${name}dq`, base + 5, 'Wq', [dq]],
  ] as const satisfies readonly (readonly [string, number, Notation, VectorOp1[]])[];
});
const byImmediate: RowOptions = { immediateInShape: true };
const shiftImmediates: readonly (readonly [name: string, byte: number, digit: number, op: 'shl' | 'shr_u' | 'shr_s', lane: 16 | 32 | 64])[] = [
  ['psrlw', 0x71, 2, 'shr_u', 16], ['psraw', 0x71, 4, 'shr_s', 16], ['psllw', 0x71, 6, 'shl', 16], ['psrld', 0x72, 2, 'shr_u', 32],
  ['psrad', 0x72, 4, 'shr_s', 32], ['pslld', 0x72, 6, 'shl', 32], ['psrlq', 0x73, 2, 'shr_u', 64], ['psllq', 0x73, 6, 'shl', 64],
];
const moves = (name: string, byte: number, operands: string, meaning: Meaning, prefix: 0 | 0x66 | 0xf3 | 0xf2, feature: Feature, options: RowOptions = {}): Instruction =>
  row(name, 0x0f00 + byte, operands, meaning, { prefix, feature, ...options });

export const vectorFamily: readonly Instruction[] = [
  ...table.flatMap(([name, byte, meaning, mmx]) => both(name, 0x0f00 + byte, meaning, 'sse2', mmx)),
  ...ssse3.flatMap(([name, byte, meaning]) => both(name, 0x0f3800 + byte, meaning, 'ssse3', 'ssse3')),
  ...sse4.map(([name, byte, meaning]) => row(name, 0x0f3800 + byte, 'Vx Wx', meaning, { prefix: 0x66, feature: 'sse4_1' })),
  row('pcmpgtq', 0x0f3837, 'Vx Wx', plain('i64x2.gt_s'), { prefix: 0x66, feature: 'sse4_2' }),
  ...extensions.map(([name, byte, source, steps]) => row(name, 0x0f3800 + byte, `Vx ${source}`, extend(...steps), { prefix: 0x66, feature: 'sse4_1' })),
  ...shiftImmediates.flatMap(([name, byte, digit, op, lane]) => [
    row(name, 0x0f00 + byte, 'Ux Ib', shiftBy(op, lane), { prefix: 0x66, digit, mod: 'register', feature: 'sse2' }),
    row(name, 0x0f00 + byte, 'Nq Ib', shiftBy(op, lane), { prefix: 0, digit, mod: 'register', feature: 'mmx' }),
  ]),
  row('psrldq', 0x0f73, 'Ux Ib', shiftWhole(false), { prefix: 0x66, digit: 3, mod: 'register', feature: 'sse2', ...byImmediate }),
  row('pslldq', 0x0f73, 'Ux Ib', shiftWhole(true), { prefix: 0x66, digit: 7, mod: 'register', feature: 'sse2', ...byImmediate }),
  moves('pshufd', 0x70, 'Vx Wx Ib', shuffleWords(0, 8), 0x66, 'sse2', byImmediate),
  moves('pshufhw', 0x70, 'Vx Wx Ib', shuffleWords(8, 4), 0xf3, 'sse2', byImmediate),
  moves('pshuflw', 0x70, 'Vx Wx Ib', shuffleWords(0, 4), 0xf2, 'sse2', byImmediate),
  moves('pshufw', 0x70, 'Pq Qq Ib', shuffleWords(0, 4), 0, 'sse', byImmediate),
  row('palignr', 0x0f3a0f, 'Vx Wx Ib', alignRight, { prefix: 0x66, feature: 'ssse3', ...byImmediate }),
  row('palignr', 0x0f3a0f, 'Pq Qq Ib', alignRight, { prefix: 0, feature: 'ssse3', ...byImmediate }),
  moves('shufps', 0xc6, 'Vx Wx Ib', shuffleTwo(4), 0, 'sse', byImmediate),
  moves('shufpd', 0xc6, 'Vx Wx Ib', shuffleTwo(8), 0x66, 'sse2', byImmediate),
  row('pblendw', 0x0f3a0e, 'Vx Wx Ib', blend(2), { prefix: 0x66, feature: 'sse4_1', ...byImmediate }),
  row('blendps', 0x0f3a0c, 'Vx Wx Ib', blend(4), { prefix: 0x66, feature: 'sse4_1', ...byImmediate }),
  row('blendpd', 0x0f3a0d, 'Vx Wx Ib', blend(8), { prefix: 0x66, feature: 'sse4_1', ...byImmediate }),
  row('mpsadbw', 0x0f3a42, 'Vx Wx Ib', sumsOfDifferences, { prefix: 0x66, feature: 'sse4_1', ...byImmediate }),
  moves('pinsrw', 0xc4, 'Vx Mw Ib', insert(16), 0x66, 'sse2', { mod: 'memory', ...byImmediate }),
  moves('pinsrw', 0xc4, 'Vx Rd Ib', insert(16), 0x66, 'sse2', { mod: 'register', ...byImmediate }),
  moves('pinsrw', 0xc4, 'Pq Mw Ib', insert(16), 0, 'sse', { mod: 'memory', ...byImmediate }),
  moves('pinsrw', 0xc4, 'Pq Rd Ib', insert(16), 0, 'sse', { mod: 'register', ...byImmediate }),
  moves('pextrw', 0xc5, 'Gy Ux Ib', extract(16), 0x66, 'sse2', { mod: 'register', ...byImmediate }),
  moves('pextrw', 0xc5, 'Gy Nq Ib', extract(16), 0, 'sse', { mod: 'register', ...byImmediate }),
  row('pinsrb', 0x0f3a20, 'Vx Mb Ib', insert(8), { prefix: 0x66, feature: 'sse4_1', mod: 'memory', ...byImmediate }),
  row('pinsrb', 0x0f3a20, 'Vx Rd Ib', insert(8), { prefix: 0x66, feature: 'sse4_1', mod: 'register', ...byImmediate }),
  row('insertps', 0x0f3a21, 'Vx Md Ib', insertSingle, { prefix: 0x66, feature: 'sse4_1', mod: 'memory', ...byImmediate }),
  row('insertps', 0x0f3a21, 'Vx Ux Ib', insertSingle, { prefix: 0x66, feature: 'sse4_1', mod: 'register', ...byImmediate }),
  row('pinsrd', 0x0f3a22, 'Vx Ed Ib', insert(32), { prefix: 0x66, feature: 'sse4_1', w: 0, ...byImmediate }),
  row('pinsrq', 0x0f3a22, 'Vx Eq Ib', insert(64), { prefix: 0x66, feature: 'sse4_1', w: 1, ...byImmediate }),
  row('pextrb', 0x0f3a14, 'Mb Vx Ib', extract(8), { prefix: 0x66, feature: 'sse4_1', mod: 'memory', ...byImmediate }),
  row('pextrb', 0x0f3a14, 'Ry Vx Ib', extract(8), { prefix: 0x66, feature: 'sse4_1', mod: 'register', ...byImmediate }),
  row('pextrw', 0x0f3a15, 'Mw Vx Ib', extract(16), { prefix: 0x66, feature: 'sse4_1', mod: 'memory', ...byImmediate }),
  row('pextrw', 0x0f3a15, 'Ry Vx Ib', extract(16), { prefix: 0x66, feature: 'sse4_1', mod: 'register', ...byImmediate }),
  row('pextrd', 0x0f3a16, 'Ed Vx Ib', extract(32), { prefix: 0x66, feature: 'sse4_1', w: 0, ...byImmediate }),
  row('pextrq', 0x0f3a16, 'Eq Vx Ib', extract(64), { prefix: 0x66, feature: 'sse4_1', w: 1, ...byImmediate }),
  row('extractps', 0x0f3a17, 'Md Vx Ib', extract(32), { prefix: 0x66, feature: 'sse4_1', mod: 'memory', ...byImmediate }),
  row('extractps', 0x0f3a17, 'Ry Vx Ib', extract(32), { prefix: 0x66, feature: 'sse4_1', mod: 'register', ...byImmediate }),
  moves('pmovmskb', 0xd7, 'Gy Ux', signMask('i8x16.bitmask'), 0x66, 'sse2'),
  moves('pmovmskb', 0xd7, 'Gy Nq', signMask('i8x16.bitmask'), 0, 'sse'),
  moves('movmskps', 0x50, 'Gy Ux', signMask('i32x4.bitmask'), 0, 'sse'),
  moves('movmskpd', 0x50, 'Gy Ux', signMask('i64x2.bitmask'), 0x66, 'sse2'),
  // moves between registers and memory
  moves('movups', 0x10, 'Vx Wx', move, 0, 'sse'), moves('movups', 0x11, 'Wx Vx', move, 0, 'sse'),
  moves('movupd', 0x10, 'Vx Wx', move, 0x66, 'sse2'), moves('movupd', 0x11, 'Wx Vx', move, 0x66, 'sse2'),
  moves('movss', 0x10, 'Vx Md', load, 0xf3, 'sse', { mod: 'memory' }), moves('movss', 0x10, 'Vd Ud', merge, 0xf3, 'sse', { mod: 'register' }), moves('movss', 0x11, 'Wd Vd', merge, 0xf3, 'sse'),
  moves('movsd', 0x10, 'Vx Mq', load, 0xf2, 'sse2', { mod: 'memory' }), moves('movsd', 0x10, 'Vq Uq', merge, 0xf2, 'sse2', { mod: 'register' }), moves('movsd', 0x11, 'Wq Vq', merge, 0xf2, 'sse2'),
  moves('movlps', 0x12, 'Vq Mq', merge, 0, 'sse', { mod: 'memory' }), moves('movhlps', 0x12, 'Vx Ux', highToLow, 0, 'sse', { mod: 'register' }),
  moves('movlpd', 0x12, 'Vq Mq', merge, 0x66, 'sse2', { mod: 'memory' }), moves('movsldup', 0x12, 'Vx Wx', duplicate(bytes(0, 1, 2, 3, 0, 1, 2, 3, 8, 9, 10, 11, 8, 9, 10, 11)), 0xf3, 'sse3'),
  moves('movddup', 0x12, 'Vx Wq', duplicate(bytes(0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7)), 0xf2, 'sse3'),
  moves('movlps', 0x13, 'Mq Vq', merge, 0, 'sse'), moves('movlpd', 0x13, 'Mq Vq', merge, 0x66, 'sse2'),
  moves('unpcklps', 0x14, 'Vx Wx', interleave(4, false), 0, 'sse'), moves('unpcklpd', 0x14, 'Vx Wx', interleave(8, false), 0x66, 'sse2'),
  moves('unpckhps', 0x15, 'Vx Wx', interleave(4, true), 0, 'sse'), moves('unpckhpd', 0x15, 'Vx Wx', interleave(8, true), 0x66, 'sse2'),
  moves('movhps', 0x16, 'Vx Mq', loadHigh, 0, 'sse', { mod: 'memory' }), moves('movlhps', 0x16, 'Vx Ux', lowToHigh, 0, 'sse', { mod: 'register' }),
  moves('movhpd', 0x16, 'Vx Mq', loadHigh, 0x66, 'sse2', { mod: 'memory' }), moves('movshdup', 0x16, 'Vx Wx', duplicate(bytes(4, 5, 6, 7, 4, 5, 6, 7, 12, 13, 14, 15, 12, 13, 14, 15)), 0xf3, 'sse3'),
  moves('movhps', 0x17, 'Mq Vx', storeHigh, 0, 'sse'), moves('movhpd', 0x17, 'Mq Vx', storeHigh, 0x66, 'sse2'),
  moves('movaps', 0x28, 'Vx Wx', moveAligned, 0, 'sse'), moves('movaps', 0x29, 'Wx Vx', moveAligned, 0, 'sse'),
  moves('movapd', 0x28, 'Vx Wx', moveAligned, 0x66, 'sse2'), moves('movapd', 0x29, 'Wx Vx', moveAligned, 0x66, 'sse2'),
  moves('movntps', 0x2b, 'Mx Vx', moveAligned, 0, 'sse'), moves('movntpd', 0x2b, 'Mx Vx', moveAligned, 0x66, 'sse2'),
  moves('movntdq', 0xe7, 'Mx Vx', moveAligned, 0x66, 'sse2'), moves('movntq', 0xe7, 'Mq Pq', moveMmx, 0, 'sse'),
  row('movntdqa', 0x0f382a, 'Vx Mx', moveAligned, { prefix: 0x66, feature: 'sse4_1' }),
  ...(['andps', 'andnps', 'orps', 'xorps'] as const).flatMap((name, n) => {
    const meaning = [plain('v128.and'), swapped('v128.andnot'), plain('v128.or'), plain('v128.xor')][n] ?? move;
    return [moves(name, 0x54 + n, 'Vx Wx', meaning, 0, 'sse'), moves(name.replace('ps', 'pd'), 0x54 + n, 'Vx Wx', meaning, 0x66, 'sse2')];
  }),
  moves('movd', 0x6e, 'Vx Ey', load, 0x66, 'sse2'), moves('movd', 0x7e, 'Ey Vy', move, 0x66, 'sse2'),
  moves('movd', 0x6e, 'Pq Ey', moveMmx, 0, 'mmx'), moves('movd', 0x7e, 'Ey Py', moveMmx, 0, 'mmx'),
  moves('movdqa', 0x6f, 'Vx Wx', moveAligned, 0x66, 'sse2'), moves('movdqu', 0x6f, 'Vx Wx', move, 0xf3, 'sse2'), moves('movq', 0x6f, 'Pq Qq', moveMmx, 0, 'mmx'),
  moves('movdqa', 0x7f, 'Wx Vx', moveAligned, 0x66, 'sse2'), moves('movdqu', 0x7f, 'Wx Vx', move, 0xf3, 'sse2'), moves('movq', 0x7f, 'Qq Pq', moveMmx, 0, 'mmx'),
  moves('movq', 0x7e, 'Vx Wq', load, 0xf3, 'sse2'),
  moves('movq', 0xd6, 'Mq Vq', move, 0x66, 'sse2', { mod: 'memory' }), moves('movq', 0xd6, 'Ux Vq', load, 0x66, 'sse2', { mod: 'register' }),
  moves('movq2dq', 0xd6, 'Vx Nq', loadMmx, 0xf3, 'sse2', { mod: 'register' }), moves('movdq2q', 0xd6, 'Pq Uq', moveMmx, 0xf2, 'sse2', { mod: 'register' }),
  moves('lddqu', 0xf0, 'Vx Mx', move, 0xf2, 'sse3'),
  moves('maskmovdqu', 0xf7, 'Vx Ux', maskedStore, 0x66, 'sse2', { mod: 'register', string: true }), moves('maskmovq', 0xf7, 'Pq Nq', maskedStore, 0, 'sse', { mod: 'register', string: true }),
  moves('emms', 0x77, '', emptyMmx, 0, 'mmx'),
  ...textFamily,
  ...(['aesimc', 'aesenc', 'aesenclast', 'aesdec', 'aesdeclast'] as const).map((name, n) =>
    row(name, 0x0f38db + n, 'Vx Wx', n === 0 ? unaryCipher(0) : cipher(n), { prefix: 0x66, feature: 'aes', ...(n === 0 ? { immediateInShape: true } : {}) }),
  ),
  row('aeskeygenassist', 0x0f3adf, 'Vx Wx Ib', unaryCipher(5), { prefix: 0x66, feature: 'aes', ...byImmediate }),
  row('pclmulqdq', 0x0f3a44, 'Vx Wx Ib', carryless, { prefix: 0x66, feature: 'pclmulqdq', ...byImmediate }),
];
