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

/** Chunks that the index has room for at first. */
const INDEXED = 64;

/**
 * Disjoint intervals in ascending order, as they were put in. Finding one takes O(log n), changing one
 * too, up to the move of a chunk of 512 intervals. Bounds are multiples of 4096, and not checked.
 */
export class IntervalList implements Iterable<Interval> {
  // Where `seek` came to; a change makes it meaningless.
  /** Columns of the interval that {@link seek} or {@link next} came to. */
  chunk: IntervalChunk;
  /** Its index in {@link chunk}; the count of the chunk behind the last interval. */
  index = 0;

  protected chunks: IntervalChunk[];
  protected intervals = 0;
  /** Number of {@link chunk}. */
  protected chunkIndex = 0;
  /** First IOVA of each chunk: what a search reads first, all in one place. */
  private firsts = new Float64Array(INDEXED);

  constructor() {
    this.chunk = new IntervalChunk();
    this.chunks = [this.chunk];
  }

  /** Number of intervals. */
  get size(): number {
    return this.intervals;
  }

  /** There is no interval where {@link seek} or {@link next} came to. */
  get isAtEnd(): boolean {
    return this.index === this.chunk.count;
  }

  /** Removes everything. */
  clear(): void {
    this.chunk = new IntervalChunk();
    this.index = 0;
    this.chunkIndex = 0;
    this.chunks = [this.chunk];
    this.intervals = 0;
  }

  /** Goes to the first interval that ends beyond `iova`. */
  seek(iova: number): void {
    // Where it stands, or next to it, is what is mostly asked for.
    const { chunk: here, index: near } = this;
    if (near + 1 < here.count) {
      if (iova === here.iovas[near]) return;
      if (iova === here.iovas[near + 1]) {
        this.index = near + 1;
        return;
      }
    }
    this.locate(iova);
    const { chunk, index } = this;
    if (index < chunk.count && iova === chunk.iovas[index]) return;
    // What starts before may reach over it.
    if (index > 0) {
      if (chunk.iovas[index - 1]! + chunk.lengths[index - 1]! > iova) this.index--;
    } else if (this.chunkIndex > 0) {
      const before = this.chunks[this.chunkIndex - 1]!;
      const last = before.count - 1;
      if (before.iovas[last]! + before.lengths[last]! > iova) {
        this.chunkIndex--;
        this.chunk = before;
        this.index = last;
        return;
      }
    }
    this.settle();
  }

  /** Goes on to the next interval. */
  next(): void {
    this.index++;
    this.settle();
  }

  /** Where the interval starts that comes `count` after the first one that ends beyond `iova`; Infinity without one. */
  startAfter(iova: number, count: number): number {
    if (this.intervals <= count) return Infinity;
    this.seek(iova);
    let left = this.index + count;
    for (let c = this.chunkIndex; c < this.chunks.length; c++) {
      const chunk = this.chunks[c]!;
      if (left < chunk.count) return chunk.iovas[left]!;
      left -= chunk.count;
    }
    return Infinity;
  }

  /**
   * The interval that holds `iova` (any byte, exact), written into `into`.
   * @returns `false`, and leaves `into` alone, when none does.
   */
  find(iova: number, into: Interval): boolean {
    this.seek(iova);
    if (this.isAtEnd || this.chunk.iovas[this.index]! > iova) return false;
    read(this.chunk, this.index, into);
    return true;
  }

  /** All intervals in ascending order. The list must not change meanwhile. */
  *[Symbol.iterator](): Generator<Interval> {
    for (const chunk of this.chunks) {
      for (let i = 0; i < chunk.count; i++) yield intervalOf(chunk, i);
    }
  }

  /** Puts in an interval that overlaps none, if it comes last and there is room. */
  append(iova: number, length: number, address: number, permissions: number): boolean {
    const last = this.chunks[this.chunks.length - 1]!;
    const end = last.count - 1;
    if (end < 0 || last.isFull || iova < last.iovas[end]!) return false;
    last.append(iova, length, address, permissions);
    this.intervals++;
    this.chunk = last;
    this.index = end + 1;
    this.chunkIndex = this.chunks.length - 1;
    return true;
  }

  /** Puts in an interval that overlaps none. */
  put(iova: number, length: number, address: number, permissions: number): void {
    if (this.append(iova, length, address, permissions)) return;
    this.locate(iova);
    let { chunk, index, chunkIndex } = this;
    if (chunk.isFull) {
      // Ascending inserts fill chunks to the brim; others halve them.
      const isLast = index === chunk.count && chunkIndex === this.chunks.length - 1;
      const half = isLast ? index : chunk.count >>> 1;
      const rest = chunk.splitOff(half);
      if (index >= half) {
        chunkIndex++;
        index -= half;
      }
      this.addChunk(this.chunkIndex + 1, rest);
      chunk = this.chunks[chunkIndex]!;
    }
    chunk.insert(index, iova, length, address, permissions);
    if (index === 0) this.firsts[chunkIndex] = iova;
    this.intervals++;
    this.chunk = chunk;
    this.index = index;
    this.chunkIndex = chunkIndex;
  }

