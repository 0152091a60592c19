import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isAlive } from '../../src/tlb/generations.js';
import { TlbInvalidation } from '../../src/tlb/tlb-invalidation.js';
import type { Tlb } from '../../src/tlb/tlb.js';
import { fill, keep, lookUp, miss, rangeOf, tlbOf } from './tlb-driver.js';
import {
  BLOCK,
  canonical,
  GLOBAL,
  leafOf,
  leaves,
  nonGlobalOf,
  SHAPES,
  spanLog2Of,
  spanOf,
  tagged,
  verdictOn,
  type Leaf,
  type Named,
} from './tlb-model.js';

/** ASIDs of the contexts in slots 1 to 6. */
const ASIDS = [1, 1, 1, 2, 2, 3];

interface Kept {
  readonly slot: number;
  readonly asid: number;
  readonly leaf: Leaf;
  at: number;
}

/** Where entries and ranges are: the ends of the halves among them. */
const anchor = fc.oneof(
  fc.constantFrom(0n, (1n << 55n) - 1n, 1n << 55n, 0xffff_ffff_ffff_f000n),
  fc.constantFrom(0x1234_5678_9000n, 0xffff_8000_0000_0000n),
);
/** Up to so many bytes from there: mostly a few pages. */
const offset = fc
  .tuple(fc.constantFrom(13n, 14n, 17n, 22n, 32n, 44n), fc.bigInt(-(1n << 44n), 1n << 44n))
  .map(([log2, value]) => value >> (44n - log2));

function leafAt(leaf: Leaf, address: bigint): Leaf {
  const first = canonical(address);
  return { ...leaf, permissions: 63, privilegedOnly: false, first: first - (first % spanOf(leaf)) };
}

const entry = fc
  .tuple(fc.nat(ASIDS.length - 1), leaves, anchor, offset)
  .map(([index, leaf, base, more]) => ({
    slot: index + 1,
    asid: ASIDS[index]!,
    leaf: leafAt(leaf, base + more),
    at: -1,
  }));

const ALL = (1n << 64n) - 1n;
const hints = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ granuleLog2: 0, level: 0 }) },
  fc.constantFrom(...SHAPES.filter(({ level }) => level > 0)).map(({ granuleLog2, level }) => ({
    granuleLog2,
    level,
  })),
  fc.constantFrom(12, 14, 16).map((granuleLog2) => ({ granuleLog2, level: 0 })),
);
const bytes = fc.oneof(
  fc.constantFrom(1n, 4096n, 4096n, 3n << 12n, 1n << 16n, 1n << 21n, 1n << 30n, 1n << 42n),
  fc.constantFrom(1n << 48n, (1n << 54n) - 1n, (1n << 55n) - 4096n, 1n << 56n, 1n << 64n),
  fc.bigInt(1n, 1n << 24n),
);

/** A command for a TLB with some entries: half of them begin near one of these. */
const command: fc.Arbitrary<(entries: readonly Kept[]) => Named> = fc
  .record({
    asid: fc.constantFrom(-1, -1, 1, 1, 2, 3, 9),
    near: fc.option(fc.nat(99)),
    base: anchor,
    more: offset,
    bytes,
    hint: hints,
    tag: fc.constantFrom(-1, -1, -1, 0, 0x5a),
  })
  .map(({ asid, near, base, more, bytes: length, hint, tag }) => (entries) => {
    const one = near === null ? undefined : entries[near % entries.length];
    const begin = one === undefined ? base : one.leaf.first + (spanOf(one.leaf) >> 1n);
    const address = canonical(begin + more);
    const first = tag < 0 ? address : tagged(address, tag);
    const last = first + length - 1n;
    const meant = asid < 0 || one === undefined ? asid : one.asid;
    return { asid: meant, first, last: last > ALL ? ALL : last, ...hint };
  });

/** Ranges in one half and not as wide as that: for these no more ends than is named. */
function isOrdinary({ first, last }: Named): boolean {
  const sameHalf = ((first ^ last) & (1n << 55n)) === 0n;
  return sameHalf && last - first < (1n << 55n) - (1n << 32n);
}

