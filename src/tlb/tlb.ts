import type { AddressHalf } from '../transaction/context.js';
import type { Translation } from '../transaction/translation.js';
import { completeOptions, type CacheOptions } from './cache-options.js';
import { ContextSlots } from './context-slots.js';
import {
  Entry,
  ENTRY_LOG2,
  isAnswer,
  smallestSpanLog2,
  spanBitOf,
  spanLog2Of,
  writeAnswer,
  writeTag,
} from './entry.js';
import { EntryStore } from './entry-store.js';
import { Generations, isAlive } from './generations.js';
import { keyOf, rowOf } from './keys.js';
import { ShadowCache } from './shadow-cache.js';

/**
 * Rows of the micro-TLB: at least as many as entries. Many streams that use the same few pages need
 * more, and 2^16 still fit a processor's second cache.
 */
const MIN_ROWS = 2 ** 16;
const MAX_ROWS = 2 ** 20;

/**
 * Keeps translations until a command invalidates them. Entries lie in typed arrays; the **shadow
 * cache**, an LRU cache by key, owns them, and the **micro-TLB**, a table of rows indexed by page,
 * guesses which entry answers. A guess is compared in full, so rows never need to be invalidated.
 */
export class Tlb {
  /** Where the contexts of entries are numbered. */
  readonly slots: ContextSlots;
  /** The entries. */
  readonly store = new EntryStore();
  /** Which entries are alive. */
  readonly generations: Generations;
  /** Entries that there may be; 0 when nothing is kept. */
  readonly limit: number;
  /** Answered by the micro-TLB; a double in an array, which never costs an allocation. */
  readonly hits = new Float64Array(1);
  /** Answered by the shadow cache after the micro-TLB had none. */
  shadowHits = 0;
  /**
   * Changes with each question to the shadow cache and each invalidation: what a walk found is kept only
   * if it has not changed since.
   */
  ticket = 0;

  private readonly owner: ShadowCache;
  /** By row: where the entry begins in the words of the store. */
  private rows = new Int32Array(1);
  private rowMask = 0;
  // What is read for each access, laid open: the arrays of the store and of the generations.
  private words: Int32Array;
  private floors: Int32Array;
  /** Row of the address that was last missed. */
  private row = 0;
  /** An entry of the address that was last missed, dead or without the permission; -1 for none. */
  private stale = -1;
  /** Spans, as in EntryStore.spans, for which the shadow cache had no entry then. */
  private absent = 0;

  /**
   * @param contexts context slots in use at a time, at most.
   * @throws RangeError when an option is out of range.
   */
  constructor(options: CacheOptions, contexts: number) {
    const { entries, streamEntries } = completeOptions(options);
    this.limit = entries;
    this.owner = new ShadowCache(this.store, entries, streamEntries);
    this.slots = new ContextSlots(contexts);
    this.generations = new Generations(contexts, () => {
      this.owner.clear();
    });
    this.words = this.store.words;
    this.floors = this.generations.floors;
  }

  /** The entries by key; the order is that of their use. */
  get shadow(): ShadowCache['entries'] {
    return this.owner.entries;
  }

  /** Entries that had to go to make room for others. */
  get evictions(): number {
    return this.owner.evictions;
  }

  /** Entries that there are, dead ones that nobody has needed the room of included. */
  get size(): number {
    return this.owner.entries.size;
  }

  /**
   * Asks the micro-TLB. The halves are signed.
   * @param needed the {@link Permission} bit that the access needs.
   * @returns where the entry that answers begins in the words of the store; -1 when there is none.
   */
  probe(slot: number, high: number, low: number, needed: number): number {
    const at = this.rows[rowOf(slot, high, low) & this.rowMask]!;
    const { words } = this;
    // EntryStore.covers, written out: a hit took 20 ns with the call, and 19 without.
    if (
      words[at] === slot &&
      (((low ^ words[at + Entry.low]!) & words[at + Entry.lowMask]!) |
        ((high ^ words[at + Entry.high]!) & words[at + Entry.highMask]!)) ===
        0 &&
      (words[at + Entry.permissions]! & needed) !== 0 &&
      isAlive(words, at, this.floors)
    ) {
      words[at + Entry.used] = 1;
      this.hits[0] = this.hits[0]! + 1;
      return at;
    }
    return -1;
  }

  /** Asks the shadow cache after {@link probe} had no answer; as that. */
  find(slot: number, high: number, low: number, needed: number): number {
    this.renewTicket();
    const { words, spans } = this.store;
    const row = rowOf(slot, high, low) & this.rowMask;
    const guess = this.rows[row]!;
    this.row = row;
    // What a row still points to after an invalidation is what the next walk fills again.
    this.stale = this.store.covers(guess, slot, high, low) ? guess : -1;
    const known = this.stale < 0 ? 0 : spanBitOf(spanLog2Of(words, guess));
    this.absent = 0;
    for (let left = (spans[slot] ?? 0) & ~known; left !== 0; left &= left - 1) {
      const spanLog2 = smallestSpanLog2(left);
      const index = this.shadow.get(keyOf(slot, high, low, spanLog2));
      if (index === undefined) {
        this.absent |= spanBitOf(spanLog2);
        continue;
      }
      const at = index << ENTRY_LOG2;
      if (!this.store.covers(at, slot, high, low)) continue;
      this.stale = at;
      if (!isAlive(words, at, this.floors)) continue;
      if ((words[at + Entry.permissions]! & needed) === 0) continue;
      this.rows[row] = at;
      words[at + Entry.used] = 0;
      this.owner.renew(index);
      this.shadowHits++;
      return at;
    }
    return -1;
  }

