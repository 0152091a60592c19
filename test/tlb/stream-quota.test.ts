import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StreamQuota } from '../../src/tlb/stream-quota.js';

const STREAMS = [0, 1, 0x10, 0xffff_ffff, 0x8000_0000];
const ENTRIES = 10;

interface Step {
  kind: 'add' | 'remove' | 'renew' | 'clear';
  streamId: number;
  entry: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(
    { weight: 6, arbitrary: fc.constant('add' as const) },
    { weight: 4, arbitrary: fc.constantFrom('remove' as const, 'renew' as const) },
    { weight: 1, arbitrary: fc.constantFrom('clear' as const, 'renew' as const) },
  ),
  streamId: fc.constantFrom(...STREAMS),
  entry: fc.nat(ENTRIES - 1),
});

/** Whose an entry is, and in which order they were used: oldest first. */
interface Owned {
  streamId: number;
  entry: number;
}

function perform(quota: StreamQuota, owned: Owned[], { kind, streamId, entry }: Step): void {
  const at = owned.findIndex((one) => one.entry === entry);
  if (kind === 'clear') {
    quota.clear();
    owned.splice(0);
  } else if (kind === 'add' && at < 0) {
    quota.add(streamId, entry);
    owned.push({ streamId, entry });
  } else if (kind === 'remove' && at >= 0) {
    quota.remove(entry);
    owned.splice(at, 1);
  } else if (kind === 'renew' && at >= 0) {
    quota.renew(entry);
    owned.push(...owned.splice(at, 1));
  }
}

describe('the quota of streams', () => {
  test('a stream gives back what it used longest ago, once it has as much as its quota', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.array(step, { maxLength: 60, size: 'max' }),
        (most, all) => {
          const quota = new StreamQuota(most);
          quota.grow(ENTRIES);
          const owned: Owned[] = [];
          for (const one of all) {
            perform(quota, owned, one);
            for (const streamId of [...STREAMS, 77]) {
              const own = owned.filter((other) => other.streamId === streamId);
              const expected = own.length < most ? -1 : own[0]!.entry;
              expect(quota.surplus(streamId)).toBe(expected);
            }
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test('of one entry is used up by the first', () => {
    const quota = new StreamQuota(1);
    quota.grow(2);
    expect(quota.surplus(9)).toBe(-1);
    quota.add(9, 1);
    expect([quota.surplus(9), quota.surplus(8)]).toEqual([1, -1]);
    quota.remove(1);
    expect(quota.surplus(9)).toBe(-1);
  });

  test('takes no more room for many streams, one after the other, than for those at a time', () => {
    const quota = new StreamQuota(2);
    quota.grow(2);
    quota.add(1, 0);
    for (let streamId = 2; streamId < 1000; streamId++) {
      quota.add(streamId, 1);
      quota.remove(1);
    }
    const { streams, numbers } = quota as unknown as {
      streams: number[];
      numbers: Map<number, number>;
    };
    expect([streams.length, numbers.size]).toEqual([2, 1]);
  });
});
