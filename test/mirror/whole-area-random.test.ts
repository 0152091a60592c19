import fc from 'fast-check';
import { describe, test } from 'vitest';
import { GUEST, holds, sinks, stream } from './random-worlds.js';

describe('a sink whose areas are unmapped as a whole', () => {
  test('has what the tables say', () => {
    const policies = ['invalidate', 'tracked', 'demand'] as const;
    const one = stream(policies, sinks({ unmaps: 'areas' }, { unmaps: 'area' }));
    const steps = { ...GUEST, block: 4, unmap: 10, miss: 6 };
    holds({ streams: fc.tuple(one), steps }, 1300);
  });
});
