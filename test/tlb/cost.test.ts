import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { TlbInvalidation } from '../../src/tlb/tlb-invalidation.js';
import type { Tlb } from '../../src/tlb/tlb.js';
import { fill, keep, lookUp, rangeOf, tlbOf } from './tlb-driver.js';
import { BLOCK, GIGABYTE, GLOBAL, leafOf, SHAPES, type Named } from './tlb-model.js';

/** Look-ups in the shadow cache, and entries that are visited one after the other. */
interface Cost {
  readonly lookUps: number;
  readonly visits: number;
}

/** What `work` costs. */
function countOf({ store, shadow }: Tlb, work: () => void): Cost {
  let visits = 0;
  const forEachOf = store.forEachOf.bind(store);
  const visiting = vi.spyOn(store, 'forEachOf').mockImplementation((slot, visit) => {
    forEachOf(slot, (at) => {
      visits++;
      visit(at);
    });
  });
  const spies = [vi.spyOn(shadow, 'peek'), vi.spyOn(shadow, 'get'), vi.spyOn(shadow, 'set')];
  work();
  const lookUps = spies.reduce((sum, spy) => sum + spy.mock.calls.length, 0);
  for (const spy of [...spies, visiting]) spy.mockRestore();
  return { lookUps, visits };
}

/** A TLB with contexts, and the commands to it. */
class Counted {
  readonly tlb: Tlb;
  readonly invalidation: TlbInvalidation;

  constructor(asids: readonly number[], entries = 6000) {
    this.tlb = tlbOf(asids, { entries });
    this.invalidation = new TlbInvalidation(this.tlb);
  }

  count(work: () => void): Cost {
    return countOf(this.tlb, work);
  }

  range(asid: number, first: bigint, bytes: bigint, hint: Partial<Named> = {}) {
    const last = first + bytes - 1n;
    return this.count(() => {
      const named: Named = { asid, first, last, granuleLog2: 0, level: 0, ...hint };
      this.invalidation.invalidateRange(rangeOf(named));
    });
  }

  pages(slot: number, first: bigint, count: number): this {
    for (let i = 0n; i < count; i++) fill(this.tlb, slot, leafOf(first + (i << 12n)));
    return this;
  }
}

describe('what an access costs', () => {
  test('a hit in the micro-TLB: nothing', () => {
    const { tlb } = new Counted([1]).pages(1, 0x1000n, 3);
    const hit = (): void => {
      expect(lookUp(tlb, 1, 0x2000n)).toBeGreaterThanOrEqual(0);
    };
    expect(countOf(tlb, hit)).toEqual({ lookUps: 0, visits: 0 });
  });

  test('a miss: a look-up for each size that the context has, and one place for what the walk found', () => {
    const { tlb } = new Counted([1, 2]).pages(1, 0x1000n, 3);
    fill(tlb, 1, leafOf(0x4000_0000n, BLOCK));
    fill(tlb, 2, leafOf(0x4000_0000n, GIGABYTE));
    const miss = (): void => {
      expect(lookUp(tlb, 1, 0x9000n)).toBe(-1);
    };
    expect(countOf(tlb, miss)).toEqual({ lookUps: 2, visits: 0 });
    // It is known that there is none of this size: one `set`.
    const insert = (): void => void keep(tlb, 1, leafOf(0x9000n));
    expect(countOf(tlb, insert)).toEqual({ lookUps: 1, visits: 0 });
  });

  test('a walk after TLBI_NH_ASID: nothing but the walk', () => {
    const { tlb, invalidation } = new Counted([1]).pages(1, 0x1000n, 3);
    invalidation.invalidateAsid(1);
    const refill = (): void => void fill(tlb, 1, leafOf(0x2000n));
    expect(countOf(tlb, refill)).toEqual({ lookUps: 0, visits: 0 });
    expect(lookUp(tlb, 1, 0x2000n)).toBeGreaterThanOrEqual(0);
  });

  test('a walk after TLBI_NH_ASID, with entries of another size: one look-up for these', () => {
    const { tlb, invalidation } = new Counted([1]).pages(1, 0x1000n, 3);
    fill(tlb, 1, leafOf(0x4000_0000n, BLOCK));
    invalidation.invalidateAsid(1);
    const refill = (): void => void fill(tlb, 1, leafOf(0x2000n));
    expect(countOf(tlb, refill)).toEqual({ lookUps: 1, visits: 0 });
    expect([lookUp(tlb, 1, 0x2000n) >= 0, tlb.size]).toEqual([true, 4]);
  });

  test('a walk after TLBI_NH_ASID for a page that has no row any more: one look-up', () => {
    const { tlb, invalidation } = new Counted([1]).pages(1, 0x1000n, 1).pages(1, 0x1000_1000n, 1);
    invalidation.invalidateAsid(1);
    const refill = (): void => void fill(tlb, 1, leafOf(0x1000n));
    expect(countOf(tlb, refill)).toEqual({ lookUps: 1, visits: 0 });
    expect([lookUp(tlb, 1, 0x1000n) >= 0, tlb.size]).toEqual([true, 2]);
  });
});

