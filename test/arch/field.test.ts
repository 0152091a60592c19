import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  address,
  bit,
  bits,
  get,
  getAddress,
  high,
  isAddress,
  low,
  lsbOf,
  msbOf,
  set,
  setAddress,
} from '../../src/arch/field.js';

const RUNS = { numRuns: 2000 };
/** A structure of 64 bytes, at word 3 of a longer array. */
const AT = 3;
const structure = fc.array(fc.nat(0xffff_ffff), { minLength: 20, maxLength: 20 });
const word32 = fc.nat(0xffff_ffff);

/** Bit positions within one word of `size` bits. */
function within(size: number): fc.Arbitrary<{ msb: number; lsb: number }> {
  return fc
    .tuple(fc.nat(512 / size - 1), fc.nat(size - 1), fc.nat(size - 1))
    .map(([word, a, b]) => ({
      msb: word * size + Math.max(a, b),
      lsb: word * size + Math.min(a, b),
    }));
}

/** The whole array as one integer: bit 0 is bit 0 of the first word. */
function integerOf(words: ArrayLike<number>): bigint {
  let value = 0n;
  for (let i = words.length - 1; i >= 0; i--) value = (value << 32n) | BigInt(words[i]! >>> 0);
  return value;
}

/** Ones at bits `[msb:lsb]` of the structure, as the array's integer. */
function maskOf(msb: number, lsb: number): bigint {
  return ((1n << BigInt(msb - lsb + 1)) - 1n) << BigInt(32 * AT + lsb);
}

describe('a field of one 32-bit word', () => {
  test('is the pair of bit positions that the manual prints', () => {
    expect([msbOf(bits(63, 59)), lsbOf(bits(63, 59))]).toEqual([63, 59]);
    expect([msbOf(bits(31, 0)), lsbOf(bits(31, 0))]).toEqual([31, 0]);
    expect([msbOf(bit(143)), lsbOf(bit(143))]).toEqual([143, 143]);
    expect([msbOf(bits(511, 508)), lsbOf(bits(511, 508))]).toEqual([511, 508]);
    expect(isAddress(bits(511, 508))).toBe(false);
  });

  test('get shifts it down to bit 0', () => {
    const words = new Uint32Array([0, 0xa5c3_0f1e]);
    expect(get(words, 0, bits(63, 60))).toBe(0xa);
    expect(get(words, 0, bits(63, 32))).toBe(0xa5c3_0f1e);
    expect(get(words, 1, bits(15, 8))).toBe(0x0f);
    expect(get(words, 1, bit(31))).toBe(1);
    expect(get(words, 1, bit(0))).toBe(0);
  });

  test('set drops the bits of a value that do not fit', () => {
    const words = new Uint32Array([0xffff_ffff]);
    set(words, 0, bits(7, 4), 0x120);
    expect([...words]).toEqual([0xffff_ff0f]);
  });

  test.each([
    [32, 31],
    [63, 31],
    [64, 63],
    [95, 32],
    [3, 4],
    [0, 1],
  ])('bits [%i:%i] are refused, with both positions in the message', (msb, lsb) => {
    expect(() => bits(msb, lsb)).toThrow(RangeError);
    expect(() => bits(msb, lsb)).toThrow(`bits [${msb}:${lsb}] do not lie in one 32-bit word`);
  });

  test('get is a shift and a mask of the structure as one integer', () => {
    fc.assert(
      fc.property(structure, within(32), (content, { msb, lsb }) => {
        const expected = (integerOf(content) & maskOf(msb, lsb)) >> BigInt(32 * AT + lsb);
        expect(BigInt(get(new Uint32Array(content), AT, bits(msb, lsb)))).toBe(expected);
      }),
      RUNS,
    );
  });

  test('set replaces its bits and leaves all others alone', () => {
    fc.assert(
      fc.property(structure, within(32), word32, (content, { msb, lsb }, value) => {
        const words = new Uint32Array(content);
        set(words, AT, bits(msb, lsb), value);
        const mask = maskOf(msb, lsb);
        const expected =
          (integerOf(content) & ~mask) | ((BigInt(value) << BigInt(32 * AT + lsb)) & mask);
        expect(integerOf(words)).toBe(expected);
      }),
      RUNS,
    );
  });
});

describe('an address field of one 64-bit word', () => {
  test('is the pair of bit positions that the manual prints', () => {
    expect([msbOf(address(55, 6)), lsbOf(address(55, 6))]).toEqual([55, 6]);
    expect([msbOf(address(191, 128)), lsbOf(address(191, 128))]).toEqual([191, 128]);
    expect([msbOf(address(247, 204)), lsbOf(address(247, 204))]).toEqual([247, 204]);
    expect(isAddress(address(55, 6))).toBe(true);
  });

  test('keeps its place: the bits outside it are cleared, and nothing is shifted', () => {
    const words = new Uint32Array([0xffff_ffff, 0xffff_ffff]);
    expect(high(words, 0, address(55, 6))).toBe(0x00ff_ffff);
    expect(low(words, 0, address(55, 6))).toBe(0xffff_ffc0);
    expect(getAddress(words, 0, address(51, 12))).toBe(0x000f_ffff_ffff_f000);
    expect(getAddress(words, 0, address(31, 0))).toBe(0xffff_ffff);
    expect(getAddress(words, 0, address(63, 32))).toBe(0xffff_ffff_0000_0000);
  });

  test.each([
    [64, 63],
    [127, 63],
    [128, 64],
    [5, 6],
  ])('bits [%i:%i] are refused, with both positions in the message', (msb, lsb) => {
    expect(() => address(msb, lsb)).toThrow(RangeError);
    expect(() => address(msb, lsb)).toThrow(`bits [${msb}:${lsb}] do not lie in one 64-bit word`);
  });

  test('high and low are the two halves of the masked word', () => {
    fc.assert(
      fc.property(structure, within(64), (content, { msb, lsb }) => {
        const words = new Uint32Array(content);
        const field = address(msb, lsb);
        const first = BigInt(32 * AT + (lsb - (lsb % 64)));
        const expected = (integerOf(content) & maskOf(msb, lsb)) >> first;
        expect(high(words, AT, field)).toBe(Number(expected >> 32n));
        expect(low(words, AT, field)).toBe(Number(expected & 0xffff_ffffn));
      }),
      RUNS,
    );
  });

  test('getAddress is exact whenever 53 significant bits are enough', () => {
    fc.assert(
      fc.property(structure, within(64), (content, { msb, lsb }) => {
        fc.pre(msb - lsb < 53);
        const first = BigInt(32 * AT + (lsb - (lsb % 64)));
        const expected = (integerOf(content) & maskOf(msb, lsb)) >> first;
        const actual = getAddress(new Uint32Array(content), AT, address(msb, lsb));
        expect(BigInt(actual)).toBe(expected);
      }),
      RUNS,
    );
  });

  test('setAddress replaces its bits and leaves all others alone', () => {
    fc.assert(
      fc.property(
        structure,
        within(64),
        word32,
        word32,
        (content, { msb, lsb }, highWord, lowWord) => {
          const words = new Uint32Array(content);
          setAddress(words, AT, address(msb, lsb), highWord, lowWord);
          const mask = maskOf(msb, lsb);
          const value = (BigInt(highWord) << 32n) | BigInt(lowWord);
          const first = BigInt(32 * AT + (lsb - (lsb % 64)));
          expect(integerOf(words)).toBe((integerOf(content) & ~mask) | ((value << first) & mask));
        },
      ),
      RUNS,
    );
  });
});
