import { describe, expect, test } from 'vitest';
import { keyOf } from '../../src/tlb/keys.js';
import { TlbInvalidation } from '../../src/tlb/tlb-invalidation.js';
import { cdOf, fill, lookUp, outputOf, rangeOf, tlbOf } from './tlb-driver.js';
import { leafOf } from './tlb-model.js';

describe('two spans with the same key', () => {
  /** By brute force: a page of slot 2 with the key of page 0x1000 of slot 1. */
  function collision(): bigint {
    const wanted = keyOf(1, 0, 0x1000, 12);
    for (let high = 1; high < 0x10_0000; high++) {
      // The low word may be any page: its number is what the rest leaves.
      const low = ((keyOf(2, high, 0, 12) ^ wanted) << 12) >>> 0;
      if (keyOf(2, high, low | 0, 12) !== wanted) continue;
      return (BigInt(high) << 32n) | BigInt(low);
    }
    throw new Error('no two keys are equal');
  }

  test('take turns in one entry, and never answer for each other', () => {
    const tlb = tlbOf([7]);
    tlb.attach(cdOf(2), 8);
    const own = leafOf(0x1000n);
    const other = leafOf(collision(), { output: 0x9000_0000n });
    for (let turn = 0; turn < 3; turn++) {
      fill(tlb, 1, own);
      expect([outputOf(tlb, 1, own.first), outputOf(tlb, 2, other.first)]).toEqual([
        0x80_0000_1000, -1,
      ]);
      fill(tlb, 2, other);
      expect([outputOf(tlb, 1, own.first), outputOf(tlb, 2, other.first)]).toEqual([
        -1, 0x9000_0000,
      ]);
      expect(tlb.size).toBe(1);
    }
    expect([...tlb.store.slotsWithGlobals, tlb.store.countOf(1), tlb.store.countOf(2)]).toEqual([
      0, 1,
    ]);
  });

  test('an invalidation of the one leaves the other', () => {
    const tlb = tlbOf([7]);
    tlb.attach(cdOf(2), 8);
    const other = leafOf(collision(), { output: 0x9000_0000n });
    fill(tlb, 1, leafOf(0x1000n));
    // The slot has pages of this size still.
    fill(tlb, 1, leafOf(0x2000n));
    fill(tlb, 2, other);
    const named = { asid: -1, granuleLog2: 0, level: 0 };
    const invalidation = new TlbInvalidation(tlb);
    invalidation.invalidateRange(rangeOf({ ...named, first: 0x1000n, last: 0x1fffn }));
    expect(outputOf(tlb, 2, other.first)).toBe(0x9000_0000);
    const { first } = other;
    invalidation.invalidateRange(rangeOf({ ...named, first, last: first + 0xfffn }));
    expect(lookUp(tlb, 2, first)).toBe(-1);
    expect(outputOf(tlb, 1, 0x2000n)).toBe(0x80_0000_2000);
  });

  test("of two streams: the entry is the last one's, and counts as that", () => {
    const tlb = tlbOf([7], { entries: 2, streamEntries: 1 });
    tlb.attach(cdOf(2), 8);
    const other = leafOf(collision(), { output: 0x9000_0000n });
    fill(tlb, 1, leafOf(0x1000n), 0x1000n, 1);
    fill(tlb, 2, other, other.first, 2);
    fill(tlb, 1, leafOf(0x2000n), 0x2000n, 1);
    // Stream 1 has one entry, which it gives up for the next.
    fill(tlb, 1, leafOf(0x3000n), 0x3000n, 1);
    expect([outputOf(tlb, 2, other.first), outputOf(tlb, 1, 0x2000n)]).toEqual([0x9000_0000, -1]);
    expect([outputOf(tlb, 1, 0x3000n), tlb.size]).toEqual([0x80_0000_3000, 2]);
  });

  test('in a full TLB the newcomer takes the place of its double', () => {
    const tlb = tlbOf([7], { entries: 2 });
    tlb.attach(cdOf(2), 8);
    const other = leafOf(collision(), { output: 0x9000_0000n });
    fill(tlb, 1, leafOf(0x1000n));
    fill(tlb, 1, leafOf(0x2000n));
    fill(tlb, 2, other, other.first, 2);
    expect(outputOf(tlb, 2, other.first)).toBe(0x9000_0000);
    expect(outputOf(tlb, 1, 0x2000n)).toBe(0x80_0000_2000);
    expect([tlb.size, tlb.evictions]).toEqual([2, 0]);
  });
});
