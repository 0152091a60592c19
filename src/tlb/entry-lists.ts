/**
 * Doubly linked lists of entries, each entry in at most one of them. Numbers of entries and of lists
 * are small and dense; nothing is allocated when an entry moves.
 */
export class EntryLists {
  /** Entries, by list. */
  readonly counts: number[] = [];
  // By list and by entry: a number of an entry plus 1, or 0 for none.
  private readonly newest: number[] = [];
  private readonly oldest: number[] = [];
  private newer = new Int32Array(0);
  private older = new Int32Array(0);
  private lists = new Int32Array(0);

  /** Makes room for entries 0 to `capacity`-1. */
  grow(capacity: number): void {
    this.newer = enlarged(this.newer, capacity);
    this.older = enlarged(this.older, capacity);
    this.lists = enlarged(this.lists, capacity);
  }

  /** Empties everything. */
  clear(): void {
    this.counts.fill(0);
    this.newest.fill(0);
    this.oldest.fill(0);
  }

  /** Adds `entry`, which is in no list, as the newest of `list`. */
  add(list: number, entry: number): void {
    while (this.counts.length <= list) {
      this.counts.push(0);
      this.newest.push(0);
      this.oldest.push(0);
    }
    const before = this.newest[list]!;
    this.lists[entry] = list;
    this.newer[entry] = 0;
    this.older[entry] = before;
    if (before === 0) this.oldest[list] = entry + 1;
    else this.newer[before - 1] = entry + 1;
    this.newest[list] = entry + 1;
    this.counts[list] = this.counts[list]! + 1;
  }

  /** Takes `entry` out of its list, whose number it returns. */
  remove(entry: number): number {
    const list = this.lists[entry]!;
    const newer = this.newer[entry]!;
    const older = this.older[entry]!;
    if (newer === 0) this.newest[list] = older;
    else this.older[newer - 1] = older;
    if (older === 0) this.oldest[list] = newer;
    else this.newer[older - 1] = newer;
    this.counts[list] = this.counts[list]! - 1;
    return list;
  }

  /** Makes `entry` the newest of its list. */
  renew(entry: number): void {
    if (this.newer[entry] !== 0) this.add(this.remove(entry), entry);
  }

  /** The oldest entry of `list`; -1 when it is empty. */
  oldestOf(list: number): number {
    return (this.oldest[list] ?? 0) - 1;
  }

  /** The entry that is next newer than `entry` in its list; -1 for none. */
  newerThan(entry: number): number {
    return this.newer[entry]! - 1;
  }
}

/** A copy of `array` with room for `length` elements. */
export function enlarged(array: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const copy = new Int32Array(length);
  copy.set(array);
  return copy;
}
