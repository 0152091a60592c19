import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TlbInvalidation } from '../../src/tlb/tlb-invalidation.js';
import { Tlb } from '../../src/tlb/tlb.js';
import { LruModel } from './lru-model.js';
import { cdOf, fill, keep, lookUp, rangeOf } from './tlb-driver.js';
import { leafOf } from './tlb-model.js';

/** ASIDs of the two contexts. */
const ASIDS = [5, 6];

/** Page number `n`: four pages share a row of the micro-TLB. Even ones are of context 1, odd ones of 2. */
function pageOf(n: number): bigint {
  return (BigInt(n >> 2) << 12n) | (BigInt(n & 3) << 28n);
}

function slotOf(page: bigint): number {
  return (page >> 12n) % 2n === 0n ? 1 : 2;
}

/** Both, and what is in the TLB by the index of the entry. */
class Pair {
  readonly tlb: Tlb;
  readonly model: LruModel;
  readonly invalidation: TlbInvalidation;
  private readonly pages = new Map<number, bigint>();

  constructor(entries: number, streamEntries: number) {
    this.tlb = new Tlb({ entries, streamEntries }, 4);
    this.model = new LruModel(entries, streamEntries);
    this.invalidation = new TlbInvalidation(this.tlb);
    this.tlb.generations.setOpen(true);
    ASIDS.forEach((asid, i) => this.tlb.attach(cdOf(i), asid));
  }

  /** As a device does; which of its parts answers is up to the TLB, that it answers is not. */
  access(page: bigint, streamId: number): void {
    const { tlb, model } = this;
    const known = model.item(page);
    // Another walk for what has ended is tested elsewhere: here it waits until somebody needs its room.
    if (known !== undefined && known.ended !== 'no') return;
    const slot = slotOf(page);
    const { shadowHits } = tlb;
    if (lookUp(tlb, slot, page) >= 0) {
      if (tlb.shadowHits === shadowHits) model.probed(page);
      else model.found(page);
    } else {
      expect(known).toBeUndefined();
      this.insert(page, streamId, slot);
    }
  }

  endPage(page: bigint): void {
    const range = { first: page, last: page + 0xfffn, granuleLog2: 0, level: 0 };
    this.invalidation.invalidateRange(rangeOf({ asid: -1, ...range }));
    const item = this.model.item(page);
    if (item !== undefined) item.ended = 'page';
  }

  endAsid(index: number): void {
    const { generations } = this.tlb;
    const before = generations.now;
    this.invalidation.invalidateAsid(ASIDS[index]!);
    // Generations begin anew: everything is removed.
    if (generations.now < before) this.model.order = [];
    for (const item of this.model.order) {
      if (slotOf(item.page) === index + 1 && item.ended === 'no') item.ended = 'asid';
    }
  }

  /** Pages, least recently used first. */
  get order(): bigint[] {
    return [...this.tlb.shadow.values()].reverse().map((index) => this.pages.get(index)!);
  }

  private insert(page: bigint, streamId: number, slot: number): void {
    const { tlb, model, pages } = this;
    const before = this.order;
    const victims = model.insert(page, streamId);
    const at = keep(tlb, slot, leafOf(page), page, streamId);
    const replaced = pages.get(at / 16);
    pages.set(at / 16, page);
    const gone = before.filter((other) => !this.order.includes(other));
    expect(gone.length).toBe(victims.length > 0 ? 1 : 0);
    if (gone.length === 0) return;
    expect(gone).toEqual([replaced]);
    expect(victims).toContain(replaced);
    model.remove(replaced!);
  }
}

type Step =
  | { kind: 'access'; page: number; streamId: number }
  | { kind: 'endPage'; page: number }
  | { kind: 'endAsid'; index: number };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 40,
      arbitrary: fc.record({
        kind: fc.constant('access' as const),
        page: fc.oneof(fc.nat(7), fc.nat(39)),
        streamId: fc.constantFrom(1, 1, 1, 2, 3),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('endPage' as const), page: fc.nat(39) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('endAsid' as const), index: fc.nat(1) }),
    },
  ),
  { minLength: 20, maxLength: 120, size: 'max' },
);

