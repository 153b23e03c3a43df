/** Initramfs archives that are unpacked on the host's side. */
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { unpackInitrd } from '../../src/cli/initrd.ts';
import { appendCpio, cpioFile } from '../../src/firmware/cpio.ts';

const archive = (name: string): Uint8Array =>
  appendCpio(new Uint8Array(0), [cpioFile(name, new TextEncoder().encode('content of a file'))]);
const join = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

test('a packed archive is unpacked', () => {
  expect(unpackInitrd(gzipSync(archive('a')), 1000)).toEqual(archive('a'));
});
test('a header with a name', () => {
  const packed = gzipSync(archive('a'));
  const named = join(packed.subarray(0, 3), new Uint8Array([8]), packed.subarray(4, 10), Buffer.from('initrd.cpio\0'), packed.subarray(10));
  expect(unpackInitrd(named, 1000)).toEqual(archive('a'));
});
test.each([0, 1, 2, 3])('an archive behind it stays, at a multiple of four bytes where it was at one: %i bytes more', (more) => {
  const packed = join(gzipSync(join(archive('a'), new Uint8Array(more))));
  const all = unpackInitrd(appendCpio(packed, [cpioFile('b', new Uint8Array([1, 2, 3]))]), 1000);
  const second = Buffer.from(all).indexOf('070701', archive('a').length);
  expect(second % 4).toBe(0);
  expect(all.slice(0, archive('a').length)).toEqual(archive('a'));
  expect(all.slice(second)).toEqual(appendCpio(new Uint8Array(0), [cpioFile('b', new Uint8Array([1, 2, 3]))]));
});
test('a packed archive behind it stays packed', () => {
  const [a, b] = [gzipSync(archive('a')), gzipSync(archive('b'))];
  const all = unpackInitrd(join(a, b), 1000);
  expect(Buffer.from(all).subarray(-b.length)).toEqual(b);
  expect(all.slice(0, archive('a').length)).toEqual(archive('a'));
});
test('what is not gzip, too long or damaged is given as it is', () => {
  const packed = gzipSync(archive('a'));
  const damaged = new Uint8Array(packed);
  damaged[packed.length - 6] = (damaged[packed.length - 6] ?? 0) ^ 1;
  for (const data of [archive('a'), new Uint8Array(0), packed.subarray(0, 20), packed.subarray(0, 3), damaged])
    expect(unpackInitrd(data, 1000)).toBe(data);
  expect(unpackInitrd(packed, 100)).toBe(packed);
});
