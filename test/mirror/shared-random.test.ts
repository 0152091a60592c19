import fc from 'fast-check';
import { describe, test } from 'vitest';
import { GUEST, holds, sinks, stream } from './random-worlds.js';

const policies = ['invalidate', 'tracked', 'demand'] as const;

describe('two sinks of a stream', () => {
  test('are both in step, each as it can', () => {
    const of = fc.constant([
      { unmaps: 'any' as const },
      { unmaps: 'areas' as const, isReserved: true },
    ]);
    const steps = { ...GUEST, miss: 6, fail: 2, recover: 2 };
    holds({ streams: fc.tuple(stream(policies, of)), steps }, 400);
  });
});

describe('two streams with one CD', () => {
  test('share what is known of their tables, and nothing else', () => {
    const of = sinks({ unmaps: 'any' }, { unmaps: 'areas' });
    const streams = fc.tuple(stream(policies, of), stream(policies, of, 2));
    const steps = { ...GUEST, cd: 4, ste: 4, miss: 5, detach: 4, policy: 3 };
    holds({ streams, steps }, 500);
  });
});
