import { hex } from '../memory/hex.js';
import { IntervalList, intervalOf, type Interval } from './interval-list.js';

export type { Interval } from './interval-list.js';

const PAGE = 4096;
const END = 2 ** 64;

/**
 * What an address space maps: disjoint intervals of IOVAs in ascending order, joined where they
 * continue each other with the same permissions. All bounds are multiples of 4096 bytes and at most
 * 2^64, and so exact as numbers. Looking up takes O(log n); inserting and removing too, up to the
 * move of a chunk of 512 intervals, whatever their number.
 */
export class IntervalMap implements Iterable<Interval> {
  private readonly list = new JoinedList();

  /** Number of intervals. */
  get size(): number {
    return this.list.size;
  }

  /** Removes everything. */
  clear(): void {
    this.list.clear();
  }

  /**
   * Maps `[iova, iova + length)` to `address` and what follows it; what was mapped there before is
   * replaced.
   * @throws RangeError when a value is not a multiple of 4096, the length is 0, or the end lies
   * beyond 2^64.
   */
  insert(iova: number, length: number, address: number, permissions: number): void {
    checkRange(iova, length);
    if (!Number.isInteger(address) || address < 0 || address % PAGE !== 0) {
      throw new RangeError(
        `address is ${hex(address)}: it must be a multiple of 4096, not negative`,
      );
    }
    this.list.drop(iova, iova + length);
    this.list.putJoined(iova, length, address, permissions);
  }

  /**
   * Unmaps `[iova, iova + length)`; a mapping that crosses a bound keeps what lies outside.
   * @returns the number of bytes that were mapped there.
   * @throws RangeError as {@link insert}.
   */
  remove(iova: number, length: number): number {
    checkRange(iova, length);
    return this.list.drop(iova, iova + length);
  }

  /**
   * The interval that holds `iova` (any byte, exact), written into `into`.
   * @returns `false`, and leaves `into` alone, when none does.
   */
  find(iova: number, into: Interval): boolean {
    return this.list.find(iova, into);
  }

  /** The intervals that touch `[iova, iova + length)`, whole, in ascending order. */
  *overlapping(iova: number, length: number): Generator<Interval> {
    checkRange(iova, length);
    const { list } = this;
    let from = iova;
    for (;;) {
      list.seek(from);
      if (list.isAtEnd || list.chunk.iovas[list.index]! >= iova + length) return;
      const found = intervalOf(list.chunk, list.index);
      yield found;
      // Not the next one: others may have moved the cursor meanwhile.
      from = found.iova + found.length;
    }
  }

  /** All intervals in ascending order. The map must not change meanwhile. */
  [Symbol.iterator](): Generator<Interval> {
    return this.list[Symbol.iterator]();
  }
}

/** A list whose neighbours are joined where they continue each other. */
class JoinedList extends IntervalList {
  putJoined(iova: number, length: number, address: number, permissions: number): void {
    this.put(iova, length, address, permissions);
    const { chunkIndex, index } = this;
    this.joinWithNext(chunkIndex, index);
    if (index > 0) this.joinWithNext(chunkIndex, index - 1);
    else if (chunkIndex > 0) {
      this.joinWithNext(chunkIndex - 1, this.chunks[chunkIndex - 1]!.count - 1);
    }
  }
}

function checkRange(iova: number, length: number): void {
  if (!Number.isInteger(iova) || iova < 0 || iova % PAGE !== 0) {
    throw new RangeError(`iova is ${hex(iova)}: it must be a multiple of 4096, not negative`);
  }
  if (!Number.isInteger(length) || length <= 0 || length % PAGE !== 0) {
    throw new RangeError(`length is ${hex(length)}: it must be a multiple of 4096, more than 0`);
  }
  if (iova + length > END) {
    throw new RangeError(`iova ${hex(iova)} with length ${hex(length)} ends beyond 2^64`);
  }
}
