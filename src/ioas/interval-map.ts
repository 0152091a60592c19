import { hex } from '../memory/hex.js';
import { IntervalChunk } from './interval-chunk.js';

/** A mapped range: every IOVA in `[iova, iova + length)` goes to the same offset from `address`. */
export interface Interval {
  /** First IOVA, in bytes. */
  iova: number;
  /** Bytes. */
  length: number;
  /** Guest-physical address behind {@link iova}, in bytes. */
  address: number;
  /** {@link Permission} bits. */
  permissions: number;
}

const PAGE = 4096;
const END = 2 ** 64;

/**
 * What an address space maps: disjoint intervals of IOVAs in ascending order, joined where they
 * continue each other with the same permissions. All bounds are multiples of 4096 bytes and at most
 * 2^64, and so exact as numbers. Looking up takes O(log n); inserting and removing too, up to the
 * move of a chunk of 512 intervals, whatever their number.
 */
export class IntervalMap implements Iterable<Interval> {
  private chunks: IntervalChunk[] = [new IntervalChunk()];
  private intervals = 0;

  /** Number of intervals. */
  get size(): number {
    return this.intervals;
  }

  /** Removes everything. */
  clear(): void {
    this.chunks = [new IntervalChunk()];
    this.intervals = 0;
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
    this.drop(iova, iova + length);
    let [c, i] = this.position(iova);
    let chunk = this.chunks[c]!;
    if (chunk.isFull) {
      // Ascending inserts fill chunks to the brim; others halve them.
      const half = i === chunk.count && c === this.chunks.length - 1 ? i : chunk.count >>> 1;
      this.chunks.splice(c + 1, 0, chunk.splitOff(half));
      if (i >= half) {
        c++;
        i -= half;
        chunk = this.chunks[c]!;
      }
    }
    chunk.insert(i, iova, length, address, permissions);
    this.intervals++;
    this.joinWithNext(c, i);
    if (i > 0) this.joinWithNext(c, i - 1);
    else if (c > 0) this.joinWithNext(c - 1, this.chunks[c - 1]!.count - 1);
  }

  /**
   * Unmaps `[iova, iova + length)`; a mapping that crosses a bound keeps what lies outside.
   * @returns the number of bytes that were mapped there.
   * @throws RangeError as {@link insert}.
   */
  remove(iova: number, length: number): number {
    checkRange(iova, length);
    return this.drop(iova, iova + length);
  }

  /**
   * The interval that holds `iova` (any byte, exact), written into `into`.
   * @returns `false`, and leaves `into` alone, when none does.
   */
  find(iova: number, into: Interval): boolean {
    const [c, i] = this.position(iova);
    const chunk = this.chunks[c]!;
    // The position is that of the first start at or after the address: the holder may come before.
    if (i < chunk.count && chunk.iovas[i] === iova) return read(chunk, i, into);
    const before = i > 0 ? chunk : this.chunks[c - 1];
    if (before === undefined) return false;
    const at = i > 0 ? i - 1 : before.count - 1;
    return iova < before.iovas[at]! + before.lengths[at]! && read(before, at, into);
  }

  /** The intervals that touch `[iova, iova + length)`, whole, in ascending order. */
  *overlapping(iova: number, length: number): Generator<Interval> {
    checkRange(iova, length);
    const first: Interval = { iova: 0, length: 0, address: 0, permissions: 0 };
    let from = iova;
    if (this.find(iova, first)) {
      yield first;
      from = first.iova + first.length;
    }
    let [c, i] = this.position(from);
    for (; c < this.chunks.length; c++, i = 0) {
      const chunk = this.chunks[c]!;
      for (; i < chunk.count; i++) {
        if (chunk.iovas[i]! >= iova + length) return;
        yield intervalOf(chunk, i);
      }
    }
  }

  /** All intervals in ascending order. The map must not change meanwhile. */
  *[Symbol.iterator](): Generator<Interval> {
    for (const chunk of this.chunks) {
      for (let i = 0; i < chunk.count; i++) yield intervalOf(chunk, i);
    }
  }

  /** Chunk and index of the first interval that starts at or after `iova`; index may be the count. */
  private position(iova: number): [number, number] {
    let first = 0;
    let end = this.chunks.length;
    while (end - first > 1) {
      const middle = (first + end) >>> 1;
      if (this.chunks[middle]!.iovas[0]! <= iova) first = middle;
      else end = middle;
    }
    return [first, this.chunks[first]!.firstFrom(iova)];
  }

  private drop(from: number, to: number): number {
    this.splitAt(from);
    this.splitAt(to);
    const [c, i] = this.position(from);
    let bytes = 0;
    let emptied = 0;
    let next = c;
    for (let at = i; next < this.chunks.length; next++, at = 0) {
      const chunk = this.chunks[next]!;
      const last = chunk.firstFrom(to);
      for (let j = at; j < last; j++) bytes += chunk.lengths[j]!;
      this.intervals -= Math.max(0, last - at);
      const whole = last === chunk.count;
      chunk.delete(at, last);
      if (chunk.count === 0) emptied++;
      if (!whole) break;
    }
    if (emptied > 0) {
      this.chunks = this.chunks.filter((chunk) => chunk.count > 0);
      if (this.chunks.length === 0) this.chunks.push(new IntervalChunk());
    }
    // Chunks that were thinned out grow together again, so that memory follows the intervals.
    for (let at = Math.max(0, c - 1); at < c + 2 && at + 1 < this.chunks.length;) {
      if (this.chunks[at]!.absorb(this.chunks[at + 1]!)) this.chunks.splice(at + 1, 1);
      else at++;
    }
    return bytes;
  }

  /** Makes `iova` a bound, if it lies inside an interval. */
  private splitAt(iova: number): void {
    const found: Interval = { iova: 0, length: 0, address: 0, permissions: 0 };
    if (!this.find(iova, found) || found.iova === iova) return;
    const [c, i] = this.position(found.iova);
    const chunk = this.chunks[c]!;
    const head = iova - found.iova;
    chunk.lengths[i] = head;
    if (chunk.isFull) this.chunks.splice(c + 1, 0, chunk.splitOff(chunk.count >>> 1));
    const [d, j] = this.position(iova);
    this.chunks[d]!.insert(j, iova, found.length - head, found.address + head, found.permissions);
    this.intervals++;
  }

  /** Joins interval `i` of chunk `c` with the one after it, if that continues it. */
  private joinWithNext(c: number, i: number): void {
    const chunk = this.chunks[c]!;
    const inside = i + 1 < chunk.count;
    const other = inside ? chunk : this.chunks[c + 1];
    if (other === undefined || other.count === 0) return;
    const at = inside ? i + 1 : 0;
    const length = chunk.lengths[i]!;
    const continues =
      other.iovas[at] === chunk.iovas[i]! + length &&
      other.addresses[at] === chunk.addresses[i]! + length &&
      other.permissions[at] === chunk.permissions[i];
    if (!continues) return;
    chunk.lengths[i] = length + other.lengths[at]!;
    other.delete(at, at + 1);
    this.intervals--;
    if (other.count === 0) this.chunks.splice(c + 1, 1);
  }
}

function read(chunk: IntervalChunk, i: number, into: Interval): true {
  into.iova = chunk.iovas[i]!;
  into.length = chunk.lengths[i]!;
  into.address = chunk.addresses[i]!;
  into.permissions = chunk.permissions[i]!;
  return true;
}

function intervalOf(chunk: IntervalChunk, i: number): Interval {
  const interval: Interval = { iova: 0, length: 0, address: 0, permissions: 0 };
  read(chunk, i, interval);
  return interval;
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
