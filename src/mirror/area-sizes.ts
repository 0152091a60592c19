import { AreaPermission } from './sink.js';

/**
 * Marks in the permissions of a an area that is to be mapped: what is left of an area that had to go as a
 * whole, before the part that changed, or after it.
 */
export const Rest = { before: 4, after: 8 } as const;

/** What the sizes of areas are remembered for, and how many such regions. */
const REGION = 2 ** 21;
const REGIONS = 1024;
const PAGE_LOG2 = 12;
/** Sizes are 4 KiB, 64 KiB, 1 MiB, 16 MiB, 256 MiB: each 16 of the one before. */
const STEP_LOG2 = 4;
const LARGEST_LOG2 = 28;

/**
 * Chooses how large areas are in a sink that can unmap them only as a whole. At first each run is one
 * area. One that the guest divides is made anew in pieces that get smaller towards the change, and
 * areas that are mapped there later are no larger than what was changed, until neighbours go together.
 */
export class AreaSizes {
  /** log2 of the largest area, by number of the region; those changed last come last. */
  private readonly largest = new Map<number, number>();
  private readonly pageLog2: number;

  /** @param pageSize bytes of the smallest area. */
  constructor(pageSize = 2 ** PAGE_LOG2) {
    this.pageLog2 = Math.log2(pageSize);
  }

  /** The guest has changed `[from, to)` of a larger area. */
  divided(from: number, to: number): void {
    let log2 = LARGEST_LOG2;
    while (2 ** log2 > to - from && log2 > PAGE_LOG2) log2 -= STEP_LOG2;
    const region = Math.floor(from / REGION);
    log2 = Math.max(log2, this.pageLog2);
    const before = this.largest.get(region);
    this.largest.delete(region);
    if (this.largest.size >= REGIONS) this.largest.delete(this.largest.keys().next().value!);
    this.largest.set(region, Math.min(log2, before ?? log2));
  }

  /** Two areas that met at `iova` went together: larger ones would have been better there. */
  joined(iova: number): void {
    if (this.largest.size === 0) return;
    const region = Math.floor(iova / REGION);
    const log2 = this.largest.get(region);
    if (log2 === undefined) return;
    if (log2 >= LARGEST_LOG2) this.largest.delete(region);
    else this.largest.set(region, log2 + STEP_LOG2);
  }

  /**
   * Length of the area that begins a piece of a run.
   * @param permissions with the {@link Rest} marks of the piece.
   */
  first(from: number, to: number, permissions: number): number {
    if (permissions <= (AreaPermission.read | AreaPermission.write)) return this.fresh(from, to);
    if ((permissions & Rest.before) !== 0) {
      for (let log2 = LARGEST_LOG2; log2 >= PAGE_LOG2; log2 -= STEP_LOG2) {
        const bound = floor(to, log2);
        if (bound > from) return bound - from;
      }
      return to - from;
    }
    for (let log2 = PAGE_LOG2 + STEP_LOG2; log2 <= LARGEST_LOG2; log2 += STEP_LOG2) {
      const bound = floor(from, log2) + 2 ** log2;
      if (bound - from < 2 ** log2) return Math.min(to, bound) - from;
    }
    return to - from;
  }

  private fresh(from: number, to: number): number {
    const { largest } = this;
    if (largest.size === 0) return to - from;
    const own = largest.get(Math.floor(from / REGION));
    if (own !== undefined) return Math.min(to, floor(from, own) + 2 ** own) - from;
    // As far as the next region that is known to be divided.
    let end = to;
    for (const region of largest.keys()) {
      const start = region * REGION;
      if (start > from && start < end) end = start;
    }
    return end - from;
  }
}

function floor(iova: number, log2: number): number {
  return Math.floor(iova / 2 ** log2) * 2 ** log2;
}
