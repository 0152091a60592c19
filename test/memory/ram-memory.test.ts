import { describe, expect, test } from 'vitest';
import { RamMemory, type RamRegion } from '../../src/memory/ram-memory.js';

function load(memory: RamMemory, address: number, count: number): number[] | false {
  const words = new Uint32Array(count);
  return memory.load(address, words, 0, count) && [...words];
}

describe.each([
  ['ArrayBuffer', (bytes: number) => new ArrayBuffer(bytes)],
  ['SharedArrayBuffer', (bytes: number) => new SharedArrayBuffer(bytes)],
])('RamMemory over %s', (_, allocate) => {
  test('what is written into the buffer is what the SMMU reads: nothing is copied', () => {
    const buffer = allocate(0x1000);
    const memory = new RamMemory([{ base: 0x4000_0000, buffer }]);
    expect(load(memory, 0x4000_0010, 2)).toEqual([0, 0]);
    new DataView(buffer).setBigUint64(0x10, 0x1122_3344_5566_7788n, true);
    expect(load(memory, 0x4000_0010, 2)).toEqual([0x5566_7788, 0x1122_3344]);
  });

  test('what the SMMU writes is in the buffer', () => {
    const buffer = allocate(0x1000);
    const memory = new RamMemory([{ base: 0x4000_0000, buffer }]);
    memory.store(0x4000_0ff8, new Uint32Array([0x5566_7788, 0x1122_3344]), 0, 2);
    expect(new DataView(buffer).getBigUint64(0xff8, true)).toBe(0x1122_3344_5566_7788n);
    memory.compareExchange(
      0x4000_0ff8,
      new Uint32Array([0x5566_7788, 0x1122_3344, 0x5566_7788, 9]),
      0,
    );
    expect(new DataView(buffer).getBigUint64(0xff8, true)).toBe(0x9_5566_7788n);
  });

  test('bytes are read and written in place, at their offset in the buffer', () => {
    const buffer = allocate(0x1000);
    const memory = new RamMemory([{ base: 0x4000_0000, buffer, byteOffset: 0x100 }]);
    new Uint8Array(buffer).set([1, 2, 3, 4, 5, 6, 7, 8], 0x110);
    for (const [address, bytes] of [
      [0x4000_0010, [1, 2, 3, 4, 5, 6, 7, 8]],
      [0x4000_0012, [3, 4]],
      [0x4000_0014, [5, 6, 7, 8]],
      [0x4000_0011, [2, 3, 4, 5]],
    ] as const) {
      const into = new Uint8Array(bytes.length);
      expect(memory.loadBytes(address, into, 0, into.length)).toBe(true);
      expect([...into]).toEqual(bytes);
      expect(memory.storeBytes(address + 0x100, into, 0, into.length)).toBe(true);
      expect([...new Uint8Array(buffer, address - 0x4000_0000 + 0x200, into.length)]).toEqual(
        bytes,
      );
    }
  });

  test('the bytes of regions that touch may lie anywhere, and a hole stops all', () => {
    const buffer = allocate(0x100);
    const memory = new RamMemory([
      { base: 0x1000, buffer, byteOffset: 0x80, byteLength: 8 },
      { base: 0x1008, buffer, byteOffset: 0x40, byteLength: 8 },
      { base: 0x1018, buffer, byteOffset: 0x20, byteLength: 8 },
    ]);
    const from = Uint8Array.from({ length: 32 }, (_, i) => i + 1);
    expect(memory.storeBytes(0x1006, from, 0, 11)).toBe(false);
    expect(memory.storeBytes(0x1006, from, 0, 18)).toBe(false);
    expect(new Uint8Array(buffer).every((byte) => byte === 0)).toBe(true);
    expect(memory.storeBytes(0x1006, from, 0, 10)).toBe(true);
    expect([...new Uint8Array(buffer, 0x86, 2)]).toEqual([1, 2]);
    expect([...new Uint8Array(buffer, 0x40, 8)]).toEqual([3, 4, 5, 6, 7, 8, 9, 10]);
  });

  test('a region begins at byteOffset and ends after byteLength', () => {
    const buffer = allocate(0x1000);
    const memory = new RamMemory([
      { base: 0x4000_0000, buffer, byteOffset: 0x100, byteLength: 0x20 },
    ]);
    const view = new DataView(buffer);
    view.setUint32(0x100, 0xaaaa_aaaa, true);
    view.setUint32(0x11c, 0xbbbb_bbbb, true);
    expect(load(memory, 0x4000_0000, 1)).toEqual([0xaaaa_aaaa]);
    expect(load(memory, 0x4000_001c, 1)).toEqual([0xbbbb_bbbb]);
    expect(load(memory, 0x4000_001c, 2)).toBe(false);
    expect(load(memory, 0x3fff_fffc, 1)).toBe(false);
  });

  test('without byteLength, a region is the rest of its buffer', () => {
    const memory = new RamMemory([{ base: 0, buffer: allocate(0x100), byteOffset: 0xf8 }]);
    expect(load(memory, 0, 2)).toEqual([0, 0]);
    expect(load(memory, 8, 1)).toBe(false);
  });

  test('regions may be given in any order, and share a buffer', () => {
    const buffer = allocate(0x18);
    const memory = new RamMemory([
      { base: 0x10_0000_0000, buffer, byteOffset: 0x10, byteLength: 8 },
      { base: 0x1000, buffer, byteLength: 8 },
      { base: 0x8_0000_0000, buffer, byteOffset: 8, byteLength: 8 },
      // One that touches the first.
      { base: 0x1008, buffer, byteOffset: 0x10, byteLength: 8 },
    ]);
    const view = new DataView(buffer);
    [0, 8, 16].forEach((offset) => {
      view.setUint32(offset, offset + 1, true);
    });
    expect(load(memory, 0x1000, 4)).toEqual([1, 0, 17, 0]);
    expect(load(memory, 0x8_0000_0000, 1)).toEqual([9]);
    expect(load(memory, 0x10_0000_0000, 1)).toEqual([17]);
    expect(load(memory, 0x1010, 1)).toBe(false);
  });
});