function isSame(one: Kept, other: Kept): boolean {
  const { slot, leaf } = one;
  return (
    slot === other.slot &&
    leaf.first === other.leaf.first &&
    spanLog2Of(leaf) === spanLog2Of(other.leaf)
  );
}

/** Keeps the entries; returns those that have not been replaced by a later one. */
function fillAll(tlb: Tlb, entries: readonly Kept[]): Kept[] {
  const kept = entries.filter(
    (one, i) => !entries.slice(i + 1).some((other) => isSame(one, other)),
  );
  for (const one of kept) {
    // An entry that overlaps may answer already: the walk is done all the same.
    miss(tlb, one.slot, one.leaf.first);
    one.at = keep(tlb, one.slot, one.leaf);
  }
  return kept;
}

/** What a device can see of an entry after a command: the first access in it that is answered by it. */
function answersAnywhere(tlb: Tlb, { slot, leaf, at }: Kept, range: Named): boolean {
  const last = leaf.first + spanOf(leaf) - 1n;
  const samples = [leaf.first, last, leaf.first + spanOf(leaf) / 2n];
  for (const edge of [range.first, range.last].map(canonical)) {
    if (edge >= leaf.first && edge <= last) samples.push(edge);
  }
  return samples.some((address) => lookUp(tlb, slot, address) === at);
}

describe('TLBI_NH_VA and TLBI_NH_VAA', () => {
  test('end every entry that they name, and in ordinary ranges no other', () => {
    const sums = { must: 0, no: 0, may: 0, ordinary: 0, wide: 0 };
    fc.assert(
      fc.property(
        fc.array(entry, { minLength: 1, maxLength: 14, size: 'max' }),
        fc.array(command, { minLength: 1, maxLength: 3 }),
        (entries, commands) => {
          const tlb = tlbOf(ASIDS);
          const invalidation = new TlbInvalidation(tlb);
          let kept = fillAll(tlb, entries);
          // Two whose keys happen to be the same cannot both be kept.
          fc.pre(tlb.size === kept.length);
          for (const one of commands) {
            const range = one(entries);
            const { ticket } = tlb;
            const { words } = tlb.store;
            invalidation.invalidateRange(rangeOf(range));
            expect(tlb.ticket).not.toBe(ticket);
            const ordinary = isOrdinary(range);
            sums[ordinary ? 'ordinary' : 'wide']++;
            const wrong = kept.filter((one) => {
              const verdict = verdictOn(one.leaf, one.asid, range);
              sums[verdict]++;
              const alive = isAlive(words, one.at, tlb.generations.floors);
              if (answersAnywhere(tlb, one, range) && !alive) return true;
              return alive ? verdict === 'must' : verdict === 'no' && ordinary;
            });
            expect(wrong).toEqual([]);
            kept = kept.filter(({ at }) => isAlive(words, at, tlb.generations.floors));
          }
          // Nothing stands in the way of new ones.
          const { floors } = tlb.generations;
          const lost = fillAll(tlb, entries).filter(
            ({ at }) => !isAlive(tlb.store.words, at, floors),
          );
          expect(lost).toEqual([]);
        },
      ),
      { numRuns: 500 },
    );
    expect(Math.min(sums.must, sums.no)).toBeGreaterThan(100);
    expect(Math.min(sums.may, sums.wide)).toBeGreaterThan(5);
  });
});

describe('TLBI_NH_ASID and TLBI_NH_ALL', () => {
  test('end the non-global entries of an ASID, and all', () => {
    fc.assert(
      fc.property(
        fc.array(entry, { minLength: 1, maxLength: 14, size: 'max' }),
        fc.constantFrom(1, 2, 3, 9),
        (entries, asid) => {
          const tlb = tlbOf(ASIDS);
          const kept = fillAll(tlb, entries);
          fc.pre(tlb.size === kept.length);
          const invalidation = new TlbInvalidation(tlb);
          const alive = (): boolean[] =>
            kept.map(({ at }) => isAlive(tlb.store.words, at, tlb.generations.floors));
          expect(alive()).toEqual(kept.map(() => true));
          invalidation.invalidateAsid(asid);
          expect(alive()).toEqual(
            kept.map((one) => one.asid !== asid || nonGlobalOf(one.leaf) === 0),
          );
          invalidation.invalidateAll();
          expect(alive()).toEqual(kept.map(() => false));
          for (const { slot, leaf } of kept) expect(lookUp(tlb, slot, leaf.first)).toBe(-1);
        },
      ),
      { numRuns: 150 },
    );
  });
});

