/** With caches of any size a vSMMU answers what it answers without any. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { GuestBuilder } from '../../src/fixtures/guest-builder.js';
import { Smmu } from '../../src/smmu.js';
import { Outcome, Translation } from '../../src/transaction/translation.js';
import { Translator } from '../../src/transaction/translator.js';
import { R } from '../smmu/smmu-machine.js';
import { nthSeed, Random } from '../transaction/random.js';
import { randomGuest, type Access } from './random-guest.js';
import { answerOf } from './tlb-model.js';

// VSMMU_SEED    the seed of the run; a random one without it
// VSMMU_GUESTS  how many guests are compared
const { VSMMU_SEED, VSMMU_GUESTS } = process.env;
const seed = VSMMU_SEED === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(VSMMU_SEED);
const guests = Number(VSMMU_GUESTS ?? 40);
const ACCESSES = 250;
const RAM = 0x4000_0000;

const reached = new Map<string, number>();
function count(name: string, by = 1): void {
  reached.set(name, (reached.get(name) ?? 0) + by);
}

/** A vSMMU whose guest has written the registers of the builder. */
function smmuOf(guest: GuestBuilder, entries: number | undefined): Smmu {
  const { memory, features, frame } = guest;
  const smmu = new Smmu({
    memory,
    features,
    ...(entries === undefined ? {} : { cache: { entries } }),
  });
  smmu.writeRegister(R.STRTAB_BASE, 8, BigInt(frame[R.STRTAB_BASE / 4]!));
  smmu.writeRegister(R.STRTAB_BASE_CFG, 4, frame[R.STRTAB_BASE_CFG / 4]!);
  smmu.writeRegister(R.CR2, 4, frame[R.CR2 / 4]!);
  smmu.writeRegister(R.CR0, 4, 1);
  return smmu;
}

/** Everything that holds for an answer: for a fault what its record needs. */
function allOf(result: Translation): Record<string, unknown> {
  const { outcome, event, reason, streamId, substreamId, inputHigh, inputLow, access } = result;
  const common = { outcome, event, reason, streamId, substreamId, inputHigh, inputLow, access };
  if (outcome === Outcome.translated) return { ...common, ...answerOf(result) };
  const { recorded, stall, level, class: eventClass } = result;
  return { ...common, recorded, stall, level, eventClass };
}

function translateOn(
  device: Smmu | Translator,
  { streamId, substreamId, address, access }: Access,
): Translation {
  const result = new Translation();
  const high = Number(address >> 32n);
  const low = Number(address & 0xffff_ffffn);
  device.translate(streamId, substreamId, high, low, access, result);
  return result;
}

function bytesOf(guest: GuestBuilder): Uint8Array {
  const bytes = new Uint8Array(guest.allocate(8, 8) - RAM);
  expect(guest.memory.loadBytes(RAM, bytes, 0, bytes.length)).toBe(true);
  return bytes;
}

interface Expected {
  readonly answers: readonly string[];
  readonly bytes: Uint8Array;
}

/** What the guest of a seed gets without caches. */
function expectedOf(guestSeed: number): Expected {
  const { guest, accesses, tags } = randomGuest(new Random(guestSeed), ACCESSES);
  const translator = new Translator(guest.memory, guest.features);
  translator.configure(guest.frame);
  for (const tag of tags) count(tag);
  const answers = accesses.map((one) => {
    const result = translateOn(translator, one);
    count(result.outcome === Outcome.translated ? 'translated' : 'faults');
    if (result.outcome === Outcome.translated) {
      if ((result.permissions & 64) !== 0) count('reads of clean pages');
      if (one.address >> 56n !== 0n && one.address >> 56n !== 0xffn) count('tagged');
      if (result.access !== one.access) count('overridden');
    }
    return JSON.stringify(allOf(result));
  });
  return { answers, bytes: bytesOf(guest) };
}

/** Compares the guest of a seed; says what is wrong, or null. */
function compare(
  guestSeed: number,
  entries: number | undefined,
  expected: Expected,
): string | null {
  const { guest, accesses } = randomGuest(new Random(guestSeed), ACCESSES);
  const smmu = smmuOf(guest, entries);
  for (const [i, one] of accesses.entries()) {
    const answer = JSON.stringify(allOf(translateOn(smmu, one)));
    if (answer === expected.answers[i]) continue;
    const what = `access ${one.access} of 0x${one.address.toString(16)}, stream ${one.streamId}`;
    return `guest 0x${guestSeed.toString(16)}, ${what}:\n${answer}\n${expected.answers[i]!}`;
  }
  const { cache } = smmu.stats();
  const size = String(entries ?? 'default');
  count(`micro hits of ${size}`, cache.microHits);
  count(`shadow hits of ${size}`, cache.shadowHits);
  count(`evictions of ${size}`, cache.evictions);
  if (Buffer.compare(bytesOf(guest), expected.bytes) === 0) return null;
  return `guest 0x${guestSeed.toString(16)}: memory differs afterwards`;
}

describe('random guests', () => {
  const sizes = [0, 1, 7, undefined];
  const failures = new Map<number | undefined, string>();

  beforeAll(() => {
    for (let i = 0; i < guests; i++) {
      const guestSeed = nthSeed(seed, i);
      const expected = expectedOf(guestSeed);
      for (const entries of sizes) {
        if (failures.has(entries)) continue;
        const failure = compare(guestSeed, entries, expected);
        if (failure !== null) failures.set(entries, failure);
      }
    }
  }, 60_000);

  test.each(sizes)('get the same answers from a cache of %s entries', (entries) => {
    expect(failures.get(entries), `VSMMU_SEED=0x${seed.toString(16)}`).toBeUndefined();
  });

  test.each([
    ['translated', 500],
    ['faults', 250],
    ['micro hits of 0', 0],
    ['micro hits of 7', 75],
    ['shadow hits of default', 5],
    ['micro hits of default', 250],
    ['evictions of 1', 125],
    ['evictions of 7', 50],
    ['run', 6],
    ['spoilt run', 6],
    ['big-endian', 3],
    ['HA', 5],
    ['HD', 2],
    ['reads of clean pages', 2],
    ['tagged', 25],
    ['overridden', 75],
    ['E0PD0', 1],
    ['E0PD1', 1],
    ['PRIVCFG', 5],
    ['INSTCFG', 5],
  ])('reached: %s, at least %d times', (name, minimum) => {
    const found = reached.get(name) ?? 0;
    const scaled = Math.floor((minimum * guests) / 40);
    expect(found, `VSMMU_SEED=0x${seed.toString(16)}`).toBeGreaterThanOrEqual(scaled);
    if (minimum === 0) expect(found).toBe(0);
  });
});
