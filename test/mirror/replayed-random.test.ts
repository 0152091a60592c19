import { describe, expect, test } from 'vitest';
import { finish } from './mirror-world-device.js';
import type { StreamOptions, WorldOptions } from './mirror-world-options.js';
import { take, type Step } from './mirror-world-steps.js';
import { World } from './mirror-world.js';

const OPTIONS: Omit<WorldOptions, 'streams'> = {
  granuleLog2: 12,
  upper: 'top',
  bigEndian: false,
  httu: 0,
  compares: false,
  oas: 40,
  tellsAtOnce: true,
};

function one(policy: StreamOptions['policy'], ...sinks: StreamOptions['sinks']): StreamOptions {
  return { streamId: 1, policy, sinks };
}

function step(kind: string, a = 0, b = 0, c = 0, d = 0): Step {
  return { kind, a, b, c, d };
}

/** Random sequences that once failed, as short as they became. */
async function replay(
  streams: readonly StreamOptions[],
  steps: readonly Step[],
  more: Partial<WorldOptions> = {},
  prepare: (world: World) => void = () => undefined,
): Promise<void> {
  const world = new World({ ...OPTIONS, ...more, streams });
  prepare(world);
  const answers = async (): Promise<void> => {
    await new Promise((resolve) => setImmediate(resolve));
    world.progress();
    world.check();
  };
  for (const each of steps) {
    take(world, each);
    await answers();
  }
  for (const end = finish(world); end.next().done !== true;) await answers();
  expect(world.isSettled).toBe(true);
}

describe('a sequence that once failed', () => {
  test('sync() finds out what became of an STE that aborted', async () => {
    await replay([one('invalidate', {})], [step('ste', 0, 3)]);
  });

  test('a stream that joins a CD has its tables read again', async () => {
    const other = { ...one('invalidate', {}), streamId: 2 };
    const silent = step('map', 0, 6, 0, 1);
    await replay([one('invalidate', {}), other], [step('detach', 1), silent, step('detach', 1)]);
    const join = step('ste', 1);
    await replay([one('invalidate', {}), other], [step('ste', 1, 3), silent, join]);
    await replay([one('invalidate', {}), other], [silent, step('policy', 0, 1)]);
  });

  test('a clean page on demand stays read-only when it is looked up again', async () => {
    const steps = [step('map', 0, 0, 4), step('miss', 0, 1), step('tlbi', 3)];
    await replay([one('demand', {})], steps, { httu: 2 });
  });

  test('an area lies in one range of memory, whatever was there before', async () => {
    await replay([one('invalidate', { hasMemory: true })], [step('cd', 0, 3)]);
  });

  test('a refusal of what a miss asks for is reported at once', async () => {
    await replay([one('demand', {})], [step('fail'), step('miss', 0, 1)]);
  });

  test('a write is told while the last page that was read was another one', async () => {
    const steps = [step('map', 0, 0, 0, 4), step('map', 0, 67), step('tell')];
    await replay([one('tracked', {})], steps, { tellsAtOnce: false });
  });

  test('a block that several areas of a sink lie in is looked up once', async () => {
    const steps = [step('first', 0, 0, 103), step('miss', 0, 1), step('tlbi', 3)];
    await replay([one('demand', { isReserved: true })], steps);
  });

  test('a TLBI that names a page of a block ends all of it on demand', async () => {
    const steps = [step('block'), step('miss', 0, 1), step('block', 0, 0, 17)];
    await replay([one('demand', {})], steps);
  });

  test('a miss does not unmap a part of a page of the sink', async () => {
    const steps = [step('enable'), step('enable'), step('map', 0, 0, 8), step('miss', 0, 4)];
    await replay([one('demand', { pageSize: 65_536 })], steps, { granuleLog2: 14 });
  });

  test('a sink of a stream that is detached gets nothing when SMMUEN changes', async () => {
    const sink = { answers: 'later' } as const;
    await replay([one('invalidate', sink)], [step('detach'), step('enable')]);
  });

  test('an area that is kept up to the end of what is compared ends it', async () => {
    const refused = [step('map', 0, 4), step('fail', 0, 0, 32), step('map', 0, 4, 8)];
    const restored = [step('block', 0, 0, 0, 2), step('sync')];
    await replay([one('invalidate', { unmaps: 'area' })], [...refused, ...restored]);
  });

  // A space counts as one with global pages only once they are collected for a sink.
  test('global pages are known as such before a sink has them', async () => {
    const sink = { answers: 'later' } as const;
    const steps = [step('map', 89, 140, 202, 26), step('map', 41, 0, 0, 31)];
    await replay([one('invalidate', sink)], steps);
  });

  // What was reported of a sink is not taken back when it answers later.
  test('a refusal is reported again once the one before is over', async () => {
    const failed = step('fail', 0, 0, 16);
    const done = [step('answer'), step('answer'), step('answer')];
    const steps = [...done, failed, step('map', 0, 0, 8), ...done, step('recover'), ...done];
    const again = [failed, step('map', 0, 1, 8), ...done];
    await replay([one('invalidate', { answers: 'later' })], [...steps, ...again]);
  });

  // The retry is not looked at when an area goes for another reason.
  test('what is left of an area is not mapped again where its unmap was refused', async () => {
    const refused = [step('fail', 0, 4), step('map', 2), step('map', 2, 50)];
    await replay([one('tracked', { unmaps: 'area' })], refused, {}, ({ sinks }) => {
      sinks[0]!.isLeftOver = () => false;
    });
  });

  // The sizes of areas know nothing of the pages of a sink.
  test('an area is no smaller than a page of its sink', async () => {
    const steps = [step('map', 1, 120, 16), step('map', 1, 48)];
    await replay([one('invalidate', { unmaps: 'areas', pageSize: 16_384 })], steps);
  });
});
