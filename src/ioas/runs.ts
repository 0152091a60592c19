/** Runs that the first stretch holds; every further one holds twice as many, up to the last size. */
const FIRST = 256;
const LAST = 65_536;

/** Mappings as columns: a stretch of {@link Runs}, or a list by itself. */
export class RunColumns {
  /** Index of its first run in the whole list. */
  readonly first: number;
  /** Runs in use. */
  count = 0;
  /** First IOVA of each run, in bytes. */
  iovas: Float64Array;
  /** Length of each run, in bytes. */
  lengths: Float64Array;
  /** Physical address behind the first IOVA of each run, in bytes. */
  addresses: Float64Array;
  /** {@link Permission} bits of each run. */
  permissions: Uint8Array;

  constructor(first: number, capacity: number) {
    this.first = first;
    this.iovas = new Float64Array(capacity);
    this.lengths = new Float64Array(capacity);
    this.addresses = new Float64Array(capacity);
    this.permissions = new Uint8Array(capacity);
  }

  /** There is no room for another run. */
  get isFull(): boolean {
    return this.count === this.iovas.length;
  }

  /** Index of a further run, which the caller fills; there is always room. */
  add(): number {
    if (this.isFull) this.grow();
    return this.count++;
  }

  /** Becomes a copy of the part of `other` that lies in `[from, to)`. */
  copyFrom(other: RunColumns, from: number, to: number): void {
    const { iovas, lengths } = other;
    let first = 0;
    let end = other.count;
    while (first < end && iovas[first]! + lengths[first]! <= from) first++;
    while (end > first && iovas[end - 1]! >= to) end--;
    const count = end - first;
    while (this.iovas.length < count) this.grow();
    this.count = count;
    if (count === 0) return;
    this.iovas.set(iovas.subarray(first, end));
    this.lengths.set(lengths.subarray(first, end));
    this.addresses.set(other.addresses.subarray(first, end));
    this.permissions.set(other.permissions.subarray(first, end));
    const before = Math.max(0, from - this.iovas[0]!);
    this.iovas[0]! += before;
    this.lengths[0]! -= before;
    this.addresses[0]! += before;
    const last = count - 1;
    this.lengths[last]! -= Math.max(0, this.iovas[last]! + this.lengths[last]! - to);
  }

  private grow(): void {
    const capacity = 2 * this.iovas.length;
    const { iovas, lengths, addresses, permissions } = this;
    this.iovas = new Float64Array(capacity);
    this.lengths = new Float64Array(capacity);
    this.addresses = new Float64Array(capacity);
    this.permissions = new Uint8Array(capacity);
    this.iovas.set(iovas);
    this.lengths.set(lengths);
    this.addresses.set(addresses);
    this.permissions.set(permissions);
  }
}

/**
 * Mappings in ascending order, joined where they continue each other: the outcome of an enumeration.
 * Addresses and lengths are numbers of bytes, multiples of 4096, and so exact up to 2^64 (a double has
 * 53 significant bits, and twelve of these are zero). Kept in stretches that are never moved: a list
 * of a million runs that grew by doubling would spend a quarter of the time copying itself.
 */
export class Runs {
  private readonly stretches: RunColumns[];

  /** @param first runs that there is room for at once. */
  constructor(first = FIRST) {
    this.stretches = [new RunColumns(0, first)];
  }

  /** Removes all runs; the first stretch keeps its room. */
  clear(): void {
    if (this.stretches.length > 1) this.stretches.length = 1;
    this.stretches[0]!.count = 0;
  }

  /** The first runs: all of them, where there was room for all. */
  get start(): RunColumns {
    return this.stretches[0]!;
  }

  /** Number of runs. */
  get count(): number {
    return this.last.first + this.last.count;
  }

  /** First IOVA of run `index`, in bytes. */
  iova(index: number): number {
    const stretch = this.stretchOf(index);
    return stretch.iovas[index - stretch.first]!;
  }

  /** Bytes of run `index`. */
  length(index: number): number {
    const stretch = this.stretchOf(index);
    return stretch.lengths[index - stretch.first]!;
  }

  /** Physical address behind the first IOVA of run `index`, in bytes. */
  address(index: number): number {
    const stretch = this.stretchOf(index);
    return stretch.addresses[index - stretch.first]!;
  }

  /** {@link Permission} bits of run `index`. */
  permissions(index: number): number {
    const stretch = this.stretchOf(index);
    return stretch.permissions[index - stretch.first]!;
  }

  /** The stretch that takes the next run; it has room. */
  get open(): RunColumns {
    const { last } = this;
    if (!last.isFull) return last;
    const stretch = new RunColumns(this.count, Math.min(2 * last.iovas.length, LAST));
    this.stretches.push(stretch);
    return stretch;
  }

  private get last(): RunColumns {
    return this.stretches[this.stretches.length - 1]!;
  }

  private stretchOf(index: number): RunColumns {
    if (!(index >= 0 && index < this.count)) {
      throw new RangeError(`index is ${index}: there are ${this.count} runs`);
    }
    let first = 0;
    let end = this.stretches.length;
    while (end - first > 1) {
      const middle = (first + end) >>> 1;
      if (this.stretches[middle]!.first <= index) first = middle;
      else end = middle;
    }
    return this.stretches[first]!;
  }
}
