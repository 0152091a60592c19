/** Ranges that are told apart; more of them become one that covers all. */
const LIMIT = 256;

/** IOVA ranges, half-open, disjoint and ascending; ranges that touch are one. */
export class RangeSet {
  /** Number of ranges. */
  count = 0;
  private readonly bounds = new Float64Array(2 * LIMIT);

  get isEmpty(): boolean {
    return this.count === 0;
  }

  /** First IOVA of range `i`. */
  from(i: number): number {
    return this.bounds[2 * i]!;
  }

  /** The IOVA behind range `i`. */
  to(i: number): number {
    return this.bounds[2 * i + 1]!;
  }

  clear(): void {
    this.count = 0;
  }

  /** Adds `[from, to)`. */
  add(from: number, to: number): void {
    if (this.count === 0) this.cover(from, to);
    else this.extend(from, to);
  }

  /** Adds a range to others. */
  private extend(from: number, to: number): void {
    const { bounds, count } = this;
    const end = 2 * count;
    if (from <= bounds[end - 1]! && from >= bounds[end - 2]!) {
      // Most ranges continue the last one.
      if (to > bounds[end - 1]!) bounds[end - 1] = to;
    } else if (from > bounds[end - 1]!) {
      if (count === LIMIT) {
        this.cover(bounds[0]!, to);
        return;
      }
      bounds[end] = from;
      bounds[end + 1] = to;
      this.count++;
    } else {
      this.insert(from, to);
    }
  }

  /** Adds all ranges of `other`. */
  addAll(other: RangeSet): void {
    if (this.count === 0) {
      // Element by element: one range is what there mostly is.
      for (let i = 0; i < 2 * other.count; i++) this.bounds[i] = other.bounds[i]!;
      this.count = other.count;
      return;
    }
    for (let i = 0; i < other.count; i++) this.add(other.from(i), other.to(i));
  }

  /** Becomes the one range `[from, to)`. */
  cover(from: number, to: number): void {
    this.bounds[0] = from;
    this.bounds[1] = to;
    this.count = 1;
  }

  /** Takes the first range out. */
  shift(): void {
    if (this.count > 1) this.bounds.copyWithin(0, 2, 2 * this.count);
    this.count--;
  }

  /** Adds a range that begins before the last one does. */
  private insert(from: number, to: number): void {
    const { bounds, count } = this;
    let first = 0;
    while (bounds[2 * first + 1]! < from) first++;
    let end = first;
    while (end < count && bounds[2 * end]! <= to) end++;
    if (first === end) {
      if (count === LIMIT) {
        this.cover(Math.min(from, bounds[0]!), bounds[2 * count - 1]!);
        return;
      }
      bounds.copyWithin(2 * first + 2, 2 * first, 2 * count);
      bounds[2 * first] = from;
      bounds[2 * first + 1] = to;
      this.count++;
      return;
    }
    bounds[2 * first] = Math.min(from, bounds[2 * first]!);
    bounds[2 * first + 1] = Math.max(to, bounds[2 * end - 1]!);
    bounds.copyWithin(2 * first + 2, 2 * end, 2 * count);
    this.count -= end - first - 1;
  }
}
