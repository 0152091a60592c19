import fc from 'fast-check';
import { describe, test } from 'vitest';
import { GUEST, holdsLater, sinks, stream } from './random-worlds.js';

describe('a sink that answers later', () => {
  const one = stream(
    ['invalidate', 'tracked', 'demand'],
    sinks(
      { unmaps: 'any', answers: 'later' },
      { unmaps: 'areas', answers: 'mixed' },
      { unmaps: 'area', answers: 'later' },
      { unmaps: 'any', answers: 'mixed' },
    ),
  );

  test('holds up the CMD_SYNC that waits for it, and nothing else', async () => {
    const steps = { ...GUEST, miss: 5, answer: 20, detach: 1 };
    await holdsLater({ streams: fc.tuple(one), steps, length: 16 }, 500);
  });

  test('may refuse then', async () => {
    const steps = { ...GUEST, answer: 20, fail: 10, recover: 6 };
    await holdsLater({ streams: fc.tuple(one), steps, length: 20 }, 400);
  });
});
