import fc from 'fast-check';
import { describe, test } from 'vitest';
import { GUEST, holds, sinks, stream } from './random-worlds.js';

const policies = ['invalidate', 'tracked', 'demand'] as const;

describe('a sink that cannot map everything', () => {
  test('has what it can of what the tables say', () => {
    const of = sinks(
      { unmaps: 'any', isReserved: true },
      { unmaps: 'any', hasMemory: true },
      { unmaps: 'areas', isReserved: true, hasMemory: true },
      { unmaps: 'area', isReserved: true },
    );
    const steps = { ...GUEST, block: 4, miss: 6 };
    holds({ streams: fc.tuple(stream(policies, of)), steps }, 700);
  });

  test('has as many areas as it can, and is served on demand', () => {
    const of = sinks({ areas: 2 }, { areas: 4 }, { unmaps: 'areas', areas: 5 });
    const steps = { ...GUEST, miss: 6, policy: 3 };
    holds({ streams: fc.tuple(stream(policies, of)), steps }, 400);
  });
});

describe('a sink with large pages', () => {
  test('has those that go to memory as a whole', () => {
    const of = sinks(
      { unmaps: 'area', pageSize: 16_384, hasMemory: true },
      { unmaps: 'any', pageSize: 16_384, isReserved: true },
      { unmaps: 'any', pageSize: 65_536 },
      { unmaps: 'areas', pageSize: 65_536, hasMemory: true },
    );
    const steps = { ...GUEST, block: 5, miss: 6 };
    holds({ streams: fc.tuple(stream(policies, of)), steps }, 300);
  });
});
