import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Entry } from '../../src/tlb/entry.js';
import { Generations, isAlive } from '../../src/tlb/generations.js';

/** Above every generation. */
const LIMIT = 0x7fff_ffff;
const SLOTS = 4;
const ASIDS = [0, 7, 0xffff];

/** An entry of the model. */
interface Born {
  slot: number;
  asid: number;
  nonGlobal: number;
  /** Ended by no endAll, endAsid, endGlobal or endSlot since it was born, and not killed. */
  alive: boolean;
}

type Step =
  | { kind: 'born'; slot: number; asid: number; nonGlobal: number }
  | { kind: 'all' | 'global' | 'open' | 'closed' }
  | { kind: 'asid'; asid: number }
  | { kind: 'slot'; slot: number }
  | { kind: 'kill'; pick: number };

const slot = fc.integer({ min: 1, max: SLOTS });
const asid = fc.constantFrom(...ASIDS);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('born' as const), slot, asid, nonGlobal: fc.nat(1) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('all' as const, 'global' as const, 'open' as const, 'closed' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('asid' as const), asid }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('slot' as const), slot }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('kill' as const), pick: fc.nat(99) }) },
);

/** Generations with entries of 16 words, and the same as plain flags. */
class Subject {
  readonly generations: Generations;
  readonly words = new Int32Array(16 * 100);
  readonly entries: Born[] = [];
  exhaustions = 0;
  isOpen = false;

  constructor() {
    this.generations = new Generations(SLOTS, () => {
      this.exhaustions++;
      this.words.fill(0);
      this.entries.length = 0;
    });
  }

  perform(one: Step): void {
    const { generations } = this;
    switch (one.kind) {
      case 'born':
        this.bear(one.slot, one.asid, one.nonGlobal);
        break;
      case 'all':
        generations.endAll();
        this.end(() => true);
        break;
      case 'global':
        generations.endGlobal();
        this.end(({ nonGlobal }) => nonGlobal === 0);
        break;
      case 'asid':
        generations.endAsid(one.asid);
        this.end((entry) => entry.nonGlobal === 1 && entry.asid === one.asid);
        break;
      case 'slot':
        generations.endSlot(one.slot);
        this.end((entry) => entry.slot === one.slot);
        break;
      case 'kill': {
        const at = one.pick % Math.max(1, this.entries.length);
        const entry = this.entries[at];
        if (entry === undefined) break;
        // As EntryStore.kill does.
        this.words[16 * at + Entry.born] = 0;
        entry.alive = false;
        break;
      }
      default:
        this.isOpen = one.kind === 'open';
        generations.setOpen(this.isOpen);
    }
  }

  bear(slotNumber: number, asidNumber: number, nonGlobal: number): void {
    const { generations, words, entries } = this;
    const at = 16 * entries.length;
    words[at + Entry.slot] = slotNumber;
    words[at + Entry.born] = generations.now;
    words[at + Entry.floor] = generations.floorOf(asidNumber, nonGlobal);
    entries.push({ slot: slotNumber, asid: asidNumber, nonGlobal, alive: true });
  }

  /** Which entries are alive, as the library says. */
  get found(): boolean[] {
    return this.entries.map((_, i) => isAlive(this.words, 16 * i, this.generations.floors));
  }

  get expected(): boolean[] {
    return this.entries.map(({ alive }) => alive && this.isOpen);
  }

  private end(which: (entry: Born) => boolean): void {
    for (const entry of this.entries) if (which(entry)) entry.alive = false;
  }
}

describe('generations', () => {
  test.each([
    ['from the first on', () => 1],
    ['around the last one', (back: number) => LIMIT - 1 - back],
  ])('an entry lives until something ends it, %s', (_, start) => {
    let exhaustions = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), fc.nat(12), (all, back) => {
        const subject = new Subject();
        subject.generations.prepare();
        subject.generations.now = start(back);
        subject.perform({ kind: 'open' });
        for (const one of all) {
          subject.perform(one);
          expect(subject.found).toEqual(subject.expected);
          expect(subject.generations.now).toBeGreaterThan(0);
          expect(subject.generations.now).toBeLessThan(LIMIT);
        }
        exhaustions += subject.exhaustions;
      }),
      { numRuns: 300 },
    );
    expect(exhaustions > 0).toBe(start(0) > 1);
  });

  test('every invalidation of the last generation removes all, and the next entry lives', () => {
    const last: Step[] = [
      { kind: 'all' },
      { kind: 'global' },
      { kind: 'asid', asid: 7 },
      { kind: 'slot', slot: 1 },
    ];
    for (const one of last) {
      const subject = new Subject();
      subject.generations.prepare();
      subject.perform({ kind: 'open' });
      subject.bear(1, 7, 1);
      subject.generations.endAsid(0);
      subject.generations.now = LIMIT - 1;
      subject.bear(2, 0, 0);
      subject.perform(one);
      expect(subject.exhaustions).toBe(1);
      subject.bear(1, 7, 1);
      subject.bear(2, 0, 1);
      subject.bear(3, 0, 0);
      expect(subject.found).toEqual([true, true, true]);
      subject.perform({ kind: 'asid', asid: 7 });
      expect(subject.found).toEqual([false, true, true]);
    }
  });

  test('stays closed when generations begin anew', () => {
    const subject = new Subject();
    subject.generations.prepare();
    subject.generations.now = LIMIT - 1;
    subject.perform({ kind: 'all' });
    subject.bear(1, 7, 1);
    expect(subject.found[0]).toBe(false);
    subject.perform({ kind: 'open' });
    expect(subject.found[0]).toBe(true);
  });

  test('before the floors are made nothing is alive, and what ended then does not matter later', () => {
    const subject = new Subject();
    subject.perform({ kind: 'open' });
    subject.perform({ kind: 'asid', asid: 7 });
    subject.perform({ kind: 'slot', slot: 1 });
    subject.perform({ kind: 'all' });
    subject.bear(1, 7, 1);
    expect(subject.found).toEqual([false]);
    subject.generations.prepare();
    expect(subject.found).toEqual([true]);
    // Once is enough.
    const { floors } = subject.generations;
    subject.generations.prepare();
    expect(subject.generations.floors).toBe(floors);
  });
});
