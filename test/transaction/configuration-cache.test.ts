import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigurationCache } from '../../src/transaction/configuration-cache.js';
import { Tlb } from '../../src/tlb/tlb.js';
import { FreshConfigurations } from '../../src/transaction/configuration.js';
import { Translation } from '../../src/transaction/translation.js';
import { SparseMemory } from '../../src/memory/sparse-memory.js';
import { CountingMemory } from '../smmu/counting-memory.js';
import {
  BYPASS_STE,
  CD,
  CD_TABLE,
  edited,
  featuresFrom,
  frameOf,
  STE,
  STREAM_TABLE,
  words32,
} from './machine.js';

const ABORT = -2;
const BYPASS = -1;
/** SSIDSIZE [10:6] of IDR1: 8 bits. */
const IDS = { idr1: 0x0273_0210 };
const features = featuresFrom(IDS, { S2P: 0 });

interface Setup {
  readonly cache: ConfigurationCache;
  readonly fresh: FreshConfigurations;
  readonly memory: CountingMemory;
  put(address: number, ...words: readonly bigint[]): void;
}

/** 2^8 streams at STREAM_TABLE, memory for their CDs, and a cache of `limit` entries. */
function setup(limit: number): Setup {
  const ram = new SparseMemory([{ base: STREAM_TABLE, byteLength: 0x40_0000 }]);
  const memory = new CountingMemory(ram);
  const frame = frameOf(IDS);
  frame[0x80 / 4] = STREAM_TABLE;
  frame[0x88 / 4] = 8;
  const cache = new ConfigurationCache(memory, features, new Tlb({ entries: 0 }, limit), limit);
  const fresh = new FreshConfigurations(ram, features);
  cache.configure(frame);
  fresh.configure(frame);
  const put = (address: number, ...words: readonly bigint[]): void => {
    const from = words32(words);
    ram.store(address, from, 0, from.length);
  };
  return { cache, fresh, memory, put };
}

const steAt = (streamId: number): number => STREAM_TABLE + 64 * streamId;
/** S1CDMax=2: four CDs, of which all streams share the table. */
const FOUR = edited(STE, [0, 63, 59, 2]);

/** The loads that finding a configuration costs. */
function cost({ cache, memory }: Setup, streamId: number, substreamId = -1): number {
  memory.clear();
  expect(cache.find(streamId, substreamId, new Translation())).toBe(0);
  return memory.loads.length;
}

describe('the configuration cache (3.21, 4.3)', () => {
  test('an STE and a CD are fetched once', () => {
    const all = setup(8);
    all.put(steAt(1), ...FOUR);
    all.put(CD_TABLE, ...CD, ...CD);
    expect([cost(all, 1), cost(all, 1), cost(all, 1, 1), cost(all, 1, 1), cost(all, 1)]).toEqual([
      2, 0, 1, 0, 0,
    ]);
    expect([all.cache.steFetches, all.cache.cdFetches]).toEqual([1, 2]);
  });

  test('what is found is that of the stream and CD asked for, in any order', () => {
    const all = setup(8);
    for (const streamId of [1, 2]) {
      all.put(
        steAt(streamId),
        ...edited(FOUR, [0, 55, 6, BigInt(CD_TABLE >>> 6) + BigInt(64 * streamId)]),
      );
      for (let i = 0; i < 4; i++) {
        // ASID [63:48].
        const asid = 16 * streamId + i;
        all.put(CD_TABLE + 0x1000 * streamId + 64 * i, ...edited(CD, [0, 63, 48, asid]));
      }
    }
    for (const [streamId, substreamId, asid] of [
      [1, -1, 16],
      [2, -1, 32],
      [1, 3, 19],
      [1, 1, 17],
      [2, 1, 33],
      [1, 1, 17],
      [1, -1, 16],
      [2, 3, 35],
    ] as const) {
      expect(all.cache.find(streamId, substreamId, new Translation())).toBe(0);
      expect(all.cache.context.asid).toBe(asid);
    }
  });

  test.each<[string, readonly bigint[], expected: number, substreamId: number]>([
    ['Config=0: abort', edited(STE, [0, 3, 1, 0]), ABORT, -1],
    ['Config=100: bypass', BYPASS_STE, BYPASS, -1],
    ['Config=100 with a SubstreamID', BYPASS_STE, 0x08, 1],
    ['S1DSS=1: bypass without SubstreamID', edited(FOUR, [1, 1, 0, 1]), BYPASS, -1],
    ['S1DSS=0: a SubstreamID is needed', edited(FOUR, [1, 1, 0, 0]), 0x06, -1],
    ['S1DSS=2 with SubstreamID 0', FOUR, 0x06, 0],
    ['a SubstreamID out of range', FOUR, 0x08, 4],
    ['a SubstreamID without S1CDMax', STE, 0x08, 1],
  ])('%s, of a cached STE as of a fresh one', (_, ste, expected, substreamId) => {
    const all = setup(8);
    all.put(steAt(1), ...ste);
    for (let i = 0; i < 3; i++) {
      expect(all.cache.find(1, substreamId, new Translation())).toBe(expected);
    }
    expect(all.fresh.find(1, substreamId, new Translation())).toBe(expected);
    expect(all.memory.loads).toEqual([steAt(1)]);
  });

  test('what faults is fetched again each time: nothing illegal is kept', () => {
    const all = setup(8);
    const result = new Translation();
    expect(all.cache.find(1, -1, result)).toBe(0x04); // C_BAD_STE: zeros.
    all.put(steAt(1), ...STE);
    expect(all.cache.find(1, -1, result)).toBe(0x0a); // C_BAD_CD.
    expect(all.cache.find(1, -1, result)).toBe(0x0a);
    all.put(CD_TABLE, ...CD);
    expect(all.cache.find(1, -1, result)).toBe(0);
    expect([all.cache.steFetches, all.cache.cdFetches]).toEqual([2, 3]);
  });

  test('MEV, PRIVCFG and INSTCFG come with the STE', () => {
    const all = setup(8);
    all.put(steAt(1), ...edited(STE, [1, 19, 19, 1]));
    all.put(CD_TABLE, ...CD);
    expect(all.cache.mergesEvents(1)).toBe(false);
    all.cache.find(1, -1, new Translation());
    expect(all.cache.mergesEvents(1)).toBe(true);
    all.cache.invalidateStreams(1, 1);
    expect(all.cache.mergesEvents(1)).toBe(false);
  });
});

