import fc from 'fast-check';
import { describe, test } from 'vitest';
import { GUEST, holds, sinks, stream } from './random-worlds.js';

describe('a stream that is served on demand', () => {
  const steps = { ...GUEST, block: 4, first: 3, miss: 20 };

  test('has in its sink what was missed, until it is named', () => {
    const one = stream(['demand'], sinks({ unmaps: 'any' }, { unmaps: 'areas' }));
    holds({ streams: fc.tuple(one), steps: { ...steps, policy: 1 } }, 1000);
  });

  test('has as many areas as there may be', () => {
    const one = stream(['demand'], sinks({ areas: 1 }, { areas: 3 }, { unmaps: 'area', areas: 2 }));
    holds({ streams: fc.tuple(one), steps }, 500);
  });
});
