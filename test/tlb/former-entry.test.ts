import { describe, expect, test } from 'vitest';
import { TlbInvalidation } from '../../src/tlb/tlb-invalidation.js';
import { cdOf, fill, lookUp, miss, outputOf, tlbOf } from './tlb-driver.js';
import { BLOCK, leafOf, translationAt } from './tlb-model.js';

describe('a former entry', () => {
  test('answers again when the walk has found what it says', () => {
    const tlb = tlbOf([7]);
    const at = fill(tlb, 1, leafOf(0x1000n));
    const same = translationAt(leafOf(0x1000n), 0x1000n);
    const other = translationAt(leafOf(0x1000n, { bits: 0xf47n }), 0x1000n);
    const invalidation = new TlbInvalidation(tlb);
    invalidation.invalidateAll();
    miss(tlb, 1, 0x1000n);
    expect(tlb.revive(tlb.ticket, other)).toBe(-1);
    const { ticket } = tlb;
    invalidation.invalidateAsid(99);
    expect(tlb.revive(ticket, same)).toBe(-1);
    expect(lookUp(tlb, 1, 0x1000n)).toBe(-1);
    expect(tlb.revive(tlb.ticket, same)).toBe(at);
    expect(lookUp(tlb, 1, 0x1000n)).toBe(at);
  });

  test('of another context of the same slot is not taken for an answer', () => {
    const tlb = tlbOf([7]);
    fill(tlb, 1, leafOf(0x1000n));
    tlb.detach(1);
    expect(tlb.attach(cdOf(8), 8)).toBe(1);
    miss(tlb, 1, 0x1000n);
    expect(tlb.revive(tlb.ticket, translationAt(leafOf(0x1000n), 0x1000n))).toBe(-1);
  });

  test('is none for an address that was never kept', () => {
    const tlb = tlbOf([7]);
    fill(tlb, 1, leafOf(0x1000n));
    miss(tlb, 1, 0x2000n);
    expect(tlb.revive(tlb.ticket, translationAt(leafOf(0x1000n), 0x1000n))).toBe(-1);
  });

  test('is what the walk fills, not the one of a miss before that came to nothing', () => {
    const tlb = tlbOf([7, 8]);
    fill(tlb, 1, leafOf(0x1000n));
    fill(tlb, 1, leafOf(0x4000_0000n, BLOCK));
    fill(tlb, 2, leafOf(0x5000n));
    new TlbInvalidation(tlb).invalidateAll();
    miss(tlb, 1, 0x1000n);
    fill(tlb, 2, leafOf(0x5000n, { output: 0x9000_0000n }));
    expect([outputOf(tlb, 1, 0x1000n), outputOf(tlb, 2, 0x5000n)]).toEqual([-1, 0x9000_0000]);
    expect(tlb.size).toBe(3);
  });
});
