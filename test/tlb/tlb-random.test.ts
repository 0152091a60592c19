import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { keysOfWorlds, steps, World } from './tlb-world.js';

describe('a TLB under any accesses and invalidations', () => {
  test.each([
    ['that never has to make room', { entries: 2000 }, false],
    ['of 0 entries', { entries: 0 }, false],
    ['of 1 entry', { entries: 1 }, true],
    ['of 2 entries', { entries: 2 }, true],
    ['of 3 entries, 1 a stream', { entries: 3, streamEntries: 1 }, true],
    ['of 9 entries, 6 a stream', { entries: 9, streamEntries: 6 }, true],
  ])('answers only what was kept, and nothing that has ended: %s', (_, options, evicts) => {
    const sums = { hits: 0, misses: 0, races: 0, evictions: 0, shadowHits: 0 };
    fc.assert(
      fc.property(steps, (all) => {
        const world = new World(options);
        for (const step of all) world.perform(step);
        const { tlb, counts } = world;
        sums.hits += counts.hits;
        sums.misses += counts.misses;
        sums.races += counts.races;
        sums.evictions += tlb.evictions;
        sums.shadowHits += tlb.shadowHits;
      }),
      { numRuns: 150 },
    );
    expect(sums.misses).toBeGreaterThan(400);
    expect(sums.races).toBeGreaterThan(25);
    expect(sums.evictions > 0).toBe(evicts);
    if (options.entries > 0) expect(sums.hits).toBeGreaterThan(25);
    else expect(sums.hits).toBe(0);
    if (options.entries > 2) expect(sums.shadowHits).toBeGreaterThan(5);
  });

  test('does so without spans that have the same key', () => {
    const keys = keysOfWorlds();
    expect(new Set(keys).size).toBe(keys.length);
  });
});