  /**
   * Takes out `[from, to)`; an interval that crosses a bound keeps what lies outside.
   * @returns the bytes that were taken out.
   */
  drop(from: number, to: number): number {
    this.splitAt(from);
    this.splitAt(to);
    this.locate(from);
    const first = this.chunkIndex;
    let bytes = 0;
    let emptied = 0;
    let firstEmptied = first;
    let next = first;
    for (let at = this.index; next < this.chunks.length; next++, at = 0) {
      const chunk = this.chunks[next]!;
      const last = chunk.firstFrom(to);
      for (let j = at; j < last; j++) bytes += chunk.lengths[j]!;
      this.intervals -= Math.max(0, last - at);
      const whole = last === chunk.count;
      chunk.delete(at, last);
      if (chunk.count === 0) {
        if (emptied++ === 0) firstEmptied = next;
      } else if (at === 0) {
        this.firsts[next] = chunk.iovas[0]!;
      }
      if (!whole) break;
    }
    if (emptied > 0) this.removeChunks(firstEmptied, emptied);
    // Chunks that were thinned out grow together again, so that memory follows the intervals.
    for (let at = Math.max(0, first - 1); at < first + 2 && at + 1 < this.chunks.length;) {
      if (this.chunks[at]!.absorb(this.chunks[at + 1]!)) this.removeChunks(at + 1, 1);
      else at++;
    }
    return bytes;
  }

  /** Joins interval `i` of chunk `c` with the one after it, if that continues it. */
  protected joinWithNext(c: number, i: number): void {
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
    if (other.count === 0) this.removeChunks(c + 1, 1);
    else if (!inside) this.firsts[c + 1] = other.iovas[0]!;
  }

  /** Goes to the first interval that starts at or after `iova`; possibly behind the last of a chunk. */
  private locate(iova: number): void {
    const { firsts } = this;
    let first = 0;
    let end = this.chunks.length;
    while (end - first > 1) {
      const middle = (first + end) >>> 1;
      if (firsts[middle]! <= iova) first = middle;
      else end = middle;
    }
    this.chunkIndex = first;
    this.chunk = this.chunks[first]!;
    this.index = this.chunk.firstFrom(iova);
  }

  /** From behind the last interval of a chunk to the first of the next. */
  private settle(): void {
    if (this.index < this.chunk.count || this.chunkIndex + 1 >= this.chunks.length) return;
    this.chunkIndex++;
    this.chunk = this.chunks[this.chunkIndex]!;
    this.index = 0;
  }

  /** Makes `iova` a bound, if it lies inside an interval. */
  private splitAt(iova: number): void {
    this.seek(iova);
    if (this.isAtEnd) return;
    const { chunk, index } = this;
    const head = iova - chunk.iovas[index]!;
    if (head <= 0) return;
    const tail = chunk.lengths[index]! - head;
    const address = chunk.addresses[index]! + head;
    chunk.lengths[index] = head;
    this.put(iova, tail, address, chunk.permissions[index]!);
  }

  private addChunk(at: number, chunk: IntervalChunk): void {
    const { length } = this.chunks;
    if (length === this.firsts.length) {
      const larger = new Float64Array(2 * length);
      larger.set(this.firsts);
      this.firsts = larger;
    }
    this.firsts.copyWithin(at + 1, at, length);
    this.firsts[at] = chunk.iovas[0]!;
    this.chunks.splice(at, 0, chunk);
  }

  private removeChunks(at: number, count: number): void {
    this.firsts.copyWithin(at, at + count, this.chunks.length);
    this.chunks.splice(at, count);
    if (this.chunks.length === 0) this.chunks.push(new IntervalChunk());
    // The cursor must not stand in a chunk that is gone.
    this.chunkIndex = 0;
    this.chunk = this.chunks[0]!;
    this.index = 0;
  }
}

function read(chunk: IntervalChunk, i: number, into: Interval): void {
  into.iova = chunk.iovas[i]!;
  into.length = chunk.lengths[i]!;
  into.address = chunk.addresses[i]!;
  into.permissions = chunk.permissions[i]!;
}

/** The interval `i` of a chunk, as an object of its own. */
export function intervalOf(chunk: IntervalChunk, i: number): Interval {
  const interval: Interval = { iova: 0, length: 0, address: 0, permissions: 0 };
  read(chunk, i, interval);
  return interval;
}
