import { EntryLists, enlarged } from './entry-lists.js';
import { Entry, ENTRY_LOG2, isNonGlobal, MIN_SPAN_LOG2, spanLog2Of } from './entry.js';

/** Spans that an entry can have: one bit each in {@link EntryStore.spans}. */
const SPANS = 32;

/**
 * The entries, in typed arrays, with what invalidations need to find them: by context slot a list,
 * which spans occur, and how many are global. An entry is in use between {@link enter} and {@link leave}.
 */
export class EntryStore {
  /** The entries, 16 words each. */
  words = new Int32Array(1 << ENTRY_LOG2);
  /** By entry: what is added to an input address of the lower half, without its tag, to make the output address. */
  deltas = new Float64Array(0);
  /** Entries that there is room for. */
  capacity = 0;
  /** By context slot: bit n is set when it has entries of 2^(12+n) bytes. */
  readonly spans: number[] = [];
  /** Slots that have global entries. */
  readonly slotsWithGlobals: number[] = [];

  private readonly bySlot = new EntryLists();
  /** By slot and span. */
  private readonly spanCounts: number[] = [];
  private readonly globals: number[] = [];
  private taken = 0;
  /** The entries that were killed last, and may have been filled again since: a ring. */
  private dead = new Int32Array(0);
  private deadCount = 0;
  /** Where in the ring the next one goes. */
  private deadNext = 0;

  /** Makes room for `capacity` entries. */
  grow(capacity: number): void {
    this.capacity = capacity;
    this.words = enlarged(this.words, capacity << ENTRY_LOG2);
    const deltas = new Float64Array(capacity);
    deltas.set(this.deltas);
    this.deltas = deltas;
    this.bySlot.grow(capacity);
    // Those in the old ring age like all others.
    this.dead = new Int32Array(capacity);
    this.deadCount = 0;
    this.deadNext = 0;
  }

  /** Forgets everything. */
  clear(): void {
    this.words.fill(0);
    this.spans.fill(0);
    this.spanCounts.fill(0);
    this.globals.fill(0);
    this.slotsWithGlobals.length = 0;
    this.bySlot.clear();
    this.deadCount = 0;
    this.taken = 0;
  }

  /** Whether the entry at `words[at]` is one of `slot` and covers `high:low`. */
  covers(at: number, slot: number, high: number, low: number): boolean {
    const { words } = this;
    return (
      words[at] === slot &&
      (((low ^ words[at + Entry.low]!) & words[at + Entry.lowMask]!) |
        ((high ^ words[at + Entry.high]!) & words[at + Entry.highMask]!)) ===
        0
    );
  }

  /** Whether the entry at `words[at]`, which covers an address, can take another answer for it. */
  isLike(at: number, spanLog2: number, nonGlobal: number): boolean {
    const { words } = this;
    return spanLog2Of(words, at) === spanLog2 && isNonGlobal(words, at) === (nonGlobal === 1);
  }

  /** Entries of `slot`, dead ones included. */
  countOf(slot: number): number {
    return this.bySlot.counts[slot] ?? 0;
  }

  /** Calls `visit` with each entry of `slot`: where it begins in {@link words}. */
  forEachOf(slot: number, visit: (at: number) => void): void {
    let index = this.bySlot.oldestOf(slot);
    while (index >= 0) {
      const next = this.bySlot.newerThan(index);
      visit(index << ENTRY_LOG2);
      index = next;
    }
  }

  /** The index of an entry that was never used; there may be no room for it yet. */
  takeFree(): number {
    return this.taken++;
  }

  /** The entry at `words[at]`, just written, is in use. */
  enter(at: number): void {
    const { words, spans, spanCounts } = this;
    const slot = words[at]!;
    const span = spanLog2Of(words, at) - MIN_SPAN_LOG2;
    while (spans.length <= slot) {
      spans.push(0);
      this.globals.push(0);
      for (let i = 0; i < SPANS; i++) spanCounts.push(0);
    }
    this.bySlot.add(slot, at >> ENTRY_LOG2);
    const count = spanCounts[slot * SPANS + span]! + 1;
    spanCounts[slot * SPANS + span] = count;
    if (count === 1) spans[slot] = spans[slot]! | (1 << span);
    if (isNonGlobal(words, at)) return;
    this.globals[slot] = this.globals[slot]! + 1;
    if (this.globals[slot] === 1) this.slotsWithGlobals.push(slot);
  }

  /** The entry at `words[at]` is not in use any more. */
  leave(at: number): void {
    const { words, spans, spanCounts } = this;
    const slot = words[at]!;
    const span = spanLog2Of(words, at) - MIN_SPAN_LOG2;
    words[at] = 0;
    this.bySlot.remove(at >> ENTRY_LOG2);
    const count = spanCounts[slot * SPANS + span]! - 1;
    spanCounts[slot * SPANS + span] = count;
    if (count === 0) spans[slot] = spans[slot]! & ~(1 << span);
    if (isNonGlobal(words, at)) return;
    this.globals[slot] = this.globals[slot]! - 1;
    if (this.globals[slot] > 0) return;
    this.slotsWithGlobals.splice(this.slotsWithGlobals.indexOf(slot), 1);
  }

  /** Ends the entry at `words[at]`; its place stays its own until somebody needs it. */
  kill(at: number): void {
    this.words[at + Entry.born] = 0;
    this.dead[this.deadNext++] = at >> ENTRY_LOG2;
    if (this.deadNext === this.capacity) this.deadNext = 0;
    if (this.deadCount < this.capacity) this.deadCount++;
  }

  /** The index of an entry that was killed and has not been filled since; -1 when none is known. */
  takeDead(): number {
    while (this.deadCount > 0) {
      this.deadCount--;
      this.deadNext = (this.deadNext === 0 ? this.capacity : this.deadNext) - 1;
      const index = this.dead[this.deadNext]!;
      if (this.words[(index << ENTRY_LOG2) + Entry.born] === 0) return index;
    }
    return -1;
  }
}
