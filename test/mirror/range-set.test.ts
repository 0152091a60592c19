import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RangeSet } from '../../src/mirror/range-set.js';

const PAGE = 4096;

function rangesOf(set: RangeSet): [number, number][] {
  return Array.from({ length: set.count }, (_, i) => [set.from(i), set.to(i)]);
}

/** The pages of a set of page numbers, grown as long as the next one is there too. */
function runsOf(pages: ReadonlySet<number>): [number, number][] {
  const runs: [number, number][] = [];
  for (const page of [...pages].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last?.[1] === PAGE * page) last[1] += PAGE;
    else runs.push([PAGE * page, PAGE * (page + 1)]);
  }
  return runs;
}

function fill(pages: Set<number>, first: number, end: number): void {
  for (let page = first; page < end; page++) pages.add(page);
}

type Step =
  | { readonly kind: 'add'; readonly first: number; readonly count: number }
  | { readonly kind: 'shift' }
  | { readonly kind: 'addAll'; readonly others: readonly (readonly [number, number])[] };

function stepsOver(pages: number, longest: number, most: number): fc.Arbitrary<Step[]> {
  const range = fc.tuple(fc.nat(pages - 1), fc.integer({ min: 1, max: longest }));
  return fc.array(
    fc.oneof(
      {
        weight: 8,
        arbitrary: range.map(([first, count]) => ({ kind: 'add' as const, first, count })),
      },
      { weight: 2, arbitrary: fc.constant({ kind: 'shift' as const }) },
      {
        weight: 1,
        arbitrary: fc.array(range, { maxLength: 5 }).map((others) => ({
          kind: 'addAll' as const,
          others,
        })),
      },
    ),
    { maxLength: most },
  );
}

/** Does a step to both. Few enough pages that the set never has too many ranges. */
function take(set: RangeSet, pages: Set<number>, step: Step): void {
  switch (step.kind) {
    case 'add':
      set.add(PAGE * step.first, PAGE * (step.first + step.count));
      fill(pages, step.first, step.first + step.count);
      break;
    case 'shift': {
      const [run] = runsOf(pages);
      if (run === undefined) return;
      set.shift();
      for (let page = run[0] / PAGE; page < run[1] / PAGE; page++) pages.delete(page);
      break;
    }
    case 'addAll': {
      const other = new RangeSet();
      for (const [first, count] of step.others) {
        other.add(PAGE * first, PAGE * (first + count));
        fill(pages, first, first + count);
      }
      set.addAll(other);
      break;
    }
  }
}

describe('a set of ranges', () => {
  test('is the set of its pages, after any steps', () => {
    fc.assert(
      fc.property(stepsOver(64, 6, 40), (steps) => {
        const set = new RangeSet();
        const pages = new Set<number>();
        for (const step of steps) {
          take(set, pages, step);
          expect(rangesOf(set)).toEqual(runsOf(pages));
          expect(set.isEmpty).toBe(pages.size === 0);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('of more than 256 ranges covers what was added, in order, and nothing outside of it', () => {
    fc.assert(
      fc.property(stepsOver(2000, 2, 600), fc.boolean(), (steps, ascending) => {
        const set = new RangeSet();
        const pages = new Set<number>();
        const adds = steps.flatMap((step) => (step.kind === 'add' ? [step] : []));
        if (ascending) adds.sort((a, b) => a.first - b.first);
        for (const step of adds) take(set, pages, step);
        const runs = runsOf(pages);
        const ranges = rangesOf(set);
        expect(ranges.length).toBeLessThanOrEqual(256);
        for (const [i, [from, to]] of ranges.entries()) {
          expect(from).toBeLessThan(to);
          if (i > 0) expect(from).toBeGreaterThan(ranges[i - 1]![1]);
        }
        for (const [from, to] of runs) {
          expect(ranges.some((range) => range[0] <= from && range[1] >= to)).toBe(true);
        }
        expect(ranges[0]?.[0]).toBe(runs[0]?.[0]);
        expect(ranges.at(-1)?.[1]).toBe(runs.at(-1)?.[1]);
      }),
      { numRuns: 40 },
    );
  });

  test.each([
    [
      'touch in front',
      [
        [0x2000, 0x3000],
        [0x1000, 0x2000],
      ],
      [[0x1000, 0x3000]],
    ],
    [
      'touch behind',
      [
        [0x1000, 0x2000],
        [0x2000, 0x3000],
      ],
      [[0x1000, 0x3000]],
    ],
    [
      'fill a gap',
      [
        [0x1000, 0x2000],
        [0x3000, 0x4000],
        [0x2000, 0x3000],
      ],
      [[0x1000, 0x4000]],
    ],
    [
      'lie inside',
      [
        [0x1000, 0x9000],
        [0x2000, 0x3000],
      ],
      [[0x1000, 0x9000]],
    ],
    [
      'swallow all',
      [
        [0x2000, 0x3000],
        [0x5000, 0x6000],
        [0, 2 ** 64],
      ],
      [[0, 2 ** 64]],
    ],
    [
      'stay apart',
      [
        [0x5000, 0x6000],
        [0x1000, 0x2000],
      ],
      [
        [0x1000, 0x2000],
        [0x5000, 0x6000],
      ],
    ],
    [
      'reach up to 2^64',
      [
        [0xffff_ffff_ffff_f000, 2 ** 64],
        [0xffff_ffff_ffff_e000, 0xffff_ffff_ffff_f000],
      ],
      [[0xffff_ffff_ffff_e000, 2 ** 64]],
    ],
  ])('joins ranges that %s', (_, added, expected) => {
    const set = new RangeSet();
    for (const [from, to] of added) set.add(from!, to!);
    expect(rangesOf(set)).toEqual(expected);
  });

  test('keeps 256 ranges apart, and makes one of 257', () => {
    const set = new RangeSet();
    for (let i = 0; i < 256; i++) set.add(0x2000 * i, 0x2000 * i + PAGE);
    expect(set.count).toBe(256);
    set.add(0x2000 * 256, 0x2000 * 256 + PAGE);
    expect(rangesOf(set)).toEqual([[0, 0x20_1000]]);
  });

  test('clear and cover leave nothing, and one range', () => {
    const set = new RangeSet();
    set.add(0x1000, 0x2000);
    set.add(0x5000, 0x6000);
    set.cover(0x3000, 0x4000);
    expect(rangesOf(set)).toEqual([[0x3000, 0x4000]]);
    set.clear();
    expect(set.isEmpty).toBe(true);
  });
});