describe('its bounds', () => {
  test('the stream that was found first goes first', () => {
    const all = setup(3);
    for (let i = 0; i < 5; i++) all.put(steAt(i), ...STE);
    all.put(CD_TABLE, ...CD);
    for (const streamId of [0, 1, 2, 3]) cost(all, streamId);
    expect([...all.cache.streams.keys()]).toEqual([1, 2, 3]);
    expect(cost(all, 1)).toBe(0);
    expect(cost(all, 0)).toBe(2);
    expect([...all.cache.streams.keys()]).toEqual([2, 3, 0]);
  });

  test('CDs are bounded as well: the stream that was found first loses its own', () => {
    const all = setup(4);
    for (const streamId of [1, 2]) all.put(steAt(streamId), ...FOUR);
    for (let i = 0; i < 4; i++) all.put(CD_TABLE + 64 * i, ...CD);
    for (const substreamId of [-1, 1, 2]) cost(all, 1, substreamId);
    cost(all, 2);
    expect(cost(all, 2, 1)).toBe(1);
    expect([...all.cache.streams.values()].map(({ contexts }) => contexts.size)).toEqual([0, 2]);
    expect(cost(all, 1, 2)).toBe(1);
  });

  const operation = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.tuple(fc.constant('find'), fc.nat(11), fc.integer({ min: -1, max: 4 })),
    },
    { weight: 1, arbitrary: fc.tuple(fc.constant('streams'), fc.nat(11), fc.nat(11)) },
    {
      weight: 2,
      arbitrary: fc.tuple(fc.constant('context'), fc.nat(11), fc.integer({ min: -1, max: 3 })),
    },
    { weight: 2, arbitrary: fc.tuple(fc.constant('store'), fc.nat(11), fc.nat(5)) },
  );
  const STES = [
    STE,
    FOUR,
    BYPASS_STE,
    edited(STE, [0, 0, 0, 0]),
    edited(FOUR, [1, 1, 0, 1]),
    edited(STE, [0, 3, 1, 0]),
  ];

  test('with every change followed by its command, it answers as if it kept nothing', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.array(operation, { maxLength: 80 }),
        (limit, ops) => {
          const all = setup(limit);
          const { cache, fresh } = all;
          for (let i = 0; i < 4; i++) all.put(CD_TABLE + 64 * i, ...edited(CD, [0, 63, 48, i]));
          for (const [kind, streamId, other] of ops as [string, number, number][]) {
            if (kind === 'find') {
              const [own, reference] = [new Translation(), new Translation()];
              const event = cache.find(streamId, other, own);
              expect(event).toBe(fresh.find(streamId, other, reference));
              expect(own.reason).toBe(reference.reason);
              if (event === 0) expect(cache.context).toEqual(fresh.context);
              if (event === 0 || event === BYPASS)
                expect(cache.attributes).toEqual(fresh.attributes);
            } else if (kind === 'streams') {
              cache.invalidateStreams(Math.min(streamId, other), Math.max(streamId, other));
            } else if (kind === 'context') {
              cache.invalidateContext(streamId, other);
            } else {
              all.put(steAt(streamId), ...STES[other]!);
              cache.invalidateStreams(streamId, streamId);
            }
            const sizes = [...cache.streams.values()].map(({ contexts }) => contexts.size);
            expect(cache.streams.size).toBeLessThanOrEqual(limit);
            expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(limit);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
