import { describe, expect, test } from 'vitest';
import { TlbInvalidation } from '../../src/tlb/tlb-invalidation.js';
import type { Tlb } from '../../src/tlb/tlb.js';
import { fill, keep, lookUp, outputOf, rangeOf, sameRow, tlbOf } from './tlb-driver.js';
import { BLOCK, leafOf } from './tlb-model.js';

describe('what a walk found while something happened', () => {
  const endings: [string, (tlb: Tlb, invalidation: TlbInvalidation) => void][] = [
    [
      'TLBI_NH_ALL',
      (_, one) => {
        one.invalidateAll();
      },
    ],
    [
      'TLBI_NH_ASID of any ASID',
      (_, one) => {
        one.invalidateAsid(99);
      },
    ],
    [
      'TLBI_NH_VA of any page',
      (_, one) => {
        one.invalidateRange(
          rangeOf({ asid: 99, first: 0x9000n, last: 0x9fffn, granuleLog2: 0, level: 0 }),
        );
      },
    ],
    [
      'the end of a CD',
      (tlb) => {
        tlb.detach(1);
      },
    ],
    [
      'another miss',
      (tlb) => {
        expect(lookUp(tlb, 1, 0x5000n)).toBe(-1);
      },
    ],
  ];

  test.each(endings)('%s: is not kept', (_, happen) => {
    const tlb = tlbOf([7]);
    fill(tlb, 1, leafOf(0x8000n));
    expect(lookUp(tlb, 1, 0x1000n)).toBe(-1);
    const { ticket } = tlb;
    happen(tlb, new TlbInvalidation(tlb));
    expect(keep(tlb, 1, leafOf(0x1000n), 0x1000n, 1, ticket)).toBe(-1);
    expect([lookUp(tlb, 1, 0x1000n), tlb.size]).toEqual([-1, 1]);
  });

  test.each([
    ['an address without entry', 0x1000n, 0],
    ['an entry without the right', 0x4000n, 1],
  ])('a hit in the shadow cache: neither answers for the other (%s)', (_, missed, access) => {
    const tlb = tlbOf([7]);
    const [, hit, last] = [0n, ...sameRow(1, 0x1000n)] as [bigint, bigint, bigint];
    fill(tlb, 1, leafOf(0x4000n, { permissions: 1 }));
    fill(tlb, 1, leafOf(hit));
    fill(tlb, 1, leafOf(last));
    expect(lookUp(tlb, 1, missed, access)).toBe(-1);
    const { ticket } = tlb;
    expect(outputOf(tlb, 1, hit)).toBe(0x80_0000_0000 + Number(hit));
    expect(tlb.shadowHits).toBe(1);
    keep(tlb, 1, leafOf(missed), missed, 1, ticket);
    expect(outputOf(tlb, 1, hit)).toBe(0x80_0000_0000 + Number(hit));
    expect([0x80_0000_0000 + Number(missed), -1]).toContain(outputOf(tlb, 1, missed, 1));
    expect(tlb.store.countOf(1)).toBe(tlb.size);
  });

  test('a hit in the shadow cache for another span: no entry is lost', () => {
    const tlb = tlbOf([7]);
    const block = leafOf(0x4000_0000n, { ...BLOCK, output: 0xc000_0000n, bits: 0xf41n });
    fill(tlb, 1, leafOf(0x1000n, { permissions: 1 }));
    fill(tlb, 1, block, 0x4000_1000n);
    fill(tlb, 1, leafOf(0x5000_1000n));
    expect(lookUp(tlb, 1, 0x1000n, 1)).toBe(-1);
    const { ticket } = tlb;
    expect(outputOf(tlb, 1, 0x4000_1000n)).toBe(0xc000_1000);
    expect(tlb.shadowHits).toBe(1);
    keep(tlb, 1, leafOf(0x1000n), 0x1000n, 1, ticket);
    expect([0x80_0000_1000, -1]).toContain(outputOf(tlb, 1, 0x1000n, 1));
    expect([outputOf(tlb, 1, 0x4000_1000n), tlb.size, tlb.store.countOf(1)]).toEqual([
      ...[0xc000_1000, 3, 3],
    ]);
  });

  test('a hit in the micro-TLB changes nothing', () => {
    const tlb = tlbOf([7]);
    fill(tlb, 1, leafOf(0x2000n));
    expect(lookUp(tlb, 1, 0x1000n)).toBe(-1);
    expect(outputOf(tlb, 1, 0x2000n)).toBe(0x80_0000_2000);
    expect(keep(tlb, 1, leafOf(0x1000n))).toBeGreaterThanOrEqual(0);
    expect(outputOf(tlb, 1, 0x1000n)).toBe(0x80_0000_1000);
    expect(outputOf(tlb, 1, 0x2000n)).toBe(0x80_0000_2000);
  });
});
