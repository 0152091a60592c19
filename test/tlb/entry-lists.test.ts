import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EntryLists, enlarged } from '../../src/tlb/entry-lists.js';

const LISTS = 4;
const ENTRIES = 12;

interface Step {
  kind: 'add' | 'remove' | 'renew' | 'grow' | 'clear';
  list: number;
  entry: number;
}

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    kind: fc.oneof(
      { weight: 6, arbitrary: fc.constant('add' as const) },
      { weight: 3, arbitrary: fc.constant('remove' as const) },
      { weight: 3, arbitrary: fc.constant('renew' as const) },
      { weight: 1, arbitrary: fc.constant('grow' as const) },
      { weight: 1, arbitrary: fc.constantFrom('clear' as const, 'renew' as const) },
    ),
    list: fc.nat(LISTS - 1),
    entry: fc.nat(ENTRIES - 1),
  }),
  { maxLength: 60, size: 'max' },
);

/** The entries of a list, oldest first. */
function contents(lists: EntryLists, list: number): number[] {
  const found: number[] = [];
  for (let at = lists.oldestOf(list); at >= 0; at = lists.newerThan(at)) {
    found.push(at);
    if (found.length > ENTRIES) throw new Error('the list has no end');
  }
  return found;
}

/** Does one step to arrays, oldest first. Returns the list that an entry is in afterwards, or was. */
function take(model: number[][], { kind, list, entry }: Step): number {
  const holder = model.findIndex((entries) => entries.includes(entry));
  if (kind === 'clear') model.forEach((entries) => entries.splice(0));
  if (kind === 'remove' || kind === 'renew') {
    if (holder >= 0) model[holder]!.splice(model[holder]!.indexOf(entry), 1);
  }
  if (kind === 'renew' && holder >= 0) model[holder]!.push(entry);
  if (kind === 'add' && holder < 0) model[list]!.push(entry);
  return holder;
}

describe('lists of entries', () => {
  test('are arrays, oldest first, after any steps', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const lists = new EntryLists();
        const model: number[][] = Array.from({ length: LISTS }, () => []);
        let capacity = 3;
        lists.grow(capacity);
        for (const step of all) {
          if (step.kind === 'grow') lists.grow((capacity = Math.min(ENTRIES, capacity + 3)));
          if (step.entry >= capacity) continue;
          const holder = take(model, step);
          if (step.kind === 'add' && holder < 0) lists.add(step.list, step.entry);
          if (step.kind === 'remove' && holder >= 0) expect(lists.remove(step.entry)).toBe(holder);
          if (step.kind === 'renew' && holder >= 0) lists.renew(step.entry);
          if (step.kind === 'clear') lists.clear();
          for (const [list, entries] of model.entries()) {
            expect(contents(lists, list)).toEqual(entries);
            expect(lists.counts[list] ?? 0).toBe(entries.length);
            expect(lists.oldestOf(list)).toBe(entries[0] ?? -1);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  test('a list that was never used is empty', () => {
    const lists = new EntryLists();
    lists.grow(2);
    lists.add(3, 1);
    expect([0, 1, 2, 4, 99].map((list) => lists.oldestOf(list))).toEqual([-1, -1, -1, -1, -1]);
    expect(lists.counts).toEqual([0, 0, 0, 1]);
  });
});

describe('enlarged', () => {
  test('keeps what is there and adds zeros', () => {
    const before = Int32Array.of(7, -1);
    const after = enlarged(before, 4);
    expect([...after]).toEqual([7, -1, 0, 0]);
    before[0] = 5;
    expect(after[0]).toBe(7);
  });
});
