import { describe, expect, test } from 'vitest';
import { Exchange } from '../../src/memory/guest-memory.js';
import { RecordingMemory } from '../../src/memory/recording-memory.js';
import { SparseMemory } from '../../src/memory/sparse-memory.js';

/** One page at 0x1000 that holds 0, 1, 2, … */
function recording(): { memory: RecordingMemory; behind: SparseMemory } {
  const behind = new SparseMemory();
  behind.addPage(0x1000);
  behind.store(
    0x1000,
    Uint32Array.from({ length: 1024 }, (_, i) => i),
    0,
    1024,
  );
  return { memory: new RecordingMemory(behind), behind };
}

/** What was recorded, with plain arrays. */
function fetches(memory: RecordingMemory): [number, number[], boolean][] {
  return memory.fetches.map(({ address, words, update }) => [address, [...words], update]);
}

describe('RecordingMemory', () => {
  test('loads are passed on and remembered in order, with the words they gave', () => {
    const { memory } = recording();
    const into = new Uint32Array(8);
    expect(memory.load(0x1010, into, 3, 2)).toBe(true);
    expect(memory.load64(0, 0x1020, into)).toBe(true);
    expect([...into]).toEqual([8, 9, 0, 4, 5, 0, 0, 0]);
    expect(fetches(memory)).toEqual([
      [0x1010, [4, 5], false],
      [0x1020, [8, 9], false],
    ]);
  });

  test('a load that aborts is remembered without words', () => {
    const { memory } = recording();
    expect(memory.load(0x2000, new Uint32Array(2), 0, 2)).toBe(false);
    expect(memory.load64(0x8, 0x2000, new Uint32Array(2))).toBe(false);
    expect(fetches(memory)).toEqual([
      [0x2000, [], false],
      [0x8_0000_2000, [], false],
    ]);
  });

  test('what is remembered does not change when the scratch is used again', () => {
    const { memory } = recording();
    const into = new Uint32Array(2);
    memory.load(0x1010, into, 0, 2);
    into.fill(0xffff_ffff);
    expect(fetches(memory)).toEqual([[0x1010, [4, 5], false]]);
  });

  test('an update is remembered with the words it was to write', () => {
    const { memory, behind } = recording();
    const words = new Uint32Array([0xff, 2, 3, 7, 3]);
    expect(memory.compareExchange(0x1008, words, 1)).toBe(Exchange.swapped);
    expect(fetches(memory)).toEqual([[0x1008, [7, 3], true]]);
    const now = new Uint32Array(2);
    behind.load(0x1008, now, 0, 2);
    expect([...now]).toEqual([7, 3]);
  });

  test('a store is passed on and not remembered', () => {
    const { memory, behind } = recording();
    expect(memory.store(0x1000, new Uint32Array([9]), 0, 1)).toBe(true);
    expect(memory.store(0x2000, new Uint32Array([9]), 0, 1)).toBe(false);
    const now = new Uint32Array(1);
    behind.load(0x1000, now, 0, 1);
    expect([[...now], memory.fetches.length]).toEqual([[9], 0]);
  });
});
