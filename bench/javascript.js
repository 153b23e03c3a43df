// Work that a JavaScript engine compiles as it runs, in several tiers: objects, closures, typed arrays, strings, maps, sorting.
class Vector {
  constructor(x, y, z) {
    this.x = x;
    this.y = y;
    this.z = z;
  }
  plus(other, scale) {
    return new Vector(this.x + other.x * scale, this.y + other.y * scale, this.z + other.z * scale);
  }
  get length() {
    return Math.sqrt(this.x * this.x + this.y * this.y + this.z * this.z);
  }
}
function orbits(n) {
  let place = new Vector(1, 0, 0);
  let speed = new Vector(0, 1, 0.1);
  for (let i = 0; i < n; i++) {
    speed = speed.plus(place, -0.001 / place.length ** 3);
    place = place.plus(speed, 0.001);
  }
  return place.length.toFixed(6);
}
function crc(n) {
  const table = new Int32Array(256);
  for (let i = 0; i < 256; i++) {
    let c = i;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
    table[i] = c;
  }
  const bytes = new Uint8Array(1 << 16).map((_, i) => i * 31);
  let c = -1;
  for (let r = 0; r < n; r++) for (let i = 0; i < bytes.length; i++) c = table[(c ^ bytes[i]) & 255] ^ (c >>> 8);
  return (c ^ -1) >>> 0;
}
function words(n) {
  const counts = new Map();
  let seed = 42;
  for (let i = 0; i < n; i++) {
    seed = (seed * 1103515 + 12345) % 2147483648;
    const word = `w${seed % 997}`;
    counts.set(word, (counts.get(word) ?? 0) + word.length);
  }
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0].join();
}
function json(n) {
  let text = JSON.stringify(Array.from({ length: 200 }, (_, i) => ({ id: i, name: `item ${i}`, tags: ['a', 'b', String(i)] })));
  let length = 0;
  for (let i = 0; i < n; i++) {
    text = JSON.stringify(JSON.parse(text).reverse());
    length += text.length;
  }
  return length;
}
print([orbits(2_000_000), crc(300), words(600_000), json(300)].join(' '));
