const CAPACITY = 512;

/** A stretch of an {@link IntervalMap}: up to 512 intervals as columns, in ascending order. */
export class IntervalChunk {
  /** Intervals in use. */
  count = 0;
  readonly iovas: Float64Array;
  readonly lengths: Float64Array;
  readonly addresses: Float64Array;
  readonly permissions: Uint8Array;

  constructor() {
    // One buffer: four take three times as long to make.
    const buffer = new ArrayBuffer(25 * CAPACITY);
    this.iovas = new Float64Array(buffer, 0, CAPACITY);
    this.lengths = new Float64Array(buffer, 8 * CAPACITY, CAPACITY);
    this.addresses = new Float64Array(buffer, 16 * CAPACITY, CAPACITY);
    this.permissions = new Uint8Array(buffer, 24 * CAPACITY, CAPACITY);
  }

  /** No interval can be added. */
  get isFull(): boolean {
    return this.count === CAPACITY;
  }

  /** Index of the first interval that starts at or after `iova`, or the count. */
  firstFrom(iova: number): number {
    let first = 0;
    let end = this.count;
    while (first < end) {
      const middle = (first + end) >>> 1;
      if (this.iovas[middle]! < iova) first = middle + 1;
      else end = middle;
    }
    return first;
  }

  /** Puts an interval at index `i`; there must be room. */
  insert(i: number, iova: number, length: number, address: number, permissions: number): void {
    this.move(i, this.count, i + 1);
    this.count++;
    this.iovas[i] = iova;
    this.lengths[i] = length;
    this.addresses[i] = address;
    this.permissions[i] = permissions;
  }

  /** Puts an interval behind the last; there must be room. */
  append(iova: number, length: number, address: number, permissions: number): void {
    const i = this.count++;
    this.iovas[i] = iova;
    this.lengths[i] = length;
    this.addresses[i] = address;
    this.permissions[i] = permissions;
  }

  /** Takes out the intervals `first` to `end`. */
  delete(first: number, end: number): void {
    if (end <= first) return;
    this.move(end, this.count, first);
    this.count -= end - first;
  }

  /** Moves the intervals from `first` on into a new chunk. */
  splitOff(first: number): IntervalChunk {
    const other = new IntervalChunk();
    other.count = this.count - first;
    other.iovas.set(this.iovas.subarray(first, this.count));
    other.lengths.set(this.lengths.subarray(first, this.count));
    other.addresses.set(this.addresses.subarray(first, this.count));
    other.permissions.set(this.permissions.subarray(first, this.count));
    this.count = first;
    return other;
  }

  /** Takes over the intervals of the next chunk, if both together fill half a chunk at most. */
  absorb(next: IntervalChunk): boolean {
    const count = this.count + next.count;
    if (count > CAPACITY / 2) return false;
    this.iovas.set(next.iovas.subarray(0, next.count), this.count);
    this.lengths.set(next.lengths.subarray(0, next.count), this.count);
    this.addresses.set(next.addresses.subarray(0, next.count), this.count);
    this.permissions.set(next.permissions.subarray(0, next.count), this.count);
    this.count = count;
    return true;
  }

  private move(first: number, end: number, to: number): void {
    this.iovas.copyWithin(to, first, end);
    this.lengths.copyWithin(to, first, end);
    this.addresses.copyWithin(to, first, end);
    this.permissions.copyWithin(to, first, end);
  }
}
