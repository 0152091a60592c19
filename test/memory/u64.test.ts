import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hexU64, joinU64, parseU64, splitU64 } from '../../src/memory/u64.js';

const RUNS = { numRuns: 2000 };
const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const u32 = fc.nat(0xffff_ffff);

function fresh(): { high: number; low: number } {
  return { high: 0x1234, low: 0x5678 };
}

describe('splitU64', () => {
  test.each([
    [0, 0, 0],
    [0xffff_ffff, 0, 0xffff_ffff],
    [0x1_0000_0000, 1, 0],
    [0x000f_ffff_ffff_f000, 0x000f_ffff, 0xffff_f000],
    [Number.MAX_SAFE_INTEGER, 0x001f_ffff, 0xffff_ffff],
    [0n, 0, 0],
    [0x8000_0000n, 0, 0x8000_0000],
    [0xfedc_ba98_7654_3210n, 0xfedc_ba98, 0x7654_3210],
    [0xffff_ffff_ffff_ffffn, 0xffff_ffff, 0xffff_ffff],
  ])('%s has the halves %i and %i', (value, high, low) => {
    expect(splitU64('address', value, fresh())).toEqual({ high, low });
  });

  test('returns the object that it fills', () => {
    const into = fresh();
    expect(splitU64('address', 1, into)).toBe(into);
  });

  test.each([-1, 0.5, 2 ** 53, NaN, Infinity, -1n, 1n << 64n])(
    '%s is out of range: the message has the name and the value',
    (value) => {
      const into = fresh();
      expect(() => splitU64('address', value, into)).toThrow(RangeError);
      expect(() => splitU64('address', value, into)).toThrow(`address is ${value}`);
      expect(into).toEqual({ high: 0x1234, low: 0x5678 });
    },
  );

  test.each(['1', null, undefined, {}, true])('%s is no number', (value) => {
    expect(() => splitU64('address', value as never, fresh())).toThrow(TypeError);
    expect(() => splitU64('address', value as never, fresh())).toThrow('address is a ');
  });

  test('is a shift and a mask', () => {
    fc.assert(
      fc.property(u64, (value) => {
        const { high, low } = splitU64('value', value, fresh());
        expect(BigInt(high) * 0x1_0000_0000n + BigInt(low)).toBe(value);
        expect(low).toBe(Number(BigInt.asUintN(32, value)));
      }),
      RUNS,
    );
  });

  test('splits a number as it splits the same bigint', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (value) => {
        const { high, low } = splitU64('value', value, fresh());
        expect(BigInt(high) * 0x1_0000_0000n + BigInt(low)).toBe(BigInt(value));
      }),
      RUNS,
    );
  });
});

describe('joinU64', () => {
  test('puts two halves together, also signed ones', () => {
    expect(joinU64(0xffff_ffff, 0xffff_f000)).toBe(0xffff_ffff_ffff_f000n);
    expect(joinU64(-1, -4096)).toBe(0xffff_ffff_ffff_f000n);
    expect(joinU64(0, 0)).toBe(0n);
  });

  test('is high * 2^32 + low', () => {
    fc.assert(
      fc.property(u32, u32, (high, low) => {
        expect(joinU64(high, low)).toBe(BigInt(high) * 0x1_0000_0000n + BigInt(low));
      }),
      RUNS,
    );
  });
});

describe('hexU64', () => {
  test.each([
    [0, 0, '0x0'],
    [0, 0x1000, '0x1000'],
    [0, 0xffff_ffff, '0xffffffff'],
    [1, 0, '0x100000000'],
    [1, 0xabc, '0x100000abc'],
    [0xffff_ffff, 0xffff_f000, '0xfffffffffffff000'],
    [-1, -1, '0xffffffffffffffff'],
  ])('(%i, %i) is %s', (high, low, text) => {
    expect(hexU64(high, low)).toBe(text);
  });

  test('prints what BigInt prints', () => {
    fc.assert(
      fc.property(u32, u32, (high, low) => {
        const value = BigInt(high) * 0x1_0000_0000n + BigInt(low);
        expect(hexU64(high, low)).toBe(`0x${value.toString(16)}`);
      }),
      RUNS,
    );
  });
});

describe('parseU64', () => {
  test.each([
    ['0', 0, 0],
    ['4096', 0, 4096],
    ['0x1000', 0, 0x1000],
    ['0XAbCdEf0123456789', 0xabcd_ef01, 0x2345_6789],
    ['0xffffffffffffffff', 0xffff_ffff, 0xffff_ffff],
    ['18446744073709551615', 0xffff_ffff, 0xffff_ffff],
    ['0x00000000000000000001', 0, 1],
    ['007', 0, 7],
  ])('%s has the halves %i and %i', (text, high, low) => {
    const into = fresh();
    expect(parseU64(text, into)).toBe(true);
    expect(into).toEqual({ high, low });
  });

  test.each([
    '',
    ' ',
    ' 1',
    '1 ',
    '-1',
    '+1',
    '1.5',
    '1e3',
    '1_000',
    '0x',
    'x10',
    'ff',
    '0b1',
    '0o7',
    '1n',
    '0xg',
    '18446744073709551616',
    '0x10000000000000000',
  ])('%j is refused, and nothing is written', (text) => {
    const into = fresh();
    expect(parseU64(text, into)).toBe(false);
    expect(into).toEqual({ high: 0x1234, low: 0x5678 });
  });

  test('reads what was printed, in both bases', () => {
    fc.assert(
      fc.property(u64, fc.boolean(), (value, decimal) => {
        const into = fresh();
        const text = decimal ? value.toString() : `0x${value.toString(16)}`;
        expect(parseU64(text, into)).toBe(true);
        expect(BigInt(into.high) * 0x1_0000_0000n + BigInt(into.low)).toBe(value);
      }),
      RUNS,
    );
  });
});
