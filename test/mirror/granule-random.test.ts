import fc from 'fast-check';
import { describe, test } from 'vitest';
import { GUEST, holds, sinks, stream } from './random-worlds.js';

describe('tables with granules of 16 KiB and 64 KiB', () => {
  test('are followed', () => {
    const of = sinks({ unmaps: 'any' }, { unmaps: 'areas' }, { unmaps: 'any', pageSize: 65_536 });
    const streams = fc.tuple(stream(['invalidate', 'tracked', 'demand'], of));
    holds({ streams, steps: { ...GUEST, miss: 6 }, granules: [14, 16] }, 800);
  });
});
