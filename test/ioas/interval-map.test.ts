import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IntervalMap, type Interval } from '../../src/ioas/interval-map.js';
import { difference, PAGE, PageModel } from './interval-model.js';

const END = 2 ** 64;
const NOTHING: Interval = { iova: -1, length: -1, address: -1, permissions: -1 };

type Step =
  | { kind: 'insert'; first: number; count: number; offset: number; permissions: number }
  | { kind: 'remove' | 'overlapping' | 'find'; first: number; count: number };

/** Steps in a space of `pages` pages; few offsets and permissions, so that mappings often join. */
function steps(pages: number, longest: number, most: number): fc.Arbitrary<Step[]> {
  const range = fc
    .tuple(fc.nat(pages - 1), fc.integer({ min: 1, max: longest }))
    .map(([first, count]) => ({ first, count: Math.min(count, pages - first) }));
  const insert = fc
    .tuple(range, fc.constantFrom(0, 0, 0, PAGE, 2 ** 40), fc.constantFrom(1, 3, 3, 27))
    .map(([at, offset, permissions]) => ({ kind: 'insert' as const, ...at, offset, permissions }));
  const other = fc
    .tuple(range, fc.constantFrom('remove' as const, 'overlapping' as const, 'find' as const))
    .map(([at, kind]) => ({ kind, ...at }));
  return fc.array(fc.oneof(insert, insert, other), { minLength: 1, maxLength: most });
}

/** Takes one step on both, and says what differs. */
function take(map: IntervalMap, model: PageModel, step: Step): string | null {
  const iova = model.base + PAGE * step.first;
  const length = PAGE * step.count;
  switch (step.kind) {
    case 'insert': {
      const address = 2 ** 20 + PAGE * step.first + step.offset;
      map.insert(iova, length, address, step.permissions);
      model.insert(step.first, step.count, address, step.permissions);
      return difference(map, model);
    }
    case 'remove': {
      const removed = map.remove(iova, length);
      const expected = model.remove(step.first, step.count);
      return removed === expected ? difference(map, model) : `removed ${removed}, not ${expected}`;
    }
    case 'overlapping': {
      const expected = model
        .intervals()
        .filter((one) => one.iova < iova + length && one.iova + one.length > iova);
      const found = [...map.overlapping(iova, length)];
      return JSON.stringify(found) === JSON.stringify(expected) ? null : 'overlapping differs';
    }
    case 'find':
      // 2048 bytes into the page: beyond 2^63 a double has no odd addresses.
      return findAt(map, model, iova) ?? findAt(map, model, iova + 2048);
  }
}

function findAt(map: IntervalMap, model: PageModel, iova: number): string | null {
  const expected = model
    .intervals()
    .find((one) => one.iova <= iova && iova < one.iova + one.length);
  const into = { ...NOTHING };
  const found = map.find(iova, into);
  if (found !== (expected !== undefined)) return `find of 0x${iova.toString(16)} is ${found}`;
  return JSON.stringify(into) === JSON.stringify(expected ?? NOTHING) ? null : 'find differs';
}

describe.each([
  ['from address 0', 0],
  ['in the lower half', 0x7fff_ff00_0000],
  ['around 2^53', 2 ** 53 - 32 * PAGE],
  ['from the bottom of a 48-bit upper half', 2 ** 64 - 2 ** 48],
  ['up to 2^64', END - 64 * PAGE],
])('a map %s', (_, base) => {
  test('is the table of pages, joined, after any steps', () => {
    fc.assert(
      fc.property(steps(64, 16, 40), (all) => {
        const map = new IntervalMap();
        const model = new PageModel(base, 64);
        for (const step of all) expect(take(map, model, step)).toBeNull();
      }),
      { numRuns: 250 },
    );
  });
});

