import fc from 'fast-check';
import { describe, test } from 'vitest';
import { GUEST, holds, sinks, stream } from './random-worlds.js';

describe('a sink that refuses operations', () => {
  test('is known as it is, and brought in step later', () => {
    const of = sinks(
      { unmaps: 'any' },
      { unmaps: 'areas' },
      { unmaps: 'area' },
      { unmaps: 'areas', pageSize: 16_384, hasMemory: true },
    );
    const one = stream(['invalidate', 'tracked', 'demand'], of);
    const steps = { ...GUEST, miss: 5, fail: 12, recover: 4, detach: 1 };
    holds({ streams: fc.tuple(one), steps }, 1300);
  });
});
