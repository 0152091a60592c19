import { describe, expect, test } from 'vitest';
import { TlbInvalidation } from '../../src/tlb/tlb-invalidation.js';
import type { Tlb } from '../../src/tlb/tlb.js';
import { fill, lookUp, rangeOf, tlbOf } from './tlb-driver.js';
import { GLOBAL, leafOf } from './tlb-model.js';

const NAMED = 0x1000n;
const OTHER = 0x2000n;

/** A TLB with a named and another page in each of many contexts. */
function filled(asids: readonly number[], isGlobal: (slot: number) => boolean): Tlb {
  const tlb = tlbOf(asids);
  for (let slot = 1; slot <= asids.length; slot++) {
    const changes = isGlobal(slot) ? GLOBAL : {};
    for (const first of [NAMED, OTHER]) fill(tlb, slot, leafOf(first, changes));
  }
  return tlb;
}

/** TLBI of the named page; -1 is TLBI_NH_VAA. */
function invalidate(tlb: Tlb, asid: number): void {
  const range = { first: NAMED, last: NAMED + 0xfffn, granuleLog2: 0, level: 0 };
  new TlbInvalidation(tlb).invalidateRange(rangeOf({ asid, ...range }));
}

/** In how many slots a page is kept. */
function count(tlb: Tlb, first: bigint): number {
  let found = 0;
  for (let slot = 1; slot <= 200; slot++) if (lookUp(tlb, slot, first) >= 0) found++;
  return found;
}

function same(asid: number, length: number): number[] {
  return Array.from({ length }, () => asid);
}

describe('TLBI_NH_VA with many contexts', () => {
  test('of one ASID: 64 lose the page that is named', () => {
    const tlb = filled([...same(1, 64), 2, 2], () => false);
    invalidate(tlb, 1);
    expect([count(tlb, NAMED), count(tlb, OTHER)]).toEqual([2, 66]);
  });

  test('of one ASID: more than 64 lose all that has it', () => {
    const tlb = filled([...same(1, 65), 2, 2], () => false);
    invalidate(tlb, 1);
    expect([count(tlb, NAMED), count(tlb, OTHER)]).toEqual([2, 2]);
  });

  test('of one ASID: more than 64 and what is global, whatever its ASID', () => {
    const tlb = filled([...same(1, 65), 2, 2, 2], (slot) => slot > 66);
    invalidate(tlb, 1);
    expect([count(tlb, NAMED), count(tlb, OTHER)]).toEqual([1, 1]);
  });

  test('with global entries: 64 lose the page that is named', () => {
    const tlb = filled(same(1, 64), () => true);
    invalidate(tlb, 9);
    expect([count(tlb, NAMED), count(tlb, OTHER)]).toEqual([0, 64]);
  });

  test('with global entries: more than 64 lose what is global', () => {
    const tlb = filled([...same(1, 65), 2, 2], (slot) => slot <= 65);
    invalidate(tlb, 9);
    expect([count(tlb, NAMED), count(tlb, OTHER)]).toEqual([2, 2]);
  });

  test('contexts that have gone do not count', () => {
    const tlb = filled([...same(1, 80), 1, 1], () => false);
    for (let slot = 1; slot <= 80; slot++) tlb.detach(slot);
    invalidate(tlb, 1);
    expect([count(tlb, NAMED), count(tlb, OTHER)]).toEqual([0, 2]);
  });
});

describe('TLBI_NH_VAA with many contexts', () => {
  test('64 lose the page that is named, whatever their ASIDs', () => {
    const tlb = filled([...same(1, 30), ...same(2, 34)], (slot) => slot % 3 === 0);
    invalidate(tlb, -1);
    expect([count(tlb, NAMED), count(tlb, OTHER)]).toEqual([0, 64]);
  });

  test('contexts that have gone do not count', () => {
    const tlb = filled([...same(1, 80), 2, 3], () => false);
    for (let slot = 1; slot <= 80; slot++) tlb.detach(slot);
    invalidate(tlb, -1);
    expect([count(tlb, NAMED), count(tlb, OTHER)]).toEqual([0, 2]);
  });

  test('more lose the page at least', () => {
    const tlb = filled([...same(1, 50), ...same(2, 50)], (slot) => slot % 3 === 0);
    invalidate(tlb, -1);
    expect(count(tlb, NAMED)).toBe(0);
    fill(tlb, 1, leafOf(NAMED));
    expect(count(tlb, NAMED)).toBe(1);
  });
});

describe('a range as wide as half of the space', () => {
  test.each([
    ['from the lower half to the upper', 0n, (1n << 64n) - 1n],
    ['a half', 0n, 1n << 55n],
    ['around bit 55', (1n << 55n) - 0x1000n, (1n << 55n) + 0xfffn],
  ])('%s: ends entries of the contexts that it names, and of no others', (_, first, last) => {
    const tlb = filled([1, 1, 2], () => false);
    const range = { first, last, granuleLog2: 0, level: 0 };
    new TlbInvalidation(tlb).invalidateRange(rangeOf({ asid: 1, ...range }));
    expect(lookUp(tlb, 3, NAMED)).toBeGreaterThanOrEqual(0);
    if (first === 0n) expect(count(tlb, NAMED)).toBe(1);
  });
});
