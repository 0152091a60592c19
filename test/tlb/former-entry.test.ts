import { describe, expect, test } from 'vitest';
import { TlbInvalidation } from '../../src/tlb/tlb-invalidation.js';
import { fill, lookUp, tlbOf } from './tlb-driver.js';
import { BLOCK, halvesOf, leafOf, translationAt } from './tlb-model.js';

describe('a former entry', () => {
  const { high, low } = halvesOf(0x1000n);

  test('is one that has ended, or lacks the right, and that its row points to', () => {
    const tlb = tlbOf([7, 8]);
    expect(tlb.former(1, high, low)).toBe(-1);
    const at = fill(tlb, 1, leafOf(0x1000n));
    new TlbInvalidation(tlb).invalidateAll();
    expect([tlb.former(1, high, low), tlb.former(2, high, low)]).toEqual([at, -1]);
    expect(tlb.former(1, high, 0x2000)).toBe(-1);
    // Another size could answer: it has to be looked for.
    fill(tlb, 1, leafOf(0x4000_0000n, BLOCK));
    expect(tlb.former(1, high, low)).toBe(-1);
  });

  test('answers again when the walk has found what it says', () => {
    const tlb = tlbOf([7]);
    const at = fill(tlb, 1, leafOf(0x1000n));
    const same = translationAt(leafOf(0x1000n), 0x1000n);
    const invalidation = new TlbInvalidation(tlb);
    invalidation.invalidateAll();
    expect(tlb.former(1, high, low)).toBe(at);
    expect(
      tlb.revive(at, tlb.ticket, translationAt(leafOf(0x1000n, { bits: 0xf47n }), 0x1000n)),
    ).toBe(false);
    const { ticket } = tlb;
    invalidation.invalidateAsid(99);
    expect(tlb.revive(at, ticket, same)).toBe(false);
    expect(lookUp(tlb, 1, 0x1000n)).toBe(-1);
    expect(tlb.revive(at, tlb.ticket, same)).toBe(true);
    expect(lookUp(tlb, 1, 0x1000n)).toBe(at);
  });
});
