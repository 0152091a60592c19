import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EntryStore } from '../../src/tlb/entry-store.js';
import { Entry } from '../../src/tlb/entry.js';
import { writeEntry } from './tlb-driver.js';
import { leafOf, leaves, nonGlobalOf, spanLog2Of, type Leaf } from './tlb-model.js';

const ENTRIES = 8;

type Step =
  | { kind: 'enter' | 'take'; entry: number; slot: number; leaf: Leaf }
  | { kind: 'kill' | 'refill'; entry: number }
  | { kind: 'clear' };

const entry = fc.nat(ENTRIES - 1);
const slot = fc.integer({ min: 1, max: 3 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('enter' as const, 'enter' as const, 'take' as const),
      entry,
      slot,
      leaf: leaves,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('kill' as const, 'kill' as const, 'refill' as const),
      entry,
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'clear' as const }) },
);

interface Held {
  entry: number;
  slot: number;
  leaf: Leaf;
  killed: boolean;
}

/** The entries in the order of entering, and those that were killed, last ones last. */
interface Model {
  held: Held[];
  killed: number[];
}

/** Makes an entry, in the place of one that leaves if there is one: nothing is left empty. */
function enter(store: EntryStore, { held }: Model, made: Held): void {
  const at = held.findIndex((other) => other.entry === made.entry);
  if (at >= 0) {
    store.leave(16 * made.entry);
    held.splice(at, 1);
  }
  writeEntry(store.words, 16 * made.entry, made.slot, made.leaf);
  store.enter(16 * made.entry);
  held.push(made);
}

/** The entry that is to be taken: the one that was killed last and has not been filled since. */
function lastKilled({ held, killed }: Model): number {
  for (let last = killed.pop(); last !== undefined; last = killed.pop()) {
    if (held.some((other) => other.entry === last && other.killed)) return last;
  }
  return -1;
}

function perform(store: EntryStore, model: Model, one: Step): void {
  if (one.kind === 'clear') {
    store.clear();
    model.held.splice(0);
    model.killed.splice(0);
  } else if (one.kind === 'take') {
    const index = store.takeDead();
    expect(index).toBe(lastKilled(model));
    if (index >= 0) enter(store, model, { ...one, entry: index, killed: false });
  } else if (one.kind === 'enter') {
    enter(store, model, { ...one, killed: false });
  } else {
    const own = model.held.find((other) => other.entry === one.entry);
    if (own === undefined) return;
    own.killed = one.kind === 'kill';
    if (own.killed) {
      store.kill(16 * one.entry);
      expect(store.words[16 * one.entry + Entry.born]).toBeLessThanOrEqual(0);
      // It is remembered for as many as there is room for entries.
      model.killed = [...model.killed, one.entry].slice(-ENTRIES);
    } else {
      store.words[16 * one.entry + Entry.born] = 2;
    }
  }
}

describe('the store of entries', () => {
  test('knows the entries, spans and globals of each slot, and which were killed', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (all) => {
        const store = new EntryStore();
        store.grow(ENTRIES);
        const model: Model = { held: [], killed: [] };
        for (const one of all) {
          perform(store, model, one);
          const globals = new Set<number>();
          for (let s = 1; s <= 3; s++) {
            const own = model.held.filter((other) => other.slot === s);
            const visited: number[] = [];
            store.forEachOf(s, (at) => visited.push(at / 16));
            expect(visited).toEqual(own.map((other) => other.entry));
            expect(store.countOf(s)).toBe(own.length);
            let spans = 0;
            for (const { leaf } of own) spans |= 1 << (spanLog2Of(leaf) - 12);
            expect(store.spans[s] ?? 0).toBe(spans);
            if (own.some(({ leaf }) => nonGlobalOf(leaf) === 0)) globals.add(s);
          }
          expect([...store.slotsWithGlobals].sort()).toEqual([...globals]);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('gives indexes that were never used, from 0 on, and again after clear', () => {
    const store = new EntryStore();
    expect([store.takeFree(), store.takeFree(), store.takeFree()]).toEqual([0, 1, 2]);
    store.clear();
    expect(store.takeFree()).toBe(0);
  });

  test('keeps what it has when it grows, and only forgets which were killed', () => {
    const [leaf] = fc.sample(leaves, 1) as [Leaf];
    const store = new EntryStore();
    store.grow(2);
    writeEntry(store.words, 16, 3, leaf);
    store.enter(16);
    store.deltas[1] = 77;
    store.kill(16);
    const before = [...store.words];
    store.grow(5);
    expect(store.capacity).toBe(5);
    expect([...store.words]).toEqual([...before, ...Array.from({ length: 48 }, () => 0)]);
    expect([...store.deltas]).toEqual([0, 77, 0, 0, 0]);
    expect([store.countOf(3), store.takeDead()]).toEqual([1, -1]);
    store.kill(16);
    expect([store.takeDead(), store.takeDead()]).toEqual([1, -1]);
  });

  test('an entry that visit kills is not in the way of the next one', () => {
    const store = new EntryStore();
    store.grow(4);
    for (const [i, leaf] of fc.sample(leaves, 4).entries()) {
      writeEntry(store.words, 16 * i, 1, leaf);
      store.enter(16 * i);
    }
    const visited: number[] = [];
    store.forEachOf(1, (at) => {
      visited.push(at);
      store.kill(at);
      store.leave(at);
    });
    expect(visited).toEqual([0, 16, 32, 48]);
    expect(store.countOf(1)).toBe(0);
  });

  test('an entry that has left covers nothing', () => {
    const store = new EntryStore();
    store.grow(1);
    const leaf = leafOf(0x1000n);
    writeEntry(store.words, 0, 1, leaf);
    store.enter(0);
    expect(store.covers(0, 1, 0, 0x1000)).toBe(true);
    store.leave(0);
    expect(store.covers(0, 1, 0, 0x1000)).toBe(false);
  });

  test('an entry can take another answer when its span and its scope are the same', () => {
    fc.assert(
      fc.property(leaves, leaves, (leaf, other) => {
        const store = new EntryStore();
        store.grow(1);
        writeEntry(store.words, 0, 1, leaf);
        const isLike = store.isLike(0, spanLog2Of(other), nonGlobalOf(other));
        const same = spanLog2Of(leaf) === spanLog2Of(other);
        expect(isLike).toBe(same && nonGlobalOf(leaf) === nonGlobalOf(other));
        expect(store.isLike(0, spanLog2Of(leaf), nonGlobalOf(leaf))).toBe(true);
      }),
    );
  });
});
