import { expect } from 'vitest';
import type { StreamMirror } from '../../src/mirror/stream-mirror.js';
import { areaTexts, joined, type Area } from './area-sink.js';
import type { Rig } from './failure-rigs.js';
import type { Scenario } from './failure-scenarios.js';
import { DEVICE } from './machine.js';
import { contentOf } from './table-content.js';

/** A scenario whose device is mirrored into the sink of a rig. */
export interface Run {
  readonly scenario: Scenario;
  readonly rig: Rig;
  readonly stream: StreamMirror;
}

/** @param fails which operations fail, from the first one on. */
export function runOf(
  scenario: Scenario,
  rig: Rig,
  fails: (index: number) => boolean = () => false,
): Run {
  rig.fail(fails);
  const { machine, policy = 'invalidate' } = scenario;
  const stream = machine.mirror.attach(DEVICE, { sinks: [rig.sink], policy });
  return { scenario, rig, stream };
}

/** Waits until the sink has answered: CMD_SYNC has completed then. */
export async function answered({ scenario, rig }: Run): Promise<void> {
  const { machine } = scenario;
  for (let i = 0; i < 50 && !machine.isDrained; i++) await Promise.resolve();
  await machine.mirror.settled();
  expect(rig.wrongs()).toEqual([]);
  expect(machine.isDrained).toBe(true);
}

/** What the mirror says that is mapped is what is mapped. */
export function expectTruth({ rig, stream }: Run): void {
  const told = [...stream.areas(rig.sink)];
  const held = rig.held();
  const isSame = ({ iova, length, address, permissions }: Area, i: number): boolean => {
    const own = held[i];
    return (
      own?.iova === iova &&
      own.length === length &&
      own.address === address &&
      own.permissions === permissions
    );
  };
  if (told.length === held.length && told.every(isSame)) return;
  expect(areaTexts(told)).toEqual(areaTexts(held));
}

/** What is mapped is what the tables say. */
export function expectContent({ scenario, rig, stream }: Run): void {
  const space = scenario.space();
  const wanted = space === undefined ? [] : contentOf(scenario.machine, space);
  expect(joined(rig.held())).toEqual(areaTexts(wanted));
  expect(stream.isInStep).toBe(true);
  expect(rig.wrongs()).toEqual([]);
}

/** Does the steps without a failure. @returns the number of operations. */
export async function countOperations(run: Run): Promise<number> {
  await answered(run);
  for (const step of run.scenario.steps) {
    step();
    await answered(run);
    expectTruth(run);
    expectContent(run);
  }
  expect(run.scenario.machine.mirror.stats().refusals).toBe(0);
  return run.rig.operations();
}

/**
 * Does the steps while operation number `failing` fails: it is told and counted once, and made good by
 * the next CMD_SYNC.
 */
export async function runWithFailure(scenario: Scenario, rig: Rig, failing: number): Promise<void> {
  const run = runOf(scenario, rig, (index) => index === failing);
  const { machine, steps } = scenario;
  let before = 0;
  for (const step of [() => undefined, ...steps]) {
    step();
    await answered(run);
    expectTruth(run);
    const isNow = before < failing && rig.operations() >= failing;
    before = rig.operations();
    if (!isNow) continue;
    machine.issue();
    await answered(run);
    expectTruth(run);
    expectContent(run);
    before = rig.operations();
  }
  expectContent(run);
  expect(machine.mirror.stats().refusals).toBe(1);
  expect(machine.reports.map(({ problem }) => problem)).toEqual(['refused']);
}
