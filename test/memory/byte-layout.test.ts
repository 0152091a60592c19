import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readFields, writeFields, type ByteLayout } from '../../src/memory/byte-layout.js';
import { splitU64 } from '../../src/memory/u64.js';

const Every = {
  one: [3, 1],
  two: [4, 2],
  four: [8, 4],
  eight: [16, 8],
} as const satisfies ByteLayout;

describe('fields of bytes', () => {
  test('are little-endian at their offsets; bytes between them are left alone', () => {
    const bytes = new Uint8Array(26).fill(0xee);
    const eight = { high: 0x0123_4567, low: 0x89ab_cdef };
    writeFields(bytes, 1, Every, { one: 0x11, two: 0x2233, four: 0x4455_6677, eight });
    expect([...bytes]).toEqual([
      ...[0xee, 0xee, 0xee, 0xee, 0x11, 0x33, 0x22, 0xee, 0xee],
      ...[0x77, 0x66, 0x55, 0x44, 0xee, 0xee, 0xee, 0xee],
      ...[0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 0xee],
    ]);
  });

  test('without a value are 0', () => {
    const bytes = new Uint8Array(24).fill(0xee);
    writeFields(bytes, 0, Every, { two: 1 });
    expect(readFields(bytes, 0, Every)).toEqual({
      one: 0,
      two: 1,
      four: 0,
      eight: { high: 0, low: 0 },
    });
  });

  test('read what a DataView with BigInt reads, and the other way round', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 30, maxLength: 30 }),
        fc.nat(5),
        fc.bigInt(0n, 2n ** 64n - 1n),
        (bytes, at, value) => {
          const view = new DataView(bytes.buffer);
          const read = readFields(bytes, at, Every);
          expect(read.one).toBe(view.getUint8(at + 3));
          expect(read.two).toBe(view.getUint16(at + 4, true));
          expect(read.four).toBe(view.getUint32(at + 8, true));
          const { high, low } = read.eight;
          expect((BigInt(high) << 32n) | BigInt(low)).toBe(view.getBigUint64(at + 16, true));

          writeFields(bytes, at, Every, { eight: splitU64('value', value, { high: 0, low: 0 }) });
          expect(view.getBigUint64(at + 16, true)).toBe(value);
          const pages = Number(value >> 12n) * 4096;
          writeFields(bytes, at, Every, { eight: pages });
          expect(view.getBigUint64(at + 16, true)).toBe((value >> 12n) << 12n);
        },
      ),
    );
  });

  test.each([
    [{ one: 256 }, 'one is 0x100: it must be an integer that fits 1 bytes, not negative'],
    [{ two: -1 }, 'two is -0x1: it must be an integer that fits 2 bytes, not negative'],
    [{ four: 2 ** 32 }, 'four is 0x100000000: it must be an integer that fits 4 bytes'],
    [{ four: 0.5 }, 'four is 0x0.8: it must be an integer that fits 4 bytes'],
    [{ eight: 2 ** 64 }, 'eight is 0x10000000000000000: it must be an integer that fits 8 bytes'],
  ])('refuse %o', (values, message) => {
    const write = () => {
      writeFields(new Uint8Array(24), 0, Every, values);
    };
    expect(write).toThrow(RangeError);
    expect(write).toThrow(message);
  });
});
