/** xz, with the filter for x86 code that kernels are packed with. The files were made by `xz --check=crc32`, one of them with `--x86`. */
import { expect, test } from 'vitest';
import { unxz } from '../../src/cli/xz.ts';

/** Calls and jumps to addresses that are near. */
const code = new Uint8Array(
  Array.from({ length: 60 }, (_, n) => {
    const bytes = new Uint8Array([0xe8, 0, 0, 0, 0, 0x90, 0xe9, 0, 0, 0, 0]);
    const view = new DataView(bytes.buffer);
    view.setInt32(1, ((n * 37) % 1000) - 200, true);
    view.setInt32(7, n * n * 11, true);
    return [...bytes];
  }).flat(),
);
const packed = {
  filtered: [
    '/Td6WFoAAAFpIt42AgEEACEBFgANhjUf4AKTASNdAHQPW/oJB0gtVlY/NCib7M2mtTn8bcEgkiKcd/ugFGQ0fI7vSRpB0AS53RCf8QxMHKHXkTxYEAji6IJ64ETIX152NFGE1VNjFbzS',
    '3OmcZuNc47uYuQd+Iht9JgOK9HJ/6gW/AGSD2QS9xDIEagQtBewteb+iGJlw+ZokQxRAPKhtjsdyolgcqbvvfk9gyCf6k11CKWI6dCB+RtPbFJgDw1D4iBCP2Hy+Brsy5NDShQLbsLBP',
    'JzBuMRrt676B+BeRTYwTWwkOTyFVChAzJSAfXsm9Vczb1LRdI9SKoifUWbdVQ0vH8Sb/JgXbD/WEYVB3ZEkRpDDR+sJU/MsmF9MtLepvfSHLBn8AwHes1WSzH7DoNVi4hK2dDUdV5A2S',
    'KfXQekUsGAAAJW2eDAABuwKUBQAAE9Bx/T4wDYsCAAAAAAFZWg==',
  ],
  plain: [
    '/Td6WFoAAAFpIt42AgAhARYAAAB0L+Wj4AKTAR9dAHQOG/oJB0gDYcKagbmk2k2oHz/w2EXsGlJ88gFrov3pYgQhT/vmkk2qNmnCB6mutFBpdoWUnnyvKMHjCbilQRibDa0zdT7P9xlS',
    'R3jydDF0kndpexg8WeVm89Qt9q2VRBlTArDOhs8m/DqLcwX7p42JqOzyf82gdmmFNqUehM8+1/ZveS2FwvLpm6TThoL8EMdXBSUdHczQmsPMnnC+St5v908n/Gf5Ub4UZ/Mc/uM1H06d',
    'tbC6J0VSkqYeRM1uZz0uRPV7IRYMfPLYXS+NdOYTSTlMGrsg2CaxbCEy0VFH5VuhgJ5l2CLR6g/tnF0slUjh+RS+tlR6Zve7zuuGPijoC984TACXRDrtXduU+zFlR6g81pjRT22imG5+',
    '7t4AAAAlbZ4MAAG3ApQFAABoELOKPjANiwIAAAAAAVla',
  ],
};
const file = (name: keyof typeof packed): Uint8Array => new Uint8Array(Buffer.from(packed[name].join(''), 'base64'));

test.each(['filtered', 'plain'] as const)('%s: unpacks to what was packed; what is damaged or too large is refused', async (name) => {
  const data = file(name);
  expect(new Uint8Array(await unxz(data, code.length))).toEqual(code);
  await expect(unxz(data, code.length - 1)).rejects.toThrow('too large');
  const damaged = data.slice();
  damaged[60] = (damaged[60] ?? 0) ^ 0x55;
  await expect(unxz(damaged, code.length)).rejects.toThrow();
});
test('an index that says another size is not believed', async () => {
  const data = file('filtered');
  const index = data.length - 12 - (new DataView(data.buffer).getUint32(data.length - 8, true) + 1) * 4;
  // indicator, number of records, unpadded size, then the size, whose lower seven bits come first
  const size = data.subarray(index).findIndex((byte, n) => n > 2 && byte === (0x80 | (code.length & 0x7f)));
  data[index + size] = 0x80 | ((code.length - 1) & 0x7f);
  await expect(unxz(data, code.length)).rejects.toThrow();
});
