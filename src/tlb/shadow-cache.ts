import { LRUCache } from 'lru-cache';
import { Entry, ENTRY_LOG2 } from './entry.js';
import type { EntryStore } from './entry-store.js';
import { isAlive } from './generations.js';
import { StreamQuota } from './stream-quota.js';

const FIRST_CAPACITY = 1024;
/** Entries in use that are passed over, at most, to make room for one. */
const CHANCES = 16;

/**
 * Owns the entries: finds them by key, and makes room for new ones. Of the uses that only the
 * micro-TLB sees it learns from the mark that they leave in the entry.
 */
export class ShadowCache {
  /** Entries by key, the one used last first. A small one until the first is placed. */
  entries = new LRUCache<number, number>({ max: 1 });
  /** Entries that had to go to make room for others. */
  evictions = 0;

  private readonly store: EntryStore;
  private readonly limit: number;
  private readonly quota: StreamQuota;

  /**
   * @param limit entries at most, 1 or more for {@link place} to be called.
   * @param quota entries that one stream may keep when all are in use.
   */
  constructor(store: EntryStore, limit: number, quota: number) {
    this.store = store;
    this.limit = limit;
    this.quota = new StreamQuota(quota);
  }

  /**
   * An index for an entry with `key`, which is nobody's any more and belongs to `streamId` now. The store
   * may have grown after this.
   * @param isAbsent there is known to be no entry with this key.
   * @param floors of the generations.
   */
  place(key: number, isAbsent: boolean, streamId: number, floors: Int32Array): number {
    // An entry with the same key may be of the same span with another tag, or of any other.
    let index = isAbsent ? undefined : this.entries.get(key);
    if (index !== undefined) {
      this.leave(index);
    } else {
      index = this.entries.size < this.limit ? this.fresh() : this.vacate(streamId, floors);
      this.entries.set(key, index);
    }
    this.quota.add(streamId, index);
    return index;
  }

  /** The entry was used: it was found in {@link entries}. */
  renew(index: number): void {
    this.quota.renew(index);
  }

  /** Forgets everything. */
  clear(): void {
    this.entries.clear();
    this.store.clear();
    this.quota.clear();
  }

  private fresh(): number {
    const { store } = this;
    const index = store.takeFree();
    if (index < store.capacity) return index;
    // Not before: a vSMMU that translates nothing needs no memory for it.
    if (store.capacity === 0) this.entries = new LRUCache({ max: this.limit });
    const capacity = Math.min(this.limit, Math.max(FIRST_CAPACITY, 2 * store.capacity));
    store.grow(capacity);
    this.quota.grow(capacity);
    return index;
  }

  /** Takes an entry away: a dead one, one of a stream with a full quota, or the least recently used. */
  private vacate(streamId: number, floors: Int32Array): number {
    const index = this.store.takeDead();
    if (index >= 0) {
      this.entries.delete(this.keyOf(index));
      this.leave(index);
      return index;
    }
    this.evictions++;
    const victim =
      this.quota.surplus(streamId) >= 0 ? this.takeOwn(streamId, floors) : this.takeOldest(floors);
    this.leave(victim);
    return victim;
  }

  private takeOwn(streamId: number, floors: Int32Array): number {
    let index = this.quota.surplus(streamId);
    for (let i = 0; i < CHANCES && this.isInUse(index, floors); i++) {
      this.pass(index);
      this.entries.get(this.keyOf(index));
      index = this.quota.surplus(streamId);
    }
    this.entries.delete(this.keyOf(index));
    return index;
  }

  private takeOldest(floors: Int32Array): number {
    let index = this.entries.pop()!;
    for (let i = 0; i < CHANCES && this.isInUse(index, floors); i++) {
      this.pass(index);
      this.entries.set(this.keyOf(index), index);
      index = this.entries.pop()!;
    }
    return index;
  }

  /** The entry counts as used now. */
  private pass(index: number): void {
    this.store.words[(index << ENTRY_LOG2) + Entry.used] = 0;
    this.quota.renew(index);
  }

  private leave(index: number): void {
    this.store.leave(index << ENTRY_LOG2);
    this.quota.remove(index);
  }

  private keyOf(index: number): number {
    return this.store.words[(index << ENTRY_LOG2) + Entry.key]!;
  }

  /** The micro-TLB has answered with the entry since it was last ordered, and could again. */
  private isInUse(index: number, floors: Int32Array): boolean {
    const { words } = this.store;
    const at = index << ENTRY_LOG2;
    return words[at + Entry.used] === 1 && isAlive(words, at, floors);
  }
}