describe('a map of more intervals than one chunk holds', () => {
  const PAGES = 4000;

  /** Pages whose neighbours never join, but for every seventh. */
  function filled(base: number): [IntervalMap, PageModel] {
    const map = new IntervalMap();
    const model = new PageModel(base, PAGES);
    for (let i = 0; i < PAGES; i++) {
      const page = (i * 1597) % PAGES;
      const permissions = page % 7 === 0 ? 1 + ((page + 1) % 2) : 1 + (page % 2);
      map.insert(base + PAGE * page, PAGE, PAGE * page, permissions);
      model.insert(page, 1, PAGE * page, permissions);
    }
    return [map, model];
  }

  test('is the table of pages, joined', () => {
    const [map, model] = filled(0);
    expect(difference(map, model)).toBeNull();
    expect(map.size).toBeGreaterThan(2500);
  });

  test.each([0, END - PAGE * PAGES])('stays so after any steps, from %d', (base) => {
    fc.assert(
      fc.property(steps(PAGES, 900, 25), (all) => {
        const [map, model] = filled(base);
        for (const step of all) expect(take(map, model, step)).toBeNull();
      }),
      { numRuns: 25 },
    );
  });

  test('single pages at chunk bounds are split off and joined again', () => {
    const [map, model] = filled(0);
    for (let page = 0; page < PAGES; page += 37) {
      expect(map.remove(PAGE * page, PAGE)).toBe(model.remove(page, 1));
      expect(map.find(PAGE * page, { ...NOTHING })).toBe(false);
      map.insert(PAGE * page, PAGE, PAGE * page, 1 + ((page + 1) % 2));
      model.insert(page, 1, PAGE * page, 1 + ((page + 1) % 2));
    }
    expect(difference(map, model)).toBeNull();
  });

  test('one insert over everything leaves one interval, and takes back all chunks', () => {
    const [map] = filled(0);
    map.insert(0, PAGE * PAGES, 0x1000_0000, 3);
    expect([...map]).toEqual([
      { iova: 0, length: 4000 * 4096, address: 0x1000_0000, permissions: 3 },
    ]);
    expect(map.size).toBe(1);
    expect(map.remove(0, END)).toBe(4000 * 4096);
    expect([...map]).toEqual([]);
  });
});

describe('the whole space', () => {
  test('is one interval of 2^64 bytes', () => {
    const map = new IntervalMap();
    map.insert(0, END, 0, 3);
    expect([...map]).toEqual([{ iova: 0, length: END, address: 0, permissions: 3 }]);
    const into = { ...NOTHING };
    expect(map.find(0xffff_ffff_ffff_f800, into)).toBe(true);
    expect(into).toEqual({ iova: 0, length: END, address: 0, permissions: 3 });
    expect([...map.overlapping(END - PAGE, PAGE)]).toHaveLength(1);
  });

  test('loses one page of the upper half, to the byte', () => {
    const map = new IntervalMap();
    map.insert(0, END, 0, 3);
    expect(map.remove(0xffff_8000_1234_5000, PAGE)).toBe(4096);
    expect(
      [...map].map((one) => [BigInt(one.iova), BigInt(one.length), BigInt(one.address)]),
    ).toEqual([
      [0n, 0xffff_8000_1234_5000n, 0n],
      [0xffff_8000_1234_6000n, 0x7fff_edcb_a000n, 0xffff_8000_1234_6000n],
    ]);
  });

  test('remove counts 2^64 bytes less the hole', () => {
    const map = new IntervalMap();
    map.insert(0, END, 0, 3);
    map.remove(PAGE, PAGE);
    expect(BigInt(map.remove(0, END))).toBe(2n ** 64n - 4096n);
    expect(map.size).toBe(0);
  });

  test('the last page below 2^64 joins the one before, and nothing at 0', () => {
    const map = new IntervalMap();
    map.insert(0, PAGE, 0x3000, 3);
    map.insert(0xffff_ffff_ffff_f000, PAGE, 0x2000, 3);
    map.insert(0xffff_ffff_ffff_e000, PAGE, 0x1000, 3);
    expect([...map]).toEqual([
      { iova: 0, length: 4096, address: 0x3000, permissions: 3 },
      { iova: 0xffff_ffff_ffff_e000, length: 8192, address: 0x1000, permissions: 3 },
    ]);
    expect(map.find(END - 2048, { ...NOTHING })).toBe(true);
  });
});

