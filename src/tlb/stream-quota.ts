import { EntryLists } from './entry-lists.js';

/**
 * Which entries each stream brought, least recently used first. A stream that has as many as its quota
 * makes room for a new one among its own: what it takes from the others is never more than the quota.
 */
export class StreamQuota {
  private readonly quota: number;
  private readonly lists = new EntryLists();
  /** List by StreamID, while it has entries. */
  private readonly numbers = new Map<number, number>();
  private readonly streams: number[] = [];
  private readonly free: number[] = [];

  /** @param quota entries, 1 or more. */
  constructor(quota: number) {
    this.quota = quota;
  }

  /** Makes room for entries 0 to `capacity`-1. */
  grow(capacity: number): void {
    this.lists.grow(capacity);
  }

  /** Forgets everything. */
  clear(): void {
    this.lists.clear();
    this.numbers.clear();
    this.streams.length = 0;
    this.free.length = 0;
  }

  /** `entry` is one that `streamId` brought now. */
  add(streamId: number, entry: number): void {
    let list = this.numbers.get(streamId);
    if (list === undefined) {
      list = this.free.pop() ?? this.streams.length;
      this.streams[list] = streamId;
      this.numbers.set(streamId, list);
    }
    this.lists.add(list, entry);
  }

  /** `entry` is nobody's any more. */
  remove(entry: number): void {
    const list = this.lists.remove(entry);
    if (this.lists.counts[list] !== 0) return;
    this.numbers.delete(this.streams[list]!);
    this.free.push(list);
  }

  /** `entry` was used. */
  renew(entry: number): void {
    this.lists.renew(entry);
  }

  /** The entry that a stream with a full quota has not used for longest; -1 when it has room. */
  surplus(streamId: number): number {
    const list = this.numbers.get(streamId);
    if (list === undefined || this.lists.counts[list]! < this.quota) return -1;
    return this.lists.oldestOf(list);
  }
}
