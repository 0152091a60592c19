import { describe, expect, test } from 'vitest';
import {
  ADDRESS_SIZE_BITS,
  bitsPerLevel,
  contiguousEntries,
  firstBlockLevel,
  GranuleLog2,
  levelShift,
  startLevel,
  TG0_GRANULE_LOG2,
  TG1_GRANULE_LOG2,
} from '../../src/arch/granule.js';

const KB = 2 ** 10;
const MB = 2 ** 20;
const GB = 2 ** 30;
const TB = 2 ** 40;

describe('translation granules (DDI 0487, section D8.2)', () => {
  test('a granule is named by the log2 of its bytes', () => {
    expect(GranuleLog2).toEqual({ granule4K: 12, granule16K: 14, granule64K: 16 });
  });

  test('CD.TG0 codes 4K as 0, 64K as 1, 16K as 2; CD.TG1 codes 16K as 1, 4K as 2, 64K as 3', () => {
    expect(TG0_GRANULE_LOG2).toEqual([12, 16, 14, 0]);
    expect(TG1_GRANULE_LOG2).toEqual([0, 14, 12, 16]);
  });

  test.each([
    [12, 9],
    [14, 11],
    [16, 13],
  ])('a table of the 2^%i granule resolves %i bits', (granule, resolved) => {
    expect(bitsPerLevel(granule)).toBe(resolved);
  });

  test('address sizes are coded 32, 36, 40, 42, 44, 48, 52, 56 bits', () => {
    expect(ADDRESS_SIZE_BITS).toEqual([32, 36, 40, 42, 44, 48, 52, 56]);
  });
});

describe('index bits of a level (DDI 0487, section D8.2)', () => {
  test.each([
    [12, -1, 48],
    [12, 0, 39],
    [12, 1, 30],
    [12, 2, 21],
    [12, 3, 12],
    [14, 0, 47],
    [14, 1, 36],
    [14, 2, 25],
    [14, 3, 14],
    [16, 1, 42],
    [16, 2, 29],
    [16, 3, 16],
  ])('2^%i granule, level %i: the index starts at bit %i', (granule, level, shift) => {
    expect(levelShift(granule, level)).toBe(shift);
  });
});

describe('level at which a walk starts (DDI 0487, section D8.2)', () => {
  const table: [granule: number, first: number, last: number, level: number][] = [
    [12, 12, 15, -1],
    [12, 16, 24, 0],
    [12, 25, 33, 1],
    [12, 34, 42, 2],
    [12, 43, 48, 3],
    [14, 12, 16, 0],
    [14, 17, 27, 1],
    [14, 28, 38, 2],
    [14, 39, 48, 3],
    [16, 12, 21, 1],
    [16, 22, 34, 2],
    [16, 35, 47, 3],
  ];

  test.each(table)(
    '2^%i granule: TxSZ %i to %i starts at level %i',
    (granule, first, last, level) => {
      const sizes = Array.from({ length: last - first + 1 }, (_, i) => first + i);
      expect(sizes.map((txsz) => startLevel(granule, 64 - txsz))).toEqual(sizes.map(() => level));
    },
  );
});

describe('blocks (DDI 0487, section D8.3)', () => {
  test.each([
    { granule: 12, ds: false, oas52: false, first: 1, size: GB },
    { granule: 12, ds: false, oas52: true, first: 1, size: GB },
    { granule: 12, ds: true, oas52: true, first: 0, size: 512 * GB },
    { granule: 14, ds: false, oas52: false, first: 2, size: 32 * MB },
    { granule: 14, ds: false, oas52: true, first: 2, size: 32 * MB },
    { granule: 14, ds: true, oas52: true, first: 1, size: 64 * GB },
    { granule: 16, ds: false, oas52: false, first: 2, size: 512 * MB },
    { granule: 16, ds: false, oas52: true, first: 1, size: 4 * TB },
    { granule: 16, ds: true, oas52: true, first: 1, size: 4 * TB },
  ])(
    '2^$granule granule, DS $ds, 52-bit output $oas52: the largest block is at level $first',
    ({ granule, ds, oas52, first, size }) => {
      expect(firstBlockLevel(granule, ds, oas52)).toBe(first);
      expect(2 ** levelShift(granule, first)).toBe(size);
    },
  );
});

describe('the Contiguous bit (DDI 0487, section D8.6)', () => {
  test.each([
    { granule: 12, level: 1, run: 16, span: 16 * GB },
    { granule: 12, level: 2, run: 16, span: 32 * MB },
    { granule: 12, level: 3, run: 16, span: 64 * KB },
    { granule: 14, level: 2, run: 32, span: GB },
    { granule: 14, level: 3, run: 128, span: 2 * MB },
    { granule: 16, level: 2, run: 32, span: 16 * GB },
    { granule: 16, level: 3, run: 32, span: 2 * MB },
  ])('2^$granule granule, level $level: $run descriptors', ({ granule, level, run, span }) => {
    expect(contiguousEntries(granule, level)).toBe(run);
    expect(contiguousEntries(granule, level) * 2 ** levelShift(granule, level)).toBe(span);
  });

  test.each([
    { granule: 12, level: 0 },
    { granule: 14, level: 1 },
    { granule: 16, level: 1 },
  ])('2^$granule granule, level $level: the bit is RES0', ({ granule, level }) => {
    expect(contiguousEntries(granule, level)).toBe(1);
  });
});
