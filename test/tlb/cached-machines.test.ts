/**
 * The machines that translations are tested with, behind a cache: STEs, CDs and tables of every kind,
 * shared and broken. When the SMMU itself has changed a table, everything is invalidated.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { Exchange, type GuestMemory } from '../../src/memory/guest-memory.js';
import { featuresOf, implementedFeatures } from '../../src/registers/features.js';
import { ConfigurationCache } from '../../src/transaction/configuration-cache.js';
import { Reason } from '../../src/transaction/reason.js';
import { Outcome, Translation } from '../../src/transaction/translation.js';
import { CachedTransactions } from '../../src/transaction/cached-translate.js';
import { Translator } from '../../src/transaction/translator.js';
import { TlbInvalidation } from '../../src/tlb/tlb-invalidation.js';
import { Tlb } from '../../src/tlb/tlb.js';
import { frameOf } from '../ioas/frame.js';
import type { ReferenceAccess } from '../reference/index.js';
import { randomMachine, type RandomMachine } from '../transaction/random-machine.js';
import { CopiedMemory, firstDifference, libraryMemory } from '../transaction/random-memory.js';
import { nthSeed, Random } from '../transaction/random.js';
import { answerOf } from './tlb-model.js';

// VSMMU_SEED      the seed of the run; a random one without it
// VSMMU_MACHINES  how many machines are compared
const { VSMMU_SEED, VSMMU_MACHINES } = process.env;
const seed = VSMMU_SEED === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(VSMMU_SEED);
const machines = Number(VSMMU_MACHINES ?? 120);
const ACCESSES = 120;

const reached = new Map<string, number>();
function count(name: string, by = 1): void {
  reached.set(name, (reached.get(name) ?? 0) + by);
}

/** The accesses of a machine, again and again, and in every other way. */
function accessesOf(machine: RandomMachine, random: Random): ReferenceAccess[] {
  return Array.from({ length: ACCESSES }, () => {
    const access = random.pick(machine.accesses);
    if (random.chance(0.5)) return access;
    const page = (access.iova & ~0xfffn) | random.bits(12);
    return {
      ...access,
      iova: random.chance(0.2) ? page ^ (random.bits(8) << 56n) : page,
      write: random.chance(0.4),
      instruction: random.chance(0.3),
      privileged: random.chance(0.5),
    };
  });
}

/** Calls `updated` after each update of a descriptor that was done. */
function watched(memory: GuestMemory, updated: () => void): GuestMemory {
  const bound = {
    load: memory.load.bind(memory),
    load64: memory.load64.bind(memory),
    store: memory.store.bind(memory),
    loadBytes: memory.loadBytes.bind(memory),
    storeBytes: memory.storeBytes.bind(memory),
  };
  return {
    ...bound,
    compareExchange: (address, words, at) => {
      const exchange = memory.compareExchange(address, words, at);
      if (exchange === Exchange.swapped) updated();
      return exchange;
    },
  };
}

/** All that an answer or a fault says. */
function describeResult(result: Translation): string {
  const { outcome, event, reason, access, stall, recorded } = result;
  const common = { outcome, event, reason, access, stall, recorded };
  if (event !== 0 || outcome !== Outcome.translated) {
    const { level, class: eventClass, fetchAddress } = result;
    const isFetch = [0x03, 0x09, 0x0b].includes(event);
    // With EPD no walk begins: it has no level.
    const isWalk = event >= 0x0b && reason !== Reason.walksDisabled;
    return JSON.stringify({
      ...common,
      ...(isWalk ? { level, eventClass } : {}),
      ...(isFetch ? { fetchAddress } : {}),
    });
  }
  if (result.bypassed) return JSON.stringify({ ...common, output: result.outputAddress });
  return JSON.stringify({ ...common, ...answerOf(result) });
}

/** The machine of a seed, with a cache of `entries`, and without: what differs, or null. */
function compare(machineSeed: number, entries: number): string | null {
  const machine = randomMachine(machineSeed, 25);
  const accesses = accessesOf(machine, new Random(~machineSeed));
  const frame = frameOf(machine);
  const features = implementedFeatures(featuresOf(frame));
  const { image, memoryKind, readOnly } = machine;

  const updates = { done: 0, seen: 0 };
  const plain = watched(libraryMemory(image, memoryKind, readOnly), () => updates.done++);
  const translator = new Translator(plain, features);
  translator.configure(frame);

  const memory = libraryMemory(image, memoryKind, readOnly);
  const tlb = new Tlb({ entries }, 4096);
  const configurations = new ConfigurationCache(memory, features, tlb, 4096);
  const transactions = new CachedTransactions(memory, features, configurations, tlb);
  const invalidation = new TlbInvalidation(tlb);
  transactions.configure(frame);

  for (const [i, one] of accesses.entries()) {
    const high = Number(one.iova >> 32n);
    const low = Number(one.iova & 0xffff_ffffn);
    const access = (one.write ? 1 : 0) | (one.instruction ? 2 : 0) | (one.privileged ? 4 : 0);
    const [cached, fresh] = [transactions, translator].map((device) => {
      const result = new Translation();
      device.translate(one.streamId, one.substreamId ?? -1, high, low, access, result);
      return describeResult(result);
    });
    if (cached !== fresh) {
      const what = `stream ${one.streamId}, access ${access} of 0x${one.iova.toString(16)}`;
      return `machine 0x${machineSeed.toString(16)}, access ${i}, ${what}:\n${cached}\n${fresh}`;
    }
    if (updates.done === updates.seen) continue;
    updates.seen = updates.done;
    count('updates');
    invalidation.invalidateAll();
    configurations.invalidateStreams(0, 2 ** 32 - 1);
  }
  count(`hits of ${entries}`, tlb.hits[0]! + tlb.shadowHits);
  count(`walks of ${entries}`, transactions.walks);
  count(`walks saved by ${entries}`, translator.walks - transactions.walks);
  return firstDifferenceOf(machine, memory, plain);
}

function firstDifferenceOf(
  machine: RandomMachine,
  memory: GuestMemory,
  plain: GuestMemory,
): string | null {
  const after = new CopiedMemory(machine.image, new Set());
  const words = new Uint32Array(1024);
  for (const [number, page] of after.pages) {
    plain.load(number * 4096, words, 0, 1024);
    page.set(new BigUint64Array(words.buffer));
  }
  const address = firstDifference(memory, after);
  return address === null ? null : `memory differs afterwards, in page 0x${address.toString(16)}`;
}

describe('random machines', () => {
  const sizes = [0, 1, 7, 200];
  const failures = new Map<number, string>();

  beforeAll(() => {
    for (let i = 0; i < machines; i++) {
      for (const entries of sizes) {
        if (failures.has(entries)) continue;
        const failure = compare(nthSeed(seed, i), entries);
        if (failure !== null) failures.set(entries, failure);
      }
    }
  }, 60_000);

  test.each(sizes)('get the same answers from a cache of %d entries', (entries) => {
    expect(failures.get(entries), `VSMMU_SEED=0x${seed.toString(16)}`).toBeUndefined();
  });

  test.each([
    ['updates', 15],
    ['hits of 200', 125],
    ['hits of 7', 100],
    ['hits of 1', 12],
    ['walks saved by 200', 125],
  ])('reached: %s, at least %d times', (name, minimum) => {
    const scaled = Math.floor((minimum * machines) / 120);
    const found = reached.get(name) ?? 0;
    expect(found, `VSMMU_SEED=0x${seed.toString(16)}`).toBeGreaterThanOrEqual(scaled);
  });
});