describe('a full TLB', () => {
  test.each([
    [1, 1],
    [2, 1],
    [2, 2],
    [3, 2],
    [7, 3],
    [7, 7],
    [20, 10],
    [20, 1],
  ])('of %d entries, %d a stream, gives up what the model says', (entries, streamEntries) => {
    const sums = { evictions: 0, shadowHits: 0, hits: 0 };
    fc.assert(
      fc.property(steps, fc.nat(4), (all, left) => {
        const pair = new Pair(entries, streamEntries);
        const { tlb, model } = pair;
        tlb.generations.now = 2 ** 31 - 2 - left;
        for (const step of all) {
          if (step.kind === 'access') pair.access(pageOf(step.page), step.streamId);
          else if (step.kind === 'endPage') pair.endPage(pageOf(step.page));
          else pair.endAsid(step.index);
          expect(pair.order).toEqual(model.order.map(({ page }) => page));
          expect(tlb.size).toBeLessThanOrEqual(entries);
        }
        sums.evictions += tlb.evictions;
        sums.shadowHits += tlb.shadowHits;
        sums.hits += tlb.hits[0]!;
      }),
      { numRuns: 40 },
    );
    expect(sums.evictions).toBeGreaterThan(15);
    if (entries > 1) expect(Math.min(sums.hits, sums.shadowHits)).toBeGreaterThan(2);
  });

  test('passes over 16 entries in use, and takes the next one although it is in use as well', () => {
    for (const inUse of [15, 16, 17, 20]) {
      const pair = new Pair(20, 20);
      const pages = Array.from({ length: 20 }, (_, i) => BigInt(2 * i) << 12n);
      for (const page of pages) pair.access(page, 1);
      for (const page of pages.slice(0, inUse)) pair.access(page, 1);
      expect(pair.tlb.hits[0]).toBe(inUse);
      pair.access(1n << 30n, 1);
      const gone = pages.filter((page) => !pair.order.includes(page));
      expect(gone).toEqual([pages[Math.min(inUse, 16)]]);
    }
  });

  test.each([
    ['the same', {}],
    ['another output', { output: 0x9000_0000n }],
  ])('passes over what was walked again since, with %s answer', (_, changes) => {
    const pair = new Pair(2, 2);
    const { tlb } = pair;
    const [first, second, third] = [0, 8, 16].map(pageOf) as [bigint, bigint, bigint];
    pair.access(first, 1);
    pair.access(second, 1);
    pair.endAsid(0);
    // It stays the oldest, but is in use.
    fill(tlb, 1, leafOf(first, changes));
    fill(tlb, 1, leafOf(third));
    const left = [first, second, third].filter((page) => lookUp(tlb, 1, page) >= 0);
    expect(left).toEqual([first, third]);
  });

  test('counts what it gave up, but not what had ended by itself', () => {
    const pair = new Pair(2, 2);
    for (const n of [0, 2, 8]) pair.access(pageOf(n), 1);
    expect([pair.tlb.size, pair.tlb.evictions]).toEqual([2, 1]);
    pair.endPage(pageOf(8));
    pair.access(pageOf(10), 1);
    expect([pair.tlb.size, pair.tlb.evictions]).toEqual([2, 1]);
    expect(pair.order).toEqual([pageOf(2), pageOf(10)]);
  });
});

describe('the quota of a stream', () => {
  const GREEDY = 9;

  test('what one stream takes from the others is never more than it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 24 }),
        fc.integer({ min: 1, max: 24 }),
        fc.array(fc.tuple(fc.nat(30), fc.integer({ min: 1, max: 3 })), {
          maxLength: 60,
          size: 'max',
        }),
        fc.array(fc.nat(30), { maxLength: 40, size: 'max' }),
        (entries, streamEntries, before, again) => {
          const pair = new Pair(entries, streamEntries);
          const { tlb } = pair;
          for (const [n, streamId] of before) pair.access(pageOf(n), streamId);
          const others = pair.order;
          const room = entries - others.length;
          for (let i = 0; i < 100; i++) {
            pair.access(BigInt(1000 + i) << 12n, GREEDY);
            // It uses much of its own again; the others are idle.
            if (i < again.length)
              pair.access(BigInt(1000 + Math.max(0, i - again[i]!)) << 12n, GREEDY);
          }
          const left = pair.order.filter((page) => others.includes(page)).length;
          expect(left).toBeGreaterThanOrEqual(Math.min(others.length, entries - streamEntries));
          expect(others.length - left).toBe(Math.max(0, Math.min(streamEntries, entries) - room));
          expect(tlb.size).toBe(entries);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('is half of the entries, unless said otherwise', () => {
    for (const [entries, expected] of [
      [1, 0],
      [2, 1],
      [7, 4],
      [100, 50],
    ] as const) {
      const tlb = new Tlb({ entries }, 4);
      tlb.generations.setOpen(true);
      ASIDS.forEach((asid, i) => tlb.attach(cdOf(i), asid));
      for (let i = 0; i < entries; i++) {
        fill(tlb, 1, leafOf(BigInt(i) << 12n));
      }
      for (let i = 0; i < 300; i++) {
        const page = BigInt(1000 + i) << 12n;
        fill(tlb, 1, leafOf(page), page, GREEDY);
      }
      const pages = Array.from({ length: entries }, (_, i) => BigInt(i) << 12n);
      expect(pages.filter((page) => lookUp(tlb, 1, page) >= 0).length).toBe(expected);
    }
  });
});
