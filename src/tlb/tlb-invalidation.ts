import { contiguousEntries, levelShift } from '../arch/granule.js';
import {
  Entry,
  ENTRY_LOG2,
  isNonGlobal,
  lowMaskOf,
  MIN_SPAN_LOG2,
  smallestSpanLog2,
  spanBitOf,
  spanLog2Of,
} from './entry.js';
import { keyOf } from './keys.js';
import type { TlbRange } from './tlb-range.js';
import type { Tlb } from './tlb.js';

/**
 * Context slots that one command looks into. A guest that gives one ASID to more address spaces than
 * that, has global entries in more, or names the pages of all ASIDs, loses more entries than it named.
 */
const MANY_SLOTS = 64;
const ANY_SPAN = -1;

/**
 * Ends cached translations (IHI 0070, section 4.4). By ASID, and all, is one step. By address it visits
 * the pages that are named, or the entries of the address space where these are fewer; an entry ends
 * when any address that it covers is named.
 */
export class TlbInvalidation {
  private readonly tlb: Tlb;
  private onlyGlobal = false;
  /** Spans of entries that the level of the range leaves, as in EntryStore.spans. */
  private spans = ANY_SPAN;
  // The range, with bit 55 in the top byte: tagged addresses name what untagged ones do.
  private firstHigh = 0;
  private firstLow = 0;
  private lastHigh = 0;
  private lastLow = 0;
  /** Larger than a half of an address space, or around its end. */
  private isWide = false;

  constructor(tlb: Tlb) {
    this.tlb = tlb;
  }

  invalidateAll(): void {
    this.tlb.renewTicket();
    this.tlb.generations.endAll();
  }

  invalidateAsid(asid: number): void {
    this.tlb.renewTicket();
    this.tlb.generations.endAsid(asid);
  }

  invalidateRange(range: TlbRange): void {
    const { tlb } = this;
    tlb.renewTicket();
    if (tlb.size === 0) return;
    this.take(range);
    if (range.asid < 0) this.endInAll();
    else this.endWithAsid(range.asid);
  }

  private take(range: TlbRange): void {
    this.firstHigh = (range.firstHigh << 8) >> 8;
    this.firstLow = range.firstLow | 0;
    this.lastHigh = (range.lastHigh << 8) >> 8;
    this.lastLow = range.lastLow | 0;
    const spread = (range.lastHigh >>> 0) - (range.firstHigh >>> 0);
    this.isWide = spread >= 0x0080_0000 || ((range.firstHigh ^ range.lastHigh) & 0x0080_0000) !== 0;
    const { granuleLog2, level } = range;
    this.spans = ANY_SPAN;
    if (level === 0) return;
    const leafLog2 = levelShift(granuleLog2, level);
    const runLog2 = leafLog2 + Math.log2(contiguousEntries(granuleLog2, level));
    this.spans = spanBitOf(leafLog2) | spanBitOf(runLog2);
  }

  /** TLBI_NH_VAA: whatever the ASID. */
  private endInAll(): void {
    const { slots, generations } = this.tlb;
    if (slots.count > MANY_SLOTS) {
      generations.endAll();
      return;
    }
    this.onlyGlobal = false;
    for (const list of slots.lists) for (const slot of list) this.endIn(slot);
  }

  /** TLBI_NH_VA: entries of the ASID, and global ones whatever theirs. */
  private endWithAsid(asid: number): void {
    const { slots, store, generations } = this.tlb;
    const named = slots.withAsid(asid);
    this.onlyGlobal = false;
    if (named.length > MANY_SLOTS) {
      generations.endAsid(asid);
      generations.endGlobal();
      return;
    }
    for (const slot of named) this.endIn(slot);
    const { slotsWithGlobals } = store;
    if (slotsWithGlobals.length === 0) return;
    if (slotsWithGlobals.length > MANY_SLOTS) {
      generations.endGlobal();
      return;
    }
    this.onlyGlobal = true;
    for (const slot of slotsWithGlobals) this.endIn(slot);
  }