describe('what an invalidation costs', () => {
  test('2^30 bytes over 10 entries: 10 visits', () => {
    const counted = new Counted([1]).pages(1, 0x1000_0000n, 10);
    expect(counted.range(1, 0n, 1n << 30n)).toEqual({ lookUps: 0, visits: 10 });
    expect(lookUp(counted.tlb, 1, 0x1000_0000n)).toBe(-1);
  });

  test('one page: no more than one look-up for each size that the context has', () => {
    const counted = new Counted([1]).pages(1, 0x1000_0000n, 1000);
    expect(counted.range(1, 0x9000_0000n, 4096n)).toEqual({ lookUps: 1, visits: 0 });
    fill(counted.tlb, 1, leafOf(0x2000_0000n, BLOCK));
    fill(counted.tlb, 1, leafOf(0x4000_0000n, GIGABYTE));
    expect(counted.range(1, 0x9000_0000n, 4096n)).toEqual({ lookUps: 3, visits: 0 });
    expect(counted.range(-1, 0x9000_0000n, 1n)).toEqual({ lookUps: 3, visits: 0 });
    // What the micro-TLB points to needs none.
    expect(counted.range(1, 0x1000_1000n, 4096n)).toEqual({ lookUps: 2, visits: 0 });
    expect(lookUp(counted.tlb, 1, 0x1000_1000n)).toBe(-1);
  });

  test('a hint of the level leaves the look-ups of that level', () => {
    const counted = new Counted([1]).pages(1, 0x1000_0000n, 1000);
    fill(counted.tlb, 1, leafOf(0x2000_0000n, BLOCK));
    fill(counted.tlb, 1, leafOf(0x4000_0000n, GIGABYTE));
    const page = { granuleLog2: 12, level: 3 };
    expect(counted.range(1, 0x9000_0000n, 4096n, page)).toEqual({ lookUps: 1, visits: 0 });
    const block = { granuleLog2: 12, level: 2 };
    expect(counted.range(1, 0x9000_0000n, 1n << 24n, block)).toEqual({ lookUps: 8, visits: 0 });
    expect(counted.range(1, 0n, 1n << 24n, { granuleLog2: 16, level: 2 })).toEqual({
      lookUps: 0,
      visits: 0,
    });
  });

  test('a few pages of many: a look-up for each, and for each larger span they touch', () => {
    const counted = new Counted([1]).pages(1, 0x1000_0000n, 5000);
    expect(counted.range(1, 0x1000_0000n, 16n << 12n)).toEqual({ lookUps: 16, visits: 0 });
    fill(counted.tlb, 1, leafOf(0x4000_0000n, BLOCK));
    expect(counted.range(1, 0x1010_0000n, 1n << 21n)).toEqual({ lookUps: 512 + 2, visits: 0 });
  });

  test('an ASID, and everything: nothing is visited', () => {
    const counted = new Counted([1, 2]).pages(1, 0n, 3000).pages(2, 0n, 1000);
    const { tlb, invalidation } = counted;
    expect(
      counted.count(() => {
        invalidation.invalidateAsid(1);
      }),
    ).toEqual({ lookUps: 0, visits: 0 });
    expect([lookUp(tlb, 1, 0n), lookUp(tlb, 2, 0n) >= 0]).toEqual([-1, true]);
    expect(
      counted.count(() => {
        invalidation.invalidateAll();
      }),
    ).toEqual({ lookUps: 0, visits: 0 });
    expect(lookUp(tlb, 2, 0n)).toBe(-1);
  });

  test('the end of a CD: nothing is visited', () => {
    const counted = new Counted([1, 2]).pages(1, 0n, 3000);
    expect(
      counted.count(() => {
        counted.tlb.detach(1);
      }),
    ).toEqual({ lookUps: 0, visits: 0 });
    expect(lookUp(counted.tlb, 1, 0n)).toBe(-1);
  });

  test('other ASIDs: nothing, unless something is global', () => {
    const counted = new Counted([1, 2]).pages(1, 0n, 100);
    expect(counted.range(2, 0n, 4096n)).toEqual({ lookUps: 0, visits: 0 });
    expect(counted.range(9, 0n, 1n << 40n)).toEqual({ lookUps: 0, visits: 0 });
    fill(counted.tlb, 1, leafOf(0x5000_0000n, GLOBAL));
    expect(counted.range(9, 0x6000_0000n, 4096n)).toEqual({ lookUps: 1, visits: 0 });
    expect(counted.range(9, 0n, 1n << 40n)).toEqual({ lookUps: 0, visits: 101 });
    expect([lookUp(counted.tlb, 1, 0x1000n) >= 0, lookUp(counted.tlb, 1, 0x5000_0000n)]).toEqual([
      ...[true, -1],
    ]);
  });

  test('half of the space: nothing is visited', () => {
    const counted = new Counted([1]).pages(1, 0n, 100);
    expect(counted.range(1, 0n, 1n << 56n)).toEqual({ lookUps: 0, visits: 0 });
    expect(lookUp(counted.tlb, 1, 0n)).toBe(-1);
  });

  test('anything: never more than the entries of the contexts that are looked into', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(2), fc.nat(3), fc.nat(63), fc.boolean()), { maxLength: 40 }),
        fc.constantFrom(-1, 1, 2, 9),
        fc.bigInt(0n, 1n << 37n),
        fc.nat(45).chain((log2) => fc.bigInt(1n, 1n << BigInt(log2))),
        (entries, asid, first, bytes) => {
          const counted = new Counted([1, 1, 2], 50);
          const { tlb } = counted;
          for (const [index, shape, n, isGlobal] of entries) {
            const first = BigInt(n) << BigInt(SHAPES[shape]!.leafLog2);
            const leaf = leafOf(first, { shape: SHAPES[shape]!, ...(isGlobal ? GLOBAL : {}) });
            if (lookUp(tlb, index + 1, leaf.first) < 0) fill(tlb, index + 1, leaf);
          }
          const { lookUps, visits } = counted.range(asid, first, bytes);
          // With an ASID, contexts with global entries are looked into for these as well.
          expect(lookUps + visits).toBeLessThanOrEqual((asid < 0 ? 1 : 2) * tlb.size);
        },
      ),
      { numRuns: 100 },
    );
  });
});
