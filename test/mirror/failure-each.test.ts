import { describe, expect, test } from 'vitest';
import { RIGS } from './failure-rigs.js';
import { countOperations, runOf, runWithFailure } from './failure-runs.js';
import {
  dividedAreas,
  strictDriver,
  switches,
  watchedDriver,
  type ScenarioMaker,
} from './failure-scenarios.js';

const SCENARIOS: readonly (readonly [name: string, make: ScenarioMaker])[] = [
  ['a strict driver', () => strictDriver(12)],
  ['a driver whose writes are seen', watchedDriver],
  ['switches of tables', switches],
  ['divided areas', dividedAreas],
];

describe.each(SCENARIOS)('%s', (_, scenario) => {
  test.each(RIGS)('any one operation that fails is made good: %s', async (__, rig) => {
    const count = await countOperations(runOf(scenario(), rig()));
    expect(count).toBeGreaterThan(10);
    for (let n = 1; n <= count; n++) {
      try {
        await runWithFailure(scenario(), rig(), n);
      } catch (error) {
        throw new Error(`operation ${n} of ${count} fails: ${String(error)}`, { cause: error });
      }
    }
  });
});
