import fc from 'fast-check';
import { expect, test } from 'vitest';
import { World } from './world-model.js';
import { begin, randomOptions, randomSteps, take } from './world-steps.js';

test('in random worlds nothing stale is used, devices meet what the guest says, and nothing is left', async () => {
  const total = { accesses: 0, errors: 0, refusals: 0, invalidated: 0 };
  await fc.assert(
    fc.asyncProperty(randomOptions, fc.nat(255), randomSteps, async (options, first, steps) => {
      const world = await World.make(options);
      await begin(world, first);
      for (const step of steps) await take(world, step);
      await world.end();
      for (const name of Object.keys(total) as (keyof typeof total)[]) {
        total[name] += world.counts[name];
      }
    }),
    { numRuns: 2000 },
  );
  expect(total.accesses).toBeGreaterThan(20_000);
  expect(total.invalidated).toBeGreaterThan(10_000);
  expect(total.refusals).toBeGreaterThan(400);
  expect(total.errors).toBeGreaterThan(200);
});
