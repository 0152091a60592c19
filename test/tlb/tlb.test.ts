import { describe, expect, test } from 'vitest';
import { TlbInvalidation } from '../../src/tlb/tlb-invalidation.js';
import type { Tlb } from '../../src/tlb/tlb.js';
import {
  fill,
  keep,
  lookUp,
  miss,
  outputOf,
  rangeOf,
  readAnswer,
  sameRow,
  tlbOf,
} from './tlb-driver.js';
import { answerAt, BLOCK, GLOBAL, leafOf, mayHit, spanOf, tagged, type Leaf } from './tlb-model.js';

/** Of pages: bits with the Contiguous one. */
const RUN = 0xf43n | (1n << 52n);

describe('an empty TLB', () => {
  test('answers nothing, also not for what no context has', () => {
    const tlb = tlbOf([7]);
    for (const slot of [1, 2, 0, -1]) {
      for (const address of [0n, 0x1000n, 0xffff_ffff_ffff_ffffn]) {
        expect(lookUp(tlb, slot, address)).toBe(-1);
      }
    }
  });

  test('of 0 entries keeps nothing', () => {
    const tlb = tlbOf([7], { entries: 0 });
    expect(fill(tlb, 1, leafOf(0x1000n))).toBe(-1);
    expect(lookUp(tlb, 1, 0x1000n)).toBe(-1);
    new TlbInvalidation(tlb).invalidateRange(
      rangeOf({ asid: 7, first: 0n, last: 0xfffn, granuleLog2: 0, level: 0 }),
    );
    expect([tlb.size, tlb.evictions]).toEqual([0, 0]);
  });
});