/** Whether an entry with its neighbours survives a range; among `more` entries elsewhere. */
function survives(leaf: Leaf, first: bigint, last: bigint, more: number, asid = 7): boolean {
  const tlb = tlbOf([7]);
  for (let i = 0; i < more; i++) fill(tlb, 1, leafOf((1n << 40n) + 0x1000n * BigInt(i)));
  const at = fill(tlb, 1, leaf);
  new TlbInvalidation(tlb).invalidateRange(
    rangeOf({ asid, first, last, granuleLog2: 0, level: 0 }),
  );
  expect(lookUp(tlb, 1, 1n << 40n) >= 0).toBe(more > 0);
  return lookUp(tlb, 1, leaf.first) === at;
}

describe.each([
  ['few entries, which are visited', 0],
  ['many entries, of which the named ones are looked up', 700],
])('with %s', (_, more) => {
  // By hand, for a block of 2 MiB.
  test.each([
    ['the page before it', 0x3f_f000n, 0x3f_ffffn, true],
    ['its first page', 0x40_0000n, 0x40_0fffn, false],
    ['a page within it', 0x51_2000n, 0x51_2fffn, false],
    ['its last page', 0x5f_f000n, 0x5f_ffffn, false],
    ['the page after it', 0x60_0000n, 0x60_0fffn, true],
    ['pages up to it', 0x3f_c000n, 0x3f_ffffn, true],
    ['pages up to its first byte', 0x3f_c000n, 0x40_0000n, false],
    ['pages within it', 0x41_0000n, 0x41_ffffn, false],
    ['pages from its last byte on', 0x5f_ffffn, 0x61_ffffn, false],
    ['pages from its end on', 0x60_0000n, 0x63_ffffn, true],
    ['all around it', 0n, 0x7f_ffffn, false],
    ['1 GiB above', 0x60_0000n, 0x4060_0000n, true],
    ['16 TiB from 0', 0n, (1n << 40n) - 1n, false],
    ['another half', 0xffff_8000_0040_0000n, 0xffff_8000_0050_0000n, true],
  ])('a block of 2 MiB and %s', (__, first, last, expected) => {
    expect(survives(leafOf(0x40_0000n, BLOCK), first, last, more)).toBe(expected);
    expect(survives(leafOf(0x40_0000n, BLOCK), first, last, more, -1)).toBe(expected);
    // Another ASID: only a global one ends.
    expect(survives(leafOf(0x40_0000n, BLOCK), first, last, more, 8)).toBe(true);
    expect(survives(leafOf(0x40_0000n, { ...BLOCK, ...GLOBAL }), first, last, more, 8)).toBe(
      expected,
    );
  });

  test.each([
    ['the word boundary at 4 GiB', 0xffff_f000n, 0x1_0000_0fffn],
    ['several of them', 0xffff_f000n, 0x3_0000_0fffn],
    ['the boundary, upper half', 0xffff_8000_ffff_f000n, 0xffff_8001_0000_0fffn],
  ])('a range across %s ends the pages at its ends', (__, first, last) => {
    expect(survives(leafOf(first), first, last, more)).toBe(false);
    expect(survives(leafOf(last & ~0xfffn), first, last, more)).toBe(false);
    expect(survives(leafOf(first - 0x1000n), first, last, more)).toBe(true);
    expect(survives(leafOf(last + 1n), first, last, more)).toBe(true);
  });

  test('a range that begins within a block, across 4 GiB, ends the blocks on both sides', () => {
    const blocks = [0xffc0_0000n, 0xffe0_0000n, 0x1_0000_0000n, 0x1_0020_0000n, 0x1_0040_0000n];
    expect(
      blocks.map((first) => survives(leafOf(first, BLOCK), 0xffff_f000n, 0x1_0020_0fffn, more)),
    ).toEqual([true, false, false, false, true]);
    const low = 0xffff_8000_0000_0000n;
    expect(
      blocks.map((first) =>
        survives(leafOf(low + first, BLOCK), low + 0xffff_f000n, low + 0x1_0020_0fffn, more),
      ),
    ).toEqual([true, false, false, false, true]);
  });
});