describe('RamMemory of many regions', () => {
  test('each of a thousand regions with holes between them is found, and no hole is', () => {
    const buffer = new ArrayBuffer(8000);
    new Uint32Array(buffer).forEach((_, i, words) => (words[i] = i));
    const memory = new RamMemory(
      Array.from({ length: 1000 }, (_, i) => ({
        base: 0x1_0000 * i,
        buffer,
        byteOffset: 8 * i,
        byteLength: 8,
      })),
    );
    for (let i = 999; i >= 0; i--) {
      expect(load(memory, 0x1_0000 * i, 2)).toEqual([2 * i, 2 * i + 1]);
      expect(load(memory, 0x1_0000 * i + 8, 1)).toBe(false);
    }
  });

  test('without a region everything is a hole', () => {
    const memory = new RamMemory([]);
    expect(load(memory, 0, 1)).toBe(false);
    expect(memory.store(0, new Uint32Array(1), 0, 1)).toBe(false);
    expect(memory.loadBytes(0, new Uint8Array(1), 0, 1)).toBe(false);
    expect(memory.storeBytes(0, new Uint8Array(1), 0, 1)).toBe(false);
  });

  test('a store that runs into a hole writes nothing', () => {
    const buffer = new ArrayBuffer(8);
    const memory = new RamMemory([{ base: 0x1000, buffer }]);
    expect(memory.store(0x1000, new Uint32Array([1, 2, 3]), 0, 3)).toBe(false);
    expect([...new Uint32Array(buffer)]).toEqual([0, 0]);
  });
});

describe('RamMemory refuses', () => {
  const good: RamRegion = { base: 0x1000, buffer: new ArrayBuffer(0x1000) };

  test.each<[string, Partial<RamRegion>, string]>([
    ['a misaligned base', { base: 0x1234_5674 }, 'regions[1].base is 0x12345674'],
    ['a negative base', { base: -8 }, 'regions[1].base is -0x8'],
    ['a base that is no integer', { base: 8.5 }, 'regions[1].base is 0x8.8'],
    ['a base beyond 2^53', { base: 2 ** 60 }, 'regions[1].base is 0x1000000000000000'],
    ['a misaligned offset', { byteOffset: 0x14 }, 'regions[1].byteOffset is 0x14'],
    ['a negative offset', { byteOffset: -16 }, 'regions[1].byteOffset is -0x10'],
    ['a misaligned length', { byteLength: 0xfc }, 'regions[1].byteLength is 0xfc'],
    ['a negative length', { byteLength: -8 }, 'regions[1].byteLength is -0x8'],
    ['an offset outside the buffer', { byteOffset: 0x1008 }, 'regions[1].byteLength is -0x8'],
    ['an empty region', { byteLength: 0 }, 'regions[1] is empty'],
    ['an empty rest of a buffer', { byteOffset: 0x1000 }, 'regions[1] is empty'],
    [
      'a length beyond the buffer',
      { byteOffset: 0x800, byteLength: 0x808 },
      'regions[1] ends at byte 0x1008 of a buffer of 0x1000 bytes',
    ],
    ['an end above 2^52', { base: 0x000f_ffff_ffff_f008 }, 'regions[1] ends at 0x10000000000008'],
  ])('%s, naming the argument with its value in hexadecimal', (_, wrong, message) => {
    const other = { base: 0x10_0000, buffer: new ArrayBuffer(0x1000) };
    const make = (): RamMemory => new RamMemory([other, { ...good, ...wrong }]);
    expect(make).toThrow(RangeError);
    expect(make).toThrow(message);
  });

  test.each([
    ['the same range twice', 0x1000, '0x1000 lies in the region 0x1000-0x2000'],
    ['a range that begins in another', 0x1ff8, '0x1ff8 lies in the region 0x1000-0x2000'],
    ['a range that ends in another', 0x8, '0x1000 lies in the region 0x8-0x1008'],
  ])('%s', (_, base, message) => {
    const make = (): RamMemory => new RamMemory([good, { ...good, base }]);
    expect(make).toThrow(RangeError);
    expect(make).toThrow(message);
  });

  test.each([[undefined], [null], [new Uint8Array(8)], [[]], ['buffer']])(
    'the buffer %j, which is none',
    (buffer) => {
      const make = (): RamMemory => new RamMemory([{ base: 0, buffer: buffer as never }]);
      expect(make).toThrow(TypeError);
      expect(make).toThrow('regions[0].buffer is ');
    },
  );

  test('nothing of a range that ends at 2^52 exactly', () => {
    const memory = new RamMemory([{ base: 2 ** 52 - 8, buffer: new ArrayBuffer(8) }]);
    expect(load(memory, 2 ** 52 - 8, 2)).toEqual([0, 0]);
  });
});
