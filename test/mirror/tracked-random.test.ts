import fc from 'fast-check';
import { describe, test } from 'vitest';
import { GUEST, holds, sinks, stream } from './random-worlds.js';

describe('a stream whose tables are watched', () => {
  const one = stream(['tracked'], sinks({ unmaps: 'any' }, { unmaps: 'areas' }));

  test('has in its sink what the tables say as soon as a write is told', () => {
    holds({ streams: fc.tuple(one), steps: { ...GUEST, tell: 2 } }, 1000);
  });

  test('takes over from other policies, and gives way to them', () => {
    const steps = { ...GUEST, tell: 1, policy: 8, detach: 2 };
    holds({ streams: fc.tuple(one), steps }, 500);
  });

  test('is served on demand while there are more tables than there may be', () => {
    const more = fc.record({ tables: fc.constantFrom(1, 3, 4, 5, 6) });
    const streams = fc.tuple(stream(['tracked', 'invalidate'], sinks({ unmaps: 'any' })));
    holds({ streams, steps: { ...GUEST, link: 8, first: 3, policy: 3 }, more }, 300);
  });
});