describe('hints of granule and level', () => {
  /** Entries of one slot, and which of them are left after a TLBI of them all with hints. */
  function leftAfter(granuleLog2: number, level: number): number[] {
    const tlb = tlbOf([7]);
    const span = 1n << 44n;
    const entries = SHAPES.slice(0, 10).flatMap((shape, i) => {
      const single = leafOf(span * BigInt(i), { shape });
      return shape.runLog2 === 0
        ? [single]
        : [single, { ...single, first: single.first + (span >> 1n), isRun: true }];
    });
    const ats = entries.map((leaf) => fill(tlb, 1, leaf));
    const last = 16n * span - 1n;
    new TlbInvalidation(tlb).invalidateRange(
      rangeOf({ asid: 7, first: 0n, last, granuleLog2, level }),
    );
    return entries
      .filter((leaf, i) => lookUp(tlb, 1, leaf.first) === ats[i])
      .map((leaf) => spanLog2Of(leaf));
  }

  // Every leaf, and its run, by size.
  const SPANS = [12, 16, 21, 25, 30, 34, 39, 14, 21, 25, 30, 36, 16, 21, 29, 34, 42];

  test.each([
    [12, 3, [12, 16]],
    [12, 2, [21, 25]],
    [12, 1, [30, 34]],
    [14, 3, [14, 21]],
    [14, 2, [25, 30]],
    [14, 1, [36]],
    [16, 3, [16, 21]],
    [16, 2, [29, 34]],
    [16, 1, [42]],
  ])(
    'granule 2^%d, level %d: entries of the sizes %j end, others stay',
    (granule, level, ended) => {
      expect(leftAfter(granule, level)).toEqual(SPANS.filter((span) => !ended.includes(span)));
    },
  );

  test('no level: entries of any size end, whatever the granule', () => {
    for (const granule of [0, 12, 14, 16]) expect(leftAfter(granule, 0)).toEqual([]);
  });

  test('hold for one page as well, also when the micro-TLB points to it', () => {
    for (const [level, ends] of [
      [3, true],
      [2, false],
      [1, false],
    ] as const) {
      const tlb = tlbOf([7]);
      fill(tlb, 1, leafOf(0x4000_0000n, BLOCK));
      fill(tlb, 1, leafOf(0x1000n));
      const range = { asid: 7, first: 0x1000n, last: 0x1fffn, granuleLog2: 12, level };
      new TlbInvalidation(tlb).invalidateRange(rangeOf(range));
      expect([level, lookUp(tlb, 1, 0x1000n) < 0]).toEqual([level, ends]);
    }
  });

  test('do not outlive their command', () => {
    const tlb = tlbOf([7]);
    const invalidation = new TlbInvalidation(tlb);
    const range = { first: 0n, last: 0xffffn };
    invalidation.invalidateRange(rangeOf({ asid: 8, ...range, granuleLog2: 12, level: 2 }));
    fill(tlb, 1, leafOf(0x1000n));
    invalidation.invalidateRange(rangeOf({ asid: 8, ...range, granuleLog2: 12, level: 2 }));
    expect(lookUp(tlb, 1, 0x1000n)).toBeGreaterThanOrEqual(0);
    invalidation.invalidateRange(rangeOf({ asid: 7, ...range, granuleLog2: 0, level: 0 }));
    expect(lookUp(tlb, 1, 0x1000n)).toBe(-1);
  });
});
