import { describe, expect, test } from 'vitest';
import { TlbInvalidation } from '../../src/tlb/tlb-invalidation.js';
import type { Tlb } from '../../src/tlb/tlb.js';
import { cdOf, fill, lookUp, outputOf, rangeOf, readAnswer, tlbOf } from './tlb-driver.js';
import { answerAt, GLOBAL, leafOf, tagged } from './tlb-model.js';

describe('contexts', () => {
  test('of equal words share entries, others of the same ASID do not', () => {
    const tlb = tlbOf([7]);
    expect([tlb.attach(cdOf(0), 7), tlb.attach(cdOf(2), 7)]).toEqual([1, 2]);
    fill(tlb, 1, leafOf(0x1000n));
    expect(lookUp(tlb, 2, 0x1000n)).toBe(-1);
    fill(tlb, 2, leafOf(0x1000n, { output: 0x9000_0000n }));
    expect([outputOf(tlb, 1, 0x1000n), outputOf(tlb, 2, 0x1000n)]).toEqual([
      0x80_0000_1000, 0x9000_0000,
    ]);
  });

  test('a slot that is used again has nothing of its last context, but the room', () => {
    const tlb = tlbOf([7]);
    const before = leafOf(0x1000n, { topByteIgnored: true, permissions: 63 });
    fill(tlb, 1, before);
    tlb.detach(1);
    expect(tlb.attach(cdOf(5), 9)).toBe(1);
    expect(lookUp(tlb, 1, 0x1000n)).toBe(-1);
    const after = leafOf(0x1000n, { output: 0x9000_0000n });
    fill(tlb, 1, after);
    expect(outputOf(tlb, 1, 0x1000n)).toBe(0x9000_0000);
    expect(tlb.size).toBe(1);
    // The tag counts now, and so does the new ASID.
    expect(lookUp(tlb, 1, tagged(0x1000n, 0x5a))).toBe(-1);
    new TlbInvalidation(tlb).invalidateAsid(7);
    expect(outputOf(tlb, 1, 0x1000n)).toBe(0x9000_0000);
    new TlbInvalidation(tlb).invalidateAsid(9);
    expect(lookUp(tlb, 1, 0x1000n)).toBe(-1);
  });

  test('a slot that is used again: what its tables say may be the same, the context is not', () => {
    const tlb = tlbOf([7]);
    fill(tlb, 1, leafOf(0x1000n));
    tlb.detach(1);
    expect(tlb.attach(cdOf(5), 9)).toBe(1);
    // One descriptor, but another MAIR and TBI.
    const after = leafOf(0x1000n, { attribute: 0x44, shareability: 2, topByteIgnored: true });
    fill(tlb, 1, after);
    const at = lookUp(tlb, 1, tagged(0x1234n, 0x5a));
    expect(readAnswer(tlb, at, 0x1234n)).toEqual(answerAt(after, 0x1234n));
    new TlbInvalidation(tlb).invalidateAsid(7);
    expect(lookUp(tlb, 1, 0x1000n)).toBe(at);
    new TlbInvalidation(tlb).invalidateAsid(9);
    expect([lookUp(tlb, 1, 0x1000n), tlb.size]).toEqual([-1, 1]);
  });

  test('a slot that is used again ignores the tag when its context does', () => {
    const tlb = tlbOf([7]);
    fill(tlb, 1, leafOf(0x1000n));
    tlb.detach(1);
    expect(tlb.attach(cdOf(5), 9)).toBe(1);
    const after = leafOf(0x1000n, { output: 0x9000_0000n, topByteIgnored: true });
    fill(tlb, 1, after, tagged(0x1000n, 0x5a));
    expect(outputOf(tlb, 1, 0x1000n)).toBe(0x9000_0000);
    expect(outputOf(tlb, 1, tagged(0x1000n, 0xff))).toBe(0x9000_0000);
    expect(tlb.size).toBe(1);
  });

  test('the end of a shared CD ends the entries; who still has it makes new ones', () => {
    const tlb = tlbOf([7]);
    tlb.attach(cdOf(0), 7);
    fill(tlb, 1, leafOf(0x1000n));
    tlb.detach(1);
    expect(lookUp(tlb, 1, 0x1000n)).toBe(-1);
    fill(tlb, 1, leafOf(0x1000n));
    expect(outputOf(tlb, 1, 0x1000n)).toBe(0x80_0000_1000);
  });
});

describe('while it is closed', () => {
  test('nothing is answered; what was kept is again afterwards, but for what has ended', () => {
    const tlb = tlbOf([7]);
    fill(tlb, 1, leafOf(0x1000n));
    fill(tlb, 1, leafOf(0x2000n, GLOBAL));
    tlb.generations.setOpen(false);
    expect([lookUp(tlb, 1, 0x1000n), lookUp(tlb, 1, 0x2000n)]).toEqual([-1, -1]);
    new TlbInvalidation(tlb).invalidateAsid(7);
    tlb.generations.setOpen(true);
    expect(lookUp(tlb, 1, 0x1000n)).toBe(-1);
    expect(outputOf(tlb, 1, 0x2000n)).toBe(0x80_0000_2000);
  });
});

describe('the last generation', () => {
  test.each<[string, (tlb: Tlb, invalidation: TlbInvalidation) => void]>([
    [
      'TLBI_NH_ALL',
      (_, one) => {
        one.invalidateAll();
      },
    ],
    [
      'TLBI_NH_ASID',
      (_, one) => {
        one.invalidateAsid(0);
      },
    ],
    [
      'the end of a CD',
      (tlb) => {
        tlb.detach(2);
      },
    ],
  ])('%s: everything is removed, and kept anew from then on', (_, happen) => {
    const tlb = tlbOf([7], { entries: 2 });
    tlb.attach(cdOf(2), 8);
    fill(tlb, 1, leafOf(0x1000n, GLOBAL));
    new TlbInvalidation(tlb).invalidateRange(
      rangeOf({ asid: 7, first: 0x1000n, last: 0x1fffn, granuleLog2: 0, level: 0 }),
    );
    fill(tlb, 1, leafOf(0x2000n));
    tlb.generations.now = 2 ** 31 - 2;
    fill(tlb, 1, leafOf(0x1000n, GLOBAL));
    expect(outputOf(tlb, 1, 0x1000n)).toBe(0x80_0000_1000);
    happen(tlb, new TlbInvalidation(tlb));
    expect(tlb.generations.now).toBe(1);
    expect([tlb.size, lookUp(tlb, 1, 0x1000n), lookUp(tlb, 1, 0x2000n)]).toEqual([0, -1, -1]);
    // Three in room for two, and all that can be done with them.
    for (const first of [0x2000n, 0x1000n, 0x7000n]) {
      fill(tlb, 1, leafOf(first));
      expect(outputOf(tlb, 1, first)).toBe(0x80_0000_0000 + Number(first));
    }
    expect([tlb.size, tlb.evictions]).toEqual([2, 1]);
    new TlbInvalidation(tlb).invalidateAsid(7);
    expect(lookUp(tlb, 1, 0x7000n)).toBe(-1);
    fill(tlb, 1, leafOf(0x7000n));
    expect(outputOf(tlb, 1, 0x7000n)).toBe(0x80_0000_7000);
  });
});
