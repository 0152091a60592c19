import { describe, expect, test } from 'vitest';
import { AccessesUnderWay, AccessUnderWay, pageOf } from '../../src/device/under-way.js';
import { TlbRange } from '../../src/tlb/tlb-range.js';

const STREAM = 0x10;
const ASID = 5;

type Leaf = readonly [first: number, last: number, nonGlobal: 0 | 1];

function using(asid: number, ...leaves: readonly Leaf[]): AccessUnderWay {
  const access = new AccessUnderWay(STREAM, 0);
  access.asid = asid;
  for (const [first, last, nonGlobal] of leaves) access.add(first, last, nonGlobal);
  return access;
}

/** From one address to another, both named. */
function range(asid: number, first: bigint, last: bigint): TlbRange {
  const result = new TlbRange();
  result.asid = asid;
  result.firstHigh = Number(first >> 32n);
  result.firstLow = Number(first & 0xffff_ffffn);
  result.lastHigh = Number(last >> 32n);
  result.lastLow = Number(last & 0xffff_ffffn);
  return result;
}

describe('pageOf()', () => {
  test.each([
    [0, 0xfff, 0],
    [0, 0x1000, 1],
    [0, 0xffff_ffff, 0xf_ffff],
    [1, 0, 0x10_0000],
    [0xffff, 0xffff_f000, 0xf_ffff_ffff],
    // The top byte is no part of it.
    [0xab00_0001, 0, 0x10_0000],
    [0x00ff_ffff, 0xffff_f000, 0xfff_ffff_ffff],
    [0xffff_ffff, 0xffff_ffff, 0xfff_ffff_ffff],
    // Halves may be signed.
    [-1, -1, 0xfff_ffff_ffff],
    [-0x8000, 0, 0xff8_0000_0000],
  ])('of the halves %d and %d is %d', (high, low, page) => {
    expect(pageOf(high, low)).toBe(page);
  });
});

describe('AccessUnderWay', () => {
  test('uses the pages of its leaves, and no others', () => {
    const access = using(ASID, [4, 4, 1], [5, 5, 1], [6, 6, 1]);
    expect([3, 4, 5, 6, 7].map((page) => access.usesPages(page, page, ASID))).toEqual([
      false,
      true,
      true,
      true,
      false,
    ]);
    expect([access.usesPages(0, 3, ASID), access.usesPages(7, 99, ASID)]).toEqual([false, false]);
    expect([access.usesPages(0, 4, ASID), access.usesPages(6, 99, ASID)]).toEqual([true, true]);
    expect(access.usesPages(0, Infinity, ASID)).toBe(true);
  });

  test('all of a block, whichever pages are named', () => {
    const access = using(ASID, [512, 1023, 1]);
    expect(access.usesPages(511, 511, ASID)).toBe(false);
    expect(access.usesPages(512, 512, ASID)).toBe(true);
    expect(access.usesPages(1023, 1023, ASID)).toBe(true);
    expect(access.usesPages(1024, 1024, ASID)).toBe(false);
  });

  test('non-global ones under its ASID, global ones under any', () => {
    const access = using(ASID, [1, 1, 1], [2, 3, 0], [4, 4, 1]);
    expect([1, 2, 3, 4].map((page) => access.usesPages(page, page, ASID + 1))).toEqual([
      false,
      true,
      true,
      false,
    ]);
    expect([1, 2, 3, 4].map((page) => access.usesPages(page, page, -1))).toEqual([
      true,
      true,
      true,
      true,
    ]);
    expect(access.usesPages(4, 4, ASID)).toBe(true);
  });

  test('knows whether it uses any leaf, and a non-global one', () => {
    expect([using(ASID).usesLeaf(false), using(ASID).usesLeaf(true)]).toEqual([false, false]);
    const global = using(ASID, [1, 1, 0]);
    expect([global.usesLeaf(false), global.usesLeaf(true)]).toEqual([true, false]);
    const mixed = using(ASID, [1, 1, 0], [2, 2, 1], [3, 3, 0]);
    expect([mixed.usesLeaf(false), mixed.usesLeaf(true)]).toEqual([true, true]);
  });
});