  private endIn(slot: number): void {
    const { store, generations } = this.tlb;
    const spans = (store.spans[slot] ?? 0) & this.spans;
    if (spans === 0) return;
    const { firstHigh, firstLow, lastHigh, lastLow } = this;
    const isOnePage =
      firstHigh === lastHigh && firstLow >>> MIN_SPAN_LOG2 === lastLow >>> MIN_SPAN_LOG2;
    if (this.isWide) {
      generations.endSlot(slot);
    } else if (isOnePage) {
      this.endAt(slot, spans, firstHigh, firstLow);
    } else if (this.pagesNamed(spans) <= store.countOf(slot)) {
      this.endPages(slot, spans);
    } else {
      store.forEachOf(slot, (at) => {
        this.endIfNamed(at);
      });
    }
  }

  /** Ends the entries of the given spans that cover one address. */
  private endAt(slot: number, spans: number, high: number, low: number): void {
    const { tlb } = this;
    let left = spans;
    const guess = tlb.guess(slot, high, low);
    if (tlb.store.covers(guess, slot, high, low)) {
      left &= ~spanBitOf(spanLog2Of(tlb.store.words, guess));
      if (left !== spans) this.end(guess);
    }
    for (; left !== 0; left &= left - 1) {
      const spanLog2 = smallestSpanLog2(left);
      this.endSpan(slot, spanLog2, high, low);
    }
  }

  private endPages(slot: number, spans: number): void {
    for (let left = spans; left !== 0; left &= left - 1) {
      const spanLog2 = smallestSpanLog2(left);
      const stepLow = spanLog2 < 32 ? 1 << spanLog2 : 0;
      const stepHigh = spanLog2 < 32 ? 0 : 1 << (spanLog2 - 32);
      let high = this.firstHigh & (stepHigh === 0 ? -1 : -stepHigh);
      let low = this.firstLow & lowMaskOf(spanLog2);
      for (let count = this.spansNamed(spanLog2); count > 0; count--) {
        this.endSpan(slot, spanLog2, high, low);
        low = (low + stepLow) | 0;
        high += low === 0 && stepLow !== 0 ? 1 : stepHigh;
      }
    }
  }

  private endSpan(slot: number, spanLog2: number, high: number, low: number): void {
    const { shadow, store } = this.tlb;
    const index = shadow.peek(keyOf(slot, high, low, spanLog2));
    if (index === undefined) return;
    const at = index << ENTRY_LOG2;
    if (store.covers(at, slot, high, low)) this.end(at);
  }

  private end(at: number): void {
    const { store } = this.tlb;
    if (!this.onlyGlobal || !isNonGlobal(store.words, at)) store.kill(at);
  }

  private endIfNamed(at: number): void {
    const { words } = this.tlb.store;
    if ((this.spans & spanBitOf(spanLog2Of(words, at))) === 0) return;
    const high = words[at + Entry.high]!;
    const low = words[at + Entry.low]!;
    const lastHigh = high | words[at + Entry.offsetHigh]!;
    const lastLow = low | ~words[at + Entry.lowMask]!;
    if (isBelow(lastHigh, lastLow, this.firstHigh, this.firstLow)) return;
    if (isBelow(this.lastHigh, this.lastLow, high, low)) return;
    this.end(at);
  }

  /** How many look-ups {@link endPages} would take. */
  private pagesNamed(spans: number): number {
    let pages = 0;
    for (let left = spans; left !== 0; left &= left - 1) {
      pages += this.spansNamed(smallestSpanLog2(left));
    }
    return pages;
  }

  /** Aligned spans of 2^`spanLog2` bytes that the range touches. */
  private spansNamed(spanLog2: number): number {
    const bytes = 2 ** (spanLog2 - MIN_SPAN_LOG2);
    const first = pageOf(this.firstHigh, this.firstLow);
    const last = pageOf(this.lastHigh, this.lastLow);
    return Math.floor(last / bytes) - Math.floor(first / bytes) + 1;
  }
}

/** Number of the 4 KiB page of an address, exact; negative for the upper half. */
function pageOf(high: number, low: number): number {
  return high * 0x10_0000 + (low >>> MIN_SPAN_LOG2);
}

/** Whether one address of a half is below another of the same half. */
function isBelow(high: number, low: number, thanHigh: number, thanLow: number): boolean {
  return high < thanHigh || (high === thanHigh && low >>> 0 < thanLow >>> 0);
}
