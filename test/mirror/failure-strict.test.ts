import { expect, test } from 'vitest';
import { areaRig, kernelRig, type RigMaker } from './failure-rigs.js';
import { countOperations, runOf, runWithFailure } from './failure-runs.js';
import { strictDriver } from './failure-scenarios.js';

const RIGS: readonly RigMaker[] = [
  areaRig({}, 'false'),
  areaRig({ unmaps: 'area' }, 'reject'),
  kernelRig(12, 0, false),
];

test.each(RIGS)(
  '64 pages, mapped and unmapped one by one, while one of 128 operations fails: %s',
  async (_, rig) => {
    const count = await countOperations(runOf(strictDriver(64), rig()));
    expect(count).toBe(128);
    for (let n = 1; n <= count; n++) await runWithFailure(strictDriver(64), rig(), n);
  },
);