  /**
   * Lets the entry that {@link find} was asked for, and that an invalidation has ended, answer again if a
   * walk has found what it says: so it is with most entries after an invalidation of everything.
   * @param ticket {@link ticket} before the walk.
   * @returns where the entry begins in the words of the store; -1 when {@link insert} has to be asked.
   */
  revive(ticket: number, result: Translation): number {
    const { words, generations, stale } = this;
    if (stale < 0 || ticket !== this.ticket) return -1;
    if (spanLog2Of(words, stale) !== result.leafLog2 || !isAnswer(words, stale, result)) return -1;
    if (!generations.isOfContext(words, stale)) return -1;
    words[stale + Entry.born] = generations.now;
    words[stale + Entry.used] = 1;
    this.rows[this.row] = stale;
    return stale;
  }

  /**
   * Keeps what a walk has found for the address that {@link find} was asked for, unless something was
   * invalidated meanwhile: memory may be an accessor that lets the guest go on.
   * @param ticket {@link ticket} before the walk.
   * @param streamId stream that made the access.
   * @param half of the address space that the address lies in.
   * @param spanLog2 log2 of the bytes that `result` holds for: a leaf, or a contiguous run.
   * @returns where the entry begins in the words of the store; -1 when it is not kept.
   */
  insert(
    ticket: number,
    slot: number,
    streamId: number,
    half: AddressHalf,
    high: number,
    low: number,
    spanLog2: number,
    result: Translation,
  ): number {
    if (this.limit === 0 || ticket !== this.ticket) return -1;
    const { stale } = this;
    let at = stale;
    if (stale < 0 || !this.store.isLike(stale, spanLog2, result.nonGlobal)) {
      at = this.placeFor(slot, streamId, half, high, low, spanLog2, result);
    } else {
      writeAnswer(this.words, at, half, spanLog2, result);
      this.words[at + Entry.floor] = this.floorOf(slot, result);
      this.words[at + Entry.used] = 1;
    }
    const input = (high & 0x00ff_ffff) * 0x1_0000_0000 + (low >>> 0);
    this.store.deltas[at >> ENTRY_LOG2] = result.outputAddress - input;
    this.words[at + Entry.born] = this.generations.now;
    // The rows may be others by now.
    this.rows[rowOf(slot, high, low) & this.rowMask] = at;
    return at;
  }

  /** What walks that are under way will find is not to be kept. */
  renewTicket(): void {
    this.ticket = (this.ticket + 1) | 0;
  }

  /** A slot for a CD that is used from now on: see {@link ContextSlots.take}. */
  attach(words: Uint32Array, asid: number): number {
    return this.slots.take(words, asid);
  }

  /** A CD is used no more: what was made from it, and from its equals, ends. */
  detach(slot: number): void {
    this.slots.release(slot);
    this.generations.endSlot(slot);
    this.renewTicket();
  }

  /** The entry that the row of a page points to, as {@link probe}, whatever it is. */
  guess(slot: number, high: number, low: number): number {
    return this.rows[rowOf(slot, high, low) & this.rowMask]!;
  }

  /** Makes an entry, and room for it. */
  private placeFor(
    slot: number,
    streamId: number,
    half: AddressHalf,
    high: number,
    low: number,
    spanLog2: number,
    result: Translation,
  ): number {
    const { store, owner } = this;
    const key = keyOf(slot, high, low, spanLog2);
    const isAbsent = (this.absent & spanBitOf(spanLog2)) !== 0;
    const index = owner.place(key, isAbsent, streamId, this.floors);
    if (this.words !== store.words) this.layOpen();
    const { words } = this;
    const at = index << ENTRY_LOG2;
    words[at] = slot;
    words[at + Entry.key] = key;
    words[at + Entry.used] = 0;
    words[at + Entry.floor] = this.floorOf(slot, result);
    writeTag(words, at, high, low, spanLog2);
    writeAnswer(words, at, half, spanLog2, result);
    store.enter(at);
    return at;
  }

  private floorOf(slot: number, result: Translation): number {
    return this.generations.floorOf(this.slots.asidOf(slot), result.nonGlobal);
  }

  /** The store has grown. */
  private layOpen(): void {
    const { store, generations } = this;
    generations.prepare();
    this.words = store.words;
    this.floors = generations.floors;
    const rows = 2 ** Math.ceil(Math.log2(store.capacity));
    this.rows = new Int32Array(Math.min(MAX_ROWS, Math.max(MIN_ROWS, rows)));
    this.rowMask = this.rows.length - 1;
  }
}