describe('neighbours', () => {
  test.each([
    ['other permissions', 0x2000, 1],
    ['another address', 0x5000, 3],
    ['the same address', 0x1000, 3],
  ])('with %s stay apart', (_, address, permissions) => {
    const map = new IntervalMap();
    map.insert(0x1000, PAGE, 0x1000, 3);
    map.insert(0x2000, PAGE, address, permissions);
    expect([...map].map(({ iova, length }) => [iova, length])).toEqual([
      [0x1000, 0x1000],
      [0x2000, 0x1000],
    ]);
  });

  test('a page between two that it continues makes one of three', () => {
    const map = new IntervalMap();
    map.insert(0x1000, PAGE, 0x8000, 3);
    map.insert(0x3000, PAGE, 0xa000, 3);
    map.insert(0x2000, PAGE, 0x9000, 3);
    expect([...map]).toEqual([{ iova: 0x1000, length: 0x3000, address: 0x8000, permissions: 3 }]);
  });

  test('clear removes everything', () => {
    const map = new IntervalMap();
    map.insert(0x1000, PAGE, 0x8000, 3);
    map.clear();
    expect([map.size, [...map], map.find(0x1000, { ...NOTHING })]).toEqual([0, [], false]);
  });

  test('find of an empty map leaves the interval alone', () => {
    const into = { ...NOTHING };
    expect(new IntervalMap().find(0, into)).toBe(false);
    expect(into).toEqual(NOTHING);
  });
});

describe('arguments that are refused', () => {
  test.each([
    ['an unaligned iova', 0x1001, PAGE, 'iova is 0x1001'],
    ['a negative iova', -PAGE, PAGE, 'iova is -0x1000'],
    ['an iova that is no number', NaN, PAGE, 'iova is'],
    ['no length', 0x1000, 0, 'length is 0x0'],
    ['a negative length', 0x1000, -PAGE, 'length is -0x1000'],
    ['an unaligned length', 0x1000, 0x1800, 'length is 0x1800'],
    ['an infinite length', 0x1000, Infinity, 'length is'],
    ['an end beyond 2^64', 0xffff_ffff_ffff_f000, 0x2000, '0xfffffffffffff000 with length 0x2000'],
    ['a start at 2^64', END, PAGE, 'ends beyond 2^64'],
  ])('%s', (_, iova, length, message) => {
    const map = new IntervalMap();
    map.insert(0x1000, PAGE, 0x8000, 3);
    const kind = RangeError;
    for (const call of [
      () => {
        map.insert(iova, length, 0, 3);
      },
      () => map.remove(iova, length),
      () => [...map.overlapping(iova, length)],
    ]) {
      expect(call).toThrow(kind);
      expect(call).toThrow(message);
    }
    expect([...map]).toEqual([{ iova: 0x1000, length: PAGE, address: 0x8000, permissions: 3 }]);
  });

  test.each([
    [0x1234, 'address is 0x1234'],
    [-PAGE, 'address is -0x1000'],
    [NaN, 'address is'],
  ])('an address of %d, before anything changes', (address, message) => {
    const map = new IntervalMap();
    map.insert(0x1000, PAGE, 0x8000, 3);
    const call = () => {
      map.insert(0x1000, PAGE, address, 1);
    };
    expect(call).toThrow(RangeError);
    expect(call).toThrow(message);
    expect([...map]).toEqual([{ iova: 0x1000, length: PAGE, address: 0x8000, permissions: 3 }]);
  });
});
