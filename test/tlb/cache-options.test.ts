import { describe, expect, test } from 'vitest';
import type { CacheOptions } from '../../src/tlb/cache-options.js';
import { Tlb } from '../../src/tlb/tlb.js';

describe('options', () => {
  test.each<[CacheOptions, message: string]>([
    [{ entries: -1 }, 'cache.entries is -1'],
    [{ entries: 1.5 }, 'cache.entries is 1.5'],
    [{ entries: NaN }, 'cache.entries is NaN'],
    [{ entries: Infinity }, 'cache.entries is Infinity'],
    [{ entries: 2 ** 22 + 1 }, 'cache.entries is 4194305'],
    [{ entries: '8' as unknown as number }, 'cache.entries is 8'],
    [{ streamEntries: 0 }, 'cache.streamEntries is 0'],
    [{ streamEntries: -1 }, 'cache.streamEntries is -1'],
    [{ streamEntries: 0.5 }, 'cache.streamEntries is 0.5'],
    [{ entries: 4, streamEntries: NaN }, 'cache.streamEntries is NaN'],
    [{ streamEntries: Infinity }, 'cache.streamEntries is Infinity'],
  ])('%o is refused', (options, message) => {
    expect(() => new Tlb(options, 8)).toThrow(RangeError);
    expect(() => new Tlb(options, 8)).toThrow(message);
  });

  test.each<[CacheOptions, limit: number]>([
    [{}, 65_536],
    [{ entries: 0 }, 0],
    [{ entries: 1 }, 1],
    [{ entries: 2 ** 22 }, 2 ** 22],
    [{ entries: 2, streamEntries: 2 ** 40 }, 2],
  ])('%o is a limit of %d', (options, limit) => {
    const tlb = new Tlb(options, 8);
    expect([tlb.limit, tlb.size, tlb.evictions, tlb.shadowHits, tlb.hits[0]]).toEqual([
      ...[limit, 0, 0, 0, 0],
    ]);
  });
});
