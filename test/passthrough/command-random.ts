import fc from 'fast-check';
import { describe, test } from 'vitest';
import { STEPS, type StepName } from './command-steps.js';
import { World } from './command-world.js';

/** How often each step comes: those that are not named do not. */
export type Weights = Partial<Record<StepName, number>>;

export const QUEUE: Weights = {
  tlbi: 8,
  burst: 5,
  all: 2,
  cd: 6,
  cds: 2,
  atc: 3,
  hint: 1,
  sync: 8,
  answer: 14,
  wait: 3,
};

export async function holds(
  smmus: number,
  weights: Weights,
  runs: number,
  length = 60,
): Promise<void> {
  const names = Object.keys(STEPS) as StepName[];
  const step = fc.tuple(
    fc.oneof(
      ...names
        .filter((name) => weights[name] !== undefined)
        .map((name) => ({ arbitrary: fc.constant(name), weight: weights[name]! })),
    ),
    fc.nat(1000),
  );
  const property = fc.asyncProperty(
    fc.array(step, { maxLength: length, size: 'max' }),
    async (steps) => {
      const world = await World.make(smmus);
      for (const [name, n] of steps) await world.step(name, n);
      await world.end();
    },
  );
  await fc.assert(property, { numRuns: runs });
}

/** Worlds with so many SMMUs. */
export function randomTests(...counts: readonly number[]): void {
  describe.each(counts)('%d SMMUs that answer later', (smmus) => {
    test('no invalidation is lost, and CONS waits for each', () => holds(smmus, QUEUE, 40));

    test('nor when they refuse', () => holds(smmus, { ...QUEUE, refuse: 6, acknowledge: 6 }, 40));

    test('nor when the guest turns the command queue off and on', () =>
      holds(smmus, { ...QUEUE, refuse: 3, acknowledge: 4, queue: 5 }, 40));

    test('nor when devices change what they meet, come and go', () =>
      holds(smmus, { ...QUEUE, refuse: 2, acknowledge: 4, ste: 6, enable: 3, retire: 4 }, 40));

    test('nor when all of it happens, and the vSMMU is migrated', () => {
      const rest = {
        refuse: 3,
        acknowledge: 5,
        queue: 3,
        ste: 5,
        enable: 2,
        retire: 3,
        restore: 3,
      };
      return holds(smmus, { ...QUEUE, ...rest, mode: 3 }, 40);
    });
  });
}
