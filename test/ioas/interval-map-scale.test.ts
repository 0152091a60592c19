import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { IntervalChunk } from '../../src/ioas/interval-chunk.js';
import { IntervalMap } from '../../src/ioas/interval-map.js';
import { PAGE } from './interval-model.js';

// What a change costs is counted, not timed: searches and moves in chunks, and reads of the list of
// chunks.

const COUNT = 2 ** 17;
/** A page at every second place, so that nothing joins. */
const iovaOf = (i: number): number => 2 * PAGE * i;
/** Bits of `i` in the opposite order: neighbours come at far-off times. */
function scattered(i: number): number {
  let out = 0;
  for (let bit = 1; bit < COUNT; bit *= 2) out = 2 * out + ((i & bit) === 0 ? 0 : 1);
  return out;
}

interface Inside {
  chunks: IntervalChunk[];
}

/** How many chunks the map has. */
function chunksOf(map: IntervalMap): IntervalChunk[] {
  return ((map as unknown as { list: unknown }).list as Inside).chunks;
}

/** Counts reads of the list of chunks while `work` runs. */
function chunkReads(map: IntervalMap, work: () => void): number {
  const inside = (map as unknown as { list: unknown }).list as Inside;
  const own = inside.chunks;
  let reads = 0;
  inside.chunks = new Proxy(own, {
    get(target, key, receiver): unknown {
      if (typeof key === 'string' && /^\d+$/.test(key)) reads++;
      return Reflect.get(target, key, receiver);
    },
  });
  work();
  inside.chunks = own;
  return reads;
}

function fill(map: IntervalMap, count: number): void {
  for (let i = 0; i < count; i++) map.insert(iovaOf(scattered(i)), PAGE, PAGE * i, 3);
}

describe('131,072 scattered intervals', () => {
  const map = new IntervalMap();
  const into = { iova: 0, length: 0, address: 0, permissions: 0 };
  let calls: Record<'search' | 'insert' | 'delete' | 'split', () => number>;

  beforeEach(() => {
    map.clear();
    fill(map, COUNT);
    const search = vi.spyOn(IntervalChunk.prototype, 'firstFrom');
    const insert = vi.spyOn(IntervalChunk.prototype, 'insert');
    const remove = vi.spyOn(IntervalChunk.prototype, 'delete');
    const split = vi.spyOn(IntervalChunk.prototype, 'splitOff');
    calls = {
      search: () => search.mock.calls.length,
      insert: () => insert.mock.calls.length,
      delete: () => remove.mock.calls.length,
      split: () => split.mock.calls.length,
    };
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  test('are all there, in order, in chunks that are half full at least', () => {
    expect(map.size).toBe(COUNT);
    let i = 0;
    let wrong = 0;
    for (const one of map) if (one.iova !== iovaOf(i++) || one.length !== PAGE) wrong++;
    expect([i, wrong]).toEqual([COUNT, 0]);
    const chunks = chunksOf(map);
    expect(chunks.length).toBeLessThanOrEqual(COUNT / 256);
    expect(chunks.reduce((sum, chunk) => sum + chunk.count, 0)).toBe(COUNT);
    expect(chunks.every((chunk) => chunk.count >= 256 && chunk.count <= 512)).toBe(true);
  });

  test('find searches one chunk, and the list of chunks by halves', () => {
    const most = Math.ceil(Math.log2(chunksOf(map).length)) + 3;
    for (let i = 0; i < 1000; i++) {
      const wanted = (i * 7919) % COUNT;
      const before = calls.search();
      const reads = chunkReads(map, () => {
        expect(map.find(iovaOf(wanted) + 100, into)).toBe(true);
      });
      expect(into.address).toBe(PAGE * scattered(wanted));
      expect(calls.search() - before).toBe(1);
      expect(reads).toBeLessThanOrEqual(most);
    }
  });

  test('an insert and a remove of a page cost the same as in a map of a thousand', () => {
    const small = new IntervalMap();
    for (let i = 0; i < 1000; i++) small.insert(iovaOf(i), PAGE, PAGE * i, 3);
    const cost = (one: IntervalMap, at: number): number[] => {
      const before = [calls.search(), calls.insert(), calls.delete()];
      one.insert(at, PAGE, 2 ** 40, 1);
      one.remove(at, PAGE);
      const after = [calls.search(), calls.insert(), calls.delete()];
      return after.map((value, i) => value - before[i]!);
    };
    const expected = cost(small, iovaOf(300) + PAGE);
    expect(Math.max(...expected)).toBeLessThanOrEqual(16);
    for (let i = 0; i < 500; i++) {
      const found = cost(map, iovaOf((i * 7919) % (COUNT - 1)) + PAGE);
      // One more of each where a chunk ends just there.
      found.forEach((value, k) => {
        expect(value).toBeLessThanOrEqual(expected[k]! + 2);
      });
    }
    expect(map.size).toBe(COUNT);
  });

  test('a remove visits the chunks it empties, once, and no others', () => {
    const intervals = 16_384;
    for (let from = 0; from < COUNT; from += intervals) {
      const chunks = chunksOf(map).length;
      const before = calls.search() + calls.delete();
      expect(map.remove(iovaOf(from), 2 * PAGE * intervals)).toBe(PAGE * intervals);
      const emptied = chunks - Math.min(chunks, chunksOf(map).length) + 2;
      expect(calls.search() + calls.delete() - before).toBeLessThanOrEqual(2 * emptied + 8);
      expect(map.size).toBe(COUNT - from - intervals);
    }
    expect(chunksOf(map)).toHaveLength(1);
  });

  test('an ascending insert fills each chunk before it starts the next', () => {
    const ascending = new IntervalMap();
    for (let i = 0; i < 20_480; i++) ascending.insert(iovaOf(i), PAGE, PAGE * i, 3);
    expect(chunksOf(ascending).map((chunk) => chunk.count)).toEqual(
      Array.from({ length: 40 }, () => 512),
    );
  });

  test('closing the gaps joins everything into one interval', () => {
    const joined = new IntervalMap();
    for (let i = 0; i < 4096; i++) joined.insert(iovaOf(i), PAGE, iovaOf(i), 3);
    for (let i = 0; i < 4096; i++) joined.insert(iovaOf(i) + PAGE, PAGE, iovaOf(i) + PAGE, 3);
    expect([...joined]).toEqual([{ iova: 0, length: 2 * PAGE * 4096, address: 0, permissions: 3 }]);
    expect(chunksOf(joined)).toHaveLength(1);
  });
});