describe('a page that is kept', () => {
  test('is answered by the micro-TLB, for its slot and its addresses only', () => {
    const tlb = tlbOf([7]);
    const leaf = leafOf(0x1000n);
    fill(tlb, 1, leaf, 0x1abcn);
    expect(outputOf(tlb, 1, 0x1fffn)).toBe(0x80_0000_1fff);
    expect([tlb.hits[0], tlb.shadowHits, tlb.size]).toEqual([1, 0, 1]);
    expect([outputOf(tlb, 1, 0xfffn), outputOf(tlb, 1, 0x2000n)]).toEqual([-1, -1]);
    expect([outputOf(tlb, 2, 0x1000n), outputOf(tlb, -1, 0x1000n)]).toEqual([-1, -1]);
    expect(outputOf(tlb, 1, 0x0100_0000_0000_1000n)).toBe(-1);
    expect([tlb.hits[0], tlb.shadowHits, tlb.size]).toEqual([1, 0, 1]);
  });

  test('is answered by the shadow cache when another page has its row, and then by the micro-TLB', () => {
    const tlb = tlbOf([7]);
    const others = sameRow(1, 0x1000n);
    const [other] = others;
    fill(tlb, 1, leafOf(0x1000n));
    fill(tlb, 1, leafOf(other!));
    expect(outputOf(tlb, 1, 0x1234n)).toBe(0x80_0000_1234);
    expect([tlb.hits[0], tlb.shadowHits]).toEqual([0, 1]);
    expect(outputOf(tlb, 1, 0x1234n)).toBe(0x80_0000_1234);
    expect([tlb.hits[0], tlb.shadowHits]).toEqual([1, 1]);
    expect(outputOf(tlb, 1, other!)).toBe(Number(leafOf(other!).output));
    expect([tlb.hits[0], tlb.shadowHits]).toEqual([1, 2]);
  });

  test.each([0, 1, 2, 3, 4, 5, 6, 7])(
    'does not answer access %d when it lacks the right',
    (access) => {
      const right = [1, 2, 4, 2, 8, 16, 32, 16][access]!;
      const tlb = tlbOf([7]);
      keepAfterMiss(tlb, leafOf(0x1000n, { permissions: 63 & ~right }));
      expect(lookUp(tlb, 1, 0x1000n, access)).toBe(-1);
      // Neither does the shadow cache, once the row is another page's.
      keepAfterMiss(tlb, leafOf(sameRow(1, 0x1000n)[0]!));
      expect(lookUp(tlb, 1, 0x1000n, access)).toBe(-1);
      // The walk finds that it has the right now: the same entry says so.
      keepAfterMiss(tlb, leafOf(0x1000n, { permissions: right }));
      expect(outputOf(tlb, 1, 0x1000n, access)).toBe(0x80_0000_1000);
      expect(tlb.size).toBe(2);
    },
  );

  test('takes the place of what an invalidation has ended', () => {
    const tlb = tlbOf([7]);
    const invalidation = new TlbInvalidation(tlb);
    const first = fill(tlb, 1, leafOf(0x1000n));
    invalidation.invalidateAsid(7);
    expect(lookUp(tlb, 1, 0x1000n)).toBe(-1);
    expect(fill(tlb, 1, leafOf(0x1000n, { output: 0x9000_0000n }))).toBe(first);
    expect([outputOf(tlb, 1, 0x1000n), tlb.size]).toEqual([0x9000_0000, 1]);
  });

  test.each<[string, before: Leaf, after: Leaf]>([
    ['the same', leafOf(0x1000n), leafOf(0x1000n)],
    ['another output', leafOf(0x1000n), leafOf(0x1000n, { output: 0x81_0000_1000n })],
    ['other bits of the descriptor', leafOf(0x1000n), leafOf(0x1000n, { bits: 0xf47n })],
    ['rights that a table has taken', leafOf(0x1000n), leafOf(0x1000n, { permissions: 0b1001 })],
    ['a page that has become clean', leafOf(0x1000n), leafOf(0x1000n, { permissions: 127 })],
    [
      'a page of what was a run',
      leafOf(0x1_0000n, { isRun: true, bits: RUN }),
      leafOf(0x1_0000n, { bits: RUN }),
    ],
    [
      'a run of what was a page without the Contiguous bit',
      leafOf(0x1_0000n),
      leafOf(0x1_0000n, { isRun: true, bits: RUN }),
    ],
    ['a block of what was a page', leafOf(0x4000_0000n), leafOf(0x4000_0000n, BLOCK)],
  ])('after an invalidation is what the tables say then: %s', (_, before, after) => {
    for (const end of ['invalidateAll', 'invalidateAsid', 'invalidateRange'] as const) {
      const tlb = tlbOf([7]);
      const invalidation = new TlbInvalidation(tlb);
      const { first } = before;
      fill(tlb, 1, before);
      if (end === 'invalidateAll') invalidation.invalidateAll();
      else if (end === 'invalidateAsid') invalidation.invalidateAsid(7);
      else {
        const page = { first, last: first + 0xfffn, granuleLog2: 0, level: 0 };
        invalidation.invalidateRange(rangeOf({ asid: 7, ...page }));
      }
      const at = fill(tlb, 1, after);
      for (const address of [first, first + 0xfffn]) {
        expect(readAnswer(tlb, at, address)).toEqual(answerAt(after, address));
        expect(lookUp(tlb, 1, address)).toBe(at);
        expect(lookUp(tlb, 1, address, 1) >= 0).toBe(mayHit(after, 1));
      }
      expect(lookUp(tlb, 1, first + 0x1000n) >= 0).toBe(spanOf(after) > 4096n);
      invalidation.invalidateAsid(7);
      expect(lookUp(tlb, 1, first)).toBe(-1);
    }
  });

  test('becomes global, or non-global: the ASID ends it from then on, or does not', () => {
    const tlb = tlbOf([7]);
    const invalidation = new TlbInvalidation(tlb);
    for (const bits of [0xf43n, 0x743n, 0xf43n]) {
      invalidation.invalidateAll();
      fill(tlb, 1, leafOf(0x1000n, { bits }));
      invalidation.invalidateAsid(7);
      expect(lookUp(tlb, 1, 0x1000n) >= 0).toBe(bits === 0x743n);
    }
    expect(tlb.size).toBe(1);
  });

  test('becomes global after a miss elsewhere that came to nothing: it is one entry still', () => {
    const tlb = tlbOf([7]);
    fill(tlb, 1, leafOf(0x1000n));
    new TlbInvalidation(tlb).invalidateAll();
    expect(lookUp(tlb, 1, 0x9000n)).toBe(-1);
    fill(tlb, 1, leafOf(0x1000n, GLOBAL));
    expect([outputOf(tlb, 1, 0x1000n), tlb.size, tlb.store.countOf(1)]).toEqual([
      ...[0x80_0000_1000, 1, 1],
    ]);
  });

  test('answers through a handle for addresses without and with a tag', () => {
    for (const from of [0, 0x5a]) {
      const tlb = tlbOf([7]);
      for (const output of [0x80_0000_1000n, 0x9000_0000n]) {
        new TlbInvalidation(tlb).invalidateAll();
        const leaf = leafOf(0x1000n, { topByteIgnored: true, output });
        const at = fill(tlb, 1, leaf, tagged(0x1234n, from));
        expect(lookUp(tlb, 1, 0x1678n)).toBe(at);
        // What a handle adds to a number.
        expect(0x1678 + tlb.store.deltas[at / 16]!).toBe(Number(output) + 0x678);
      }
    }
  });
});

/** A miss, whatever the rights, and what the walk found. */
function keepAfterMiss(tlb: Tlb, leaf: Leaf): void {
  miss(tlb, 1, leaf.first);
  expect(keep(tlb, 1, leaf)).toBeGreaterThanOrEqual(0);
}

describe('growth', () => {
  test('beyond 1024 entries nothing is lost, and the micro-TLB answers again', () => {
    const tlb = tlbOf([7], { entries: 3000 });
    const pages = Array.from({ length: 3000 }, (_, i) => leafOf(0x1000n * BigInt(i)));
    for (const leaf of pages) fill(tlb, 1, leaf);
    expect([tlb.size, tlb.evictions, tlb.store.capacity]).toEqual([3000, 0, 3000]);
    for (const leaf of pages) {
      const at = lookUp(tlb, 1, leaf.first, 5);
      expect(readAnswer(tlb, at, leaf.first)).toEqual(answerAt(leaf, leaf.first));
    }
    const before = tlb.shadowHits;
    for (const leaf of pages) expect(lookUp(tlb, 1, leaf.first)).toBeGreaterThanOrEqual(0);
    expect(tlb.shadowHits).toBe(before);
    // Now there is no room.
    fill(tlb, 1, leafOf(0x1000_0000n));
    expect([tlb.size, tlb.evictions]).toEqual([3000, 1]);
  });
});
