import { describe, expect, test } from 'vitest';
import { areaRig, kernelRig, RIGS, type RigMaker } from './failure-rigs.js';
import { answered, expectContent, expectTruth, runOf, type Run } from './failure-runs.js';
import {
  dividedAreas,
  strictDriver,
  switches,
  watchedDriver,
  type ScenarioMaker,
} from './failure-scenarios.js';
import { DEVICE } from './machine.js';
import { contentOf } from './table-content.js';

const SCENARIOS: readonly (readonly [name: string, make: ScenarioMaker])[] = [
  ['a strict driver', () => strictDriver(24)],
  ['a driver whose writes are seen', watchedDriver],
  ['switches of tables', switches],
  ['divided areas', dividedAreas],
];

async function runThrough(run: Run): Promise<void> {
  for (const step of run.scenario.steps) {
    step();
    await answered(run);
    expectTruth(run);
  }
}

async function makeGood(run: Run): Promise<void> {
  run.rig.fail(() => false);
  run.scenario.machine.issue();
  await answered(run);
  expectTruth(run);
  expectContent(run);
}

describe.each(SCENARIOS)('%s, while many operations fail', (_, scenario) => {
  test.each(RIGS)('every second or third, and all for a while: %s', async (__, rig) => {
    const failures: ((index: number) => boolean)[] = [
      (index) => index % 2 === 0,
      (index) => index % 2 === 1,
      (index) => index % 3 === 0,
      (index) => index % 3 !== 0,
      (index) => index > 5 && index < 30,
      () => true,
    ];
    for (const fails of failures) {
      const run = runOf(scenario(), rig(), fails);
      await answered(run);
      await runThrough(run);
      await makeGood(run);
    }
  });

  test.each(RIGS)('from some operation on all: %s', async (__, rig) => {
    for (const first of [2, 4, 7, 12]) {
      const run = runOf(scenario(), rig(), (index) => index >= first);
      await answered(run);
      await runThrough(run);
      await makeGood(run);
    }
  });
});

const KINDS: readonly RigMaker[] = [
  areaRig({}, 'false'),
  areaRig({ unmaps: 'areas' }, 'throw'),
  areaRig({ unmaps: 'area' }, 'reject'),
  kernelRig(12, 0, false),
  kernelRig(12, 0, true),
];

describe('a sink that always fails', () => {
  test.each(KINDS)('holds back no CMD_SYNC, and translation stays right: %s', async (_, rig) => {
    const scenario = switches();
    const { machine } = scenario;
    const handle = machine.smmu.attach(DEVICE);
    const run = runOf(scenario, rig(), () => true);
    await answered(run);
    for (const step of scenario.steps) {
      step();
      await answered(run);
      expect(run.rig.held()).toEqual([]);
      const space = scenario.space();
      const content = space === undefined ? [] : contentOf(machine, space);
      for (const { iova, address, length, permissions } of content) {
        expect(handle.translate(iova, 0)).toBe(address);
        expect(handle.translate(iova + length - 1, 0)).toBe(address + length - 1);
        expect(handle.translate(iova, 1)).toBe(permissions === 3 ? address : -1);
      }
      expect(handle.translate(0x1000, 0)).toBe(-1);
      expect(run.stream.isInStep).toBe(content.length === 0);
    }
  });

  test.each(KINDS)('is told of once, and again when it was over: %s', async (_, rig) => {
    const scenario = strictDriver(8);
    const { machine } = scenario;
    const run = runOf(scenario, rig(), () => true);
    await runThrough(run);
    expect(machine.takeReports()).toEqual(['refused map 7f12340000']);
    await makeGood(run);
    expect(machine.takeReports()).toEqual([]);
    run.rig.fail(() => true);
    machine.map(scenario.space()!, 0x7f_1234_0000, 0x8000_0000).issue([0x30n, 0n]);
    await answered(run);
    expect(machine.takeReports()).toEqual(['refused map 7f12340000']);
  });

  test('tells what it threw, and on which stream and sink', () => {
    const { machine } = strictDriver(1);
    const sink = {
      capabilities: {},
      map: () => {
        throw new Error('no room');
      },
      unmap: () => true,
    };
    machine.setSte(DEVICE, 0, [0, 3, 1, 0b100]);
    const stream = machine.attach('invalidate', sink);
    expect(machine.reports).toEqual([
      {
        stream,
        problem: 'refused',
        sink,
        refusal: {
          operation: 'map',
          iova: 0x4000_0000,
          length: 0x1000_0000,
          error: new Error('no room'),
        },
      },
    ]);
  });

  test('is tried again by sync, and by nothing else between two CMD_SYNC', () => {
    const [, make] = areaRig({}, 'false');
    const run = runOf(switches(), make(), () => true);
    const { machine } = run.scenario;
    const count = (): number => run.rig.operations();
    const first = count();
    machine.command([0x12n, 0x1001n]);
    expect(count()).toBe(first);
    expect(run.stream.sync()).toBe(false);
    expect(count()).toBe(first + 1);
    machine.issue();
    expect(count()).toBe(first + 2);
    run.rig.fail(() => false);
    expect(run.stream.sync()).toBe(true);
    expectContent(run);
  });
});
