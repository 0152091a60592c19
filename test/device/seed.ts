/**
 * The seed of the random tests of this folder: a new one with each run, printed in the names of the
 * tests. VSMMU_DEVICE_SEED repeats a run, VSMMU_DEVICE_ROUNDS makes it longer.
 */
const { VSMMU_DEVICE_SEED, VSMMU_DEVICE_ROUNDS } = process.env;

export const SEED = Number(VSMMU_DEVICE_SEED ?? Date.now() % 0x1_0000_0000) >>> 0;

/** `rounds`, or as many times that as VSMMU_DEVICE_ROUNDS says. */
export function rounds(count: number): number {
  return Math.ceil(count * Number(VSMMU_DEVICE_ROUNDS ?? 1));
}

/** How to repeat what failed, for the message of an `expect`. */
export function where(round: number, step: number): string {
  return `VSMMU_DEVICE_SEED=${SEED}, round ${round}, step ${step}`;
}
