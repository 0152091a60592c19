import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ContextSlots } from '../../src/tlb/context-slots.js';

/** How many slots of an ASID a new CD is compared with. */
const COMPARED = 16;
const LIMIT = 200;

interface Held {
  slot: number;
  asid: number;
  content: number;
  users: number;
}

/** A CD: content 0 to 9 in its last word. */
function wordsOf(content: number): Uint32Array {
  const words = new Uint32Array(16);
  words[15] = content;
  return words;
}

type Step =
  | { readonly kind: 'take'; readonly asid: number; readonly content: number }
  | { readonly kind: 'release'; readonly pick: number };

/** @param kept takes for each release. */
function stepsOf(contents: number, kept: number): fc.Arbitrary<Step[]> {
  const take = fc.record({
    kind: fc.constant('take' as const),
    asid: fc.constantFrom(0, 1, 1, 1, 1, 0xffff),
    content: fc.nat(contents),
  });
  const release = fc.record({ kind: fc.constant('release' as const), pick: fc.nat(1000) });
  return fc.array(fc.oneof({ weight: kept, arbitrary: take }, { weight: 1, arbitrary: release }), {
    minLength: 10 * kept,
    maxLength: 20 * kept,
  });
}

/** Everything that can be asked, by the library and by the list. */
function compare(slots: ContextSlots, held: readonly Held[], mostUsed: number): void {
  const ascending = (numbers: readonly number[]): number[] => [...numbers].sort((a, b) => a - b);
  const asids = [0, 1, 0xffff, 2];
  const inUse = [...slots.lists].flat();
  expect({
    withAsid: asids.map((asid) => ascending(slots.withAsid(asid))),
    inUse: ascending(inUse),
    count: slots.count,
    asids: held.map(({ slot }) => slots.asidOf(slot)),
    isDense: Math.max(0, ...inUse) <= mostUsed,
  }).toEqual({
    withAsid: asids.map((asid) =>
      ascending(held.filter((one) => one.asid === asid).map(({ slot }) => slot)),
    ),
    inUse: ascending(held.map(({ slot }) => slot)),
    count: held.length,
    asids: held.map(({ asid }) => asid),
    // Slots are used again: none is larger than as many as were in use at a time.
    isDense: true,
  });
}

describe('context slots', () => {
  test.each([
    ['few CDs', 3, 2],
    ['more CDs of an ASID than are compared', 40, 6],
  ])('are shared by equal CDs and by no others: %s', (_, contents, kept) => {
    let most = 0;
    fc.assert(
      fc.property(stepsOf(contents, kept), (all) => {
        const slots = new ContextSlots(LIMIT);
        const held: Held[] = [];
        let mostUsed = 0;
        for (const step of all) {
          if (step.kind === 'release') {
            if (held.length === 0) continue;
            const at = step.pick % held.length;
            const one = held[at]!;
            slots.release(one.slot);
            if (--one.users === 0) held.splice(at, 1);
          } else {
            const { asid, content } = step;
            const ofAsid = held.filter((one) => one.asid === asid);
            const equal = ofAsid.filter((one) => one.content === content);
            const slot = slots.take(wordsOf(content), asid);
            const known = held.find((one) => one.slot === slot);
            if (known === undefined) held.push({ slot, asid, content, users: 1 });
            else {
              expect([known.asid, known.content]).toEqual([asid, content]);
              known.users++;
            }
            // Sharing is a must as long as all are compared.
            if (ofAsid.length <= COMPARED) expect(known !== undefined).toBe(equal.length > 0);
            mostUsed = Math.max(mostUsed, held.length);
            most = Math.max(most, ofAsid.length);
          }
          compare(slots, held, mostUsed);
        }
      }),
      { numRuns: 60 },
    );
    expect(most > COMPARED).toBe(contents > COMPARED);
  });

  test('CDs that differ in one word, whichever, are kept apart', () => {
    const slots = new ContextSlots(LIMIT);
    const first = slots.take(new Uint32Array(16), 5);
    for (let i = 0; i < 15; i++) {
      const words = new Uint32Array(16);
      words[i] = 1 << i;
      const other = slots.take(words, 5);
      expect(other).not.toBe(first);
      slots.release(other);
    }
    expect(slots.take(new Uint32Array(16), 5)).toBe(first);
  });

  test('equal words with another ASID are another context', () => {
    const slots = new ContextSlots(LIMIT);
    expect(slots.take(wordsOf(1), 1)).not.toBe(slots.take(wordsOf(1), 2));
  });

  test('slot 0 and negative ones are never given: they are for nobody', () => {
    const slots = new ContextSlots(2);
    expect([slots.take(wordsOf(1), 1), slots.take(wordsOf(2), 1)]).toEqual([1, 2]);
  });

  test('one more than the limit is an error of the caller', () => {
    const slots = new ContextSlots(2);
    slots.take(wordsOf(1), 1);
    const second = slots.take(wordsOf(2), 1);
    expect(() => slots.take(wordsOf(3), 1)).toThrow('context slot 3 is one too many');
    // An equal one needs no slot; one that is free is enough.
    expect(slots.take(wordsOf(2), 1)).toBe(second);
    slots.release(second);
    slots.release(second);
    expect(slots.take(wordsOf(3), 1)).toBe(second);
  });
});
