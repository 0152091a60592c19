import { beforeAll, describe, expect, test } from 'vitest';
import { Coverage, MINIMUMS } from './coverage.js';
import { nthSeed } from './random.js';
import { runMachine } from './run-machine.js';

// VSMMU_SEED      the seed of the run; a random one without it
// VSMMU_MACHINE   the seed of one machine: only that one is run
// VSMMU_MACHINES  how many machines are run
// VSMMU_ACCESSES  how many accesses each machine gets
const { VSMMU_SEED, VSMMU_MACHINE, VSMMU_MACHINES, VSMMU_ACCESSES } = process.env;
const accesses = Number(VSMMU_ACCESSES ?? 50);
const machines = Number(VSMMU_MACHINES ?? 4000);

describe.skipIf(VSMMU_MACHINE !== undefined)('the library and the reference', () => {
  const seed = VSMMU_SEED === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(VSMMU_SEED);
  const coverage = new Coverage();
  let failure: string | null = null;

  beforeAll(() => {
    const start = performance.now();
    for (let i = 0; i < machines && failure === null; i++) {
      failure = runMachine(nthSeed(seed, i), accesses, coverage);
    }
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.info(`VSMMU_SEED=0x${seed.toString(16)}, ${seconds} s\n${coverage.report()}`);
  }, 600_000);

  test('agree on every access, and leave the same memory', () => {
    expect(failure).toBeNull();
    expect(coverage.of('accesses')).toBe(machines * accesses);
  });

  test('were compared on at least 100,000 accesses', () => {
    expect(coverage.of('accesses')).toBeGreaterThanOrEqual(100_000);
  });

  test.each(MINIMUMS)('were compared on: %s, at least %d times', (name, minimum) => {
    expect(coverage.of(name), `VSMMU_SEED=0x${seed.toString(16)}`).toBeGreaterThanOrEqual(minimum);
  });
});

describe.runIf(VSMMU_MACHINE !== undefined)('the machine of VSMMU_MACHINE', () => {
  test('is answered by the library as by the reference', () => {
    expect(runMachine(Number(VSMMU_MACHINE), accesses, new Coverage())).toBeNull();
  });
});
