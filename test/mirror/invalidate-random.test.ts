import fc from 'fast-check';
import { describe, test } from 'vitest';
import { GUEST, holds, sinks, stream } from './random-worlds.js';

describe('a stream that follows invalidations', () => {
  const one = stream(['invalidate'], sinks({ unmaps: 'any' }));

  test('has in its sink what the tables say, and never what they did not', () => {
    holds({ streams: fc.tuple(one), steps: GUEST }, 1200);
  });

  test('is brought in step by and by where a command may cause little work', () => {
    const more = fc.record({ work: fc.constantFrom(1, 2, 8, 300) });
    holds({ streams: fc.tuple(one), steps: { ...GUEST, tick: 12, detach: 1 }, more }, 500);
  });

  test('has a SubstreamID, or is served without one', () => {
    const other = one.map((options) => ({ ...options, substreamId: 1 }));
    const steps = { ...GUEST, cd: 5, ste: 3, cfgi: 3 };
    holds({ streams: fc.tuple(one, other), steps }, 300);
  });
});