describe('AccessesUnderWay', () => {
  interface Kept {
    readonly accesses: AccessesUnderWay;
    readonly resumed: () => number;
  }

  function begun(...each: readonly AccessUnderWay[]): Kept {
    let resumed = 0;
    const accesses = new AccessesUnderWay(() => resumed++);
    for (const access of each) accesses.begin(access);
    return { accesses, resumed: () => resumed };
  }

  test('counts what is under way; what was not invalidated resumes nobody', () => {
    const [one, two] = [using(ASID, [1, 1, 1]), using(ASID, [2, 2, 1])];
    const { accesses, resumed } = begun(one, two);
    expect([accesses.count, accesses.mustWait]).toEqual([2, false]);
    accesses.end(one);
    accesses.end(two);
    expect([accesses.count, accesses.mustWait, resumed()]).toEqual([0, false, 0]);
  });

  test('resumes once, with the last that was invalidated, however often each was', () => {
    const [one, two, three] = [1, 2, 3].map((page) => using(ASID, [page, page, 1]));
    const { accesses, resumed } = begun(one!, two!, three!);
    accesses.invalidateRange(range(ASID, 0x1000n, 0x2fffn));
    accesses.invalidateRange(range(ASID, 0x1000n, 0x1fffn));
    accesses.invalidateStreams(STREAM, STREAM);
    accesses.end(three!);
    expect([accesses.mustWait, resumed()]).toEqual([true, 0]);
    accesses.end(one!);
    expect([accesses.mustWait, resumed()]).toEqual([true, 0]);
    accesses.end(two!);
    expect([accesses.mustWait, resumed()]).toEqual([false, 1]);
  });

  test('an access that begins after the invalidation is none of it', () => {
    const { accesses } = begun();
    accesses.invalidateAll();
    accesses.invalidateAsid(ASID);
    accesses.invalidateRange(range(-1, 0n, 0xffffn));
    accesses.begin(using(ASID, [1, 1, 1]));
    expect(accesses.mustWait).toBe(false);
  });

  test.each<[name: string, invalidate: (accesses: AccessesUnderWay) => void, waits: boolean]>([
    [
      'all',
      (a) => {
        a.invalidateAll();
      },
      true,
    ],
    [
      'its ASID',
      (a) => {
        a.invalidateAsid(ASID);
      },
      true,
    ],
    [
      'another ASID',
      (a) => {
        a.invalidateAsid(ASID + 1);
      },
      false,
    ],
    [
      'its page',
      (a) => {
        a.invalidateRange(range(ASID, 0x1000n, 0x1fffn));
      },
      true,
    ],
    [
      'a part of its page',
      (a) => {
        a.invalidateRange(range(ASID, 0x1800n, 0x1800n));
      },
      true,
    ],
    [
      'its page with a tag',
      (a) => {
        a.invalidateRange(range(-1, 0xab00_0000_0000_1000n, 0xab00_0000_0000_1fffn));
      },
      true,
    ],
    [
      'the page behind',
      (a) => {
        a.invalidateRange(range(ASID, 0x2000n, 0x2fffn));
      },
      false,
    ],
    [
      'its page under another ASID',
      (a) => {
        a.invalidateRange(range(ASID + 1, 0x1000n, 0x1fffn));
      },
      false,
    ],
    [
      'the whole space',
      (a) => {
        a.invalidateRange(range(ASID, 0n, 2n ** 64n - 1n));
      },
      true,
    ],
    [
      'the upper half',
      (a) => {
        a.invalidateRange(range(ASID, 0xff80_0000_0000_0000n, 2n ** 64n - 1n));
      },
      false,
    ],
    [
      'all tags',
      (a) => {
        a.invalidateRange(range(ASID, 0x5000n, 0x0100_0000_0000_4fffn));
      },
      true,
    ],
    [
      'around the end of the tagged addresses',
      (a) => {
        a.invalidateRange(range(ASID, 0x00ff_ffff_ffff_f000n, 0x0100_0000_0000_1fffn));
      },
      true,
    ],
    [
      'its stream',
      (a) => {
        a.invalidateStreams(STREAM, STREAM);
      },
      true,
    ],
    [
      'all streams',
      (a) => {
        a.invalidateStreams(0, 2 ** 32 - 1);
      },
      true,
    ],
    [
      'the streams before',
      (a) => {
        a.invalidateStreams(0, STREAM - 1);
      },
      false,
    ],
    [
      'the streams behind',
      (a) => {
        a.invalidateStreams(STREAM + 1, STREAM + 2);
      },
      false,
    ],
    [
      'its CD',
      (a) => {
        a.invalidateContext(STREAM, 0);
      },
      true,
    ],
    [
      'all CDs of its stream',
      (a) => {
        a.invalidateContext(STREAM, -1);
      },
      true,
    ],
    [
      'another CD',
      (a) => {
        a.invalidateContext(STREAM, 1);
      },
      false,
    ],
    [
      'the CD of another stream',
      (a) => {
        a.invalidateContext(STREAM + 1, 0);
      },
      false,
    ],
  ])('an invalidation of %s', (_, invalidate, waits) => {
    const { accesses } = begun(using(ASID, [1, 1, 1]));
    invalidate(accesses);
    expect(accesses.mustWait).toBe(waits);
  });

  test('an access that no stage translated is named by its stream alone', () => {
    const { accesses } = begun(new AccessUnderWay(STREAM, 0));
    accesses.invalidateAll();
    accesses.invalidateAsid(0);
    accesses.invalidateRange(range(-1, 0n, 2n ** 64n - 1n));
    expect(accesses.mustWait).toBe(false);
    accesses.invalidateStreams(STREAM, STREAM);
    expect(accesses.mustWait).toBe(true);
  });

  test('global leaves are not named by ASID', () => {
    const { accesses } = begun(using(ASID, [1, 1, 0]));
    accesses.invalidateAsid(ASID);
    expect(accesses.mustWait).toBe(false);
    accesses.invalidateAll();
    expect(accesses.mustWait).toBe(true);
  });
});
