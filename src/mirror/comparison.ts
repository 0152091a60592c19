import type { IntervalList } from '../ioas/interval-list.js';
import { RunColumns } from '../ioas/runs.js';
import { Rest, type AreaSizes } from './area-sizes.js';
import { ALLOWED } from './sink.js';
import type { SinkLimits } from './sink-limits.js';

/** Operations that there is room for at first. */
const ROOM = 64;

/**
 * What turns the areas that a sink holds into what is wanted, with the fewest operations: parts that
 * stay are not touched, neighbours are one operation.
 */
export class Comparison {
  /** To be unmapped, ascending; addresses and permissions mean nothing. */
  readonly unmaps = new RunColumns(0, ROOM);
  /** To be mapped after that, ascending. */
  readonly maps = new RunColumns(0, ROOM);

  private readonly limits: SinkLimits;
  private readonly sizes: AreaSizes;
  /** Something was kept since the last unmap: the next one cannot continue it. */
  private hasKept = false;
  /** The run of the last map. */
  private lastRun = -1;

  constructor(limits: SinkLimits, sizes: AreaSizes) {
    this.limits = limits;
    this.sizes = sizes;
  }

  /** Nothing is to be done. */
  get isEmpty(): boolean {
    return this.unmaps.count === 0 && this.maps.count === 0;
  }

  /** Compares `[from, to)`. @param wanted runs, ascending, which may reach beyond the bounds. */
  compare(held: IntervalList, wanted: RunColumns, from: number, to: number): void {
    const whole = this.limits.unmaps !== 'any';
    const { iovas, lengths, addresses, permissions, count } = wanted;
    this.unmaps.count = 0;
    this.maps.count = 0;
    this.hasKept = true;
    this.lastRun = -1;
    held.seek(from);
    if (held.isAtEnd || held.chunk.iovas[held.index]! >= to) {
      this.maps.copyFrom(wanted, from, to);
      return;
    }
    let at = from;
    let run = 0;
    while (run < count && iovas[run]! + lengths[run]! <= from) run++;
    // Whether the area at the cursor must go as a whole, once that is known.
    let isDecided = false;
    while (at < to) {
      const { chunk, index } = held;
      const hasArea = index < chunk.count && chunk.iovas[index]! < to;
      const hasRun = run < count && iovas[run]! < to;
      if (!hasArea && !hasRun) return;
      const runStart = hasRun ? iovas[run]! : to;
      const runEnd = hasRun ? runStart + lengths[run]! : to;
      const runAt = Math.max(runStart, at);
      const areaStart = hasArea ? chunk.iovas[index]! : to;
      const areaAt = Math.max(areaStart, at);
      if (runAt < areaAt) {
        const end = Math.min(runEnd, areaAt);
        this.map(run, runAt, end, addresses[run]! + (runAt - runStart), permissions[run]!);
        at = end;
        if (runEnd <= end) run++;
        continue;
      }

      const areaEnd = areaStart + chunk.lengths[index]!;
      const areaAddress = chunk.addresses[index]!;
      const areaPermissions = chunk.permissions[index]!;
      const restPermissions = areaPermissions & ALLOWED;
      if (whole && !isDecided) {
        isDecided = true;
        const last = Math.min(areaEnd, to);
        if (isIntact(areaStart, areaAddress, areaPermissions, areaAt, last, wanted, run)) {
          this.hasKept = true;
          isDecided = false;
          at = last;
          while (run < count && iovas[run]! + lengths[run]! <= at) run++;
          held.next();
          continue;
        }
        this.unmap(areaStart, areaEnd);
        if (areaStart < from || areaEnd > to) this.sizes.divided(areaAt, last);
        if (areaStart < from) {
          this.map(-1, areaStart, from, areaAddress, restPermissions | Rest.before);
        }
      }
      let end;
      if (areaAt < runAt) {
        end = Math.min(areaEnd, runAt);
        if (!whole) this.unmap(areaAt, end);
      } else {
        end = Math.min(areaEnd, runEnd, to);
        const address = addresses[run]! + (areaAt - runStart);
        const isSame =
          areaAddress + (areaAt - areaStart) === address && areaPermissions === permissions[run]!;
        if (whole) {
          this.map(run, areaAt, end, address, permissions[run]! | (isSame ? Rest.before : 0));
        } else if (isSame) {
          this.hasKept = true;
        } else {
          this.unmap(areaAt, end);
          this.map(run, areaAt, end, address, permissions[run]!);
        }
        if (runEnd <= end) run++;
      }
      at = end;
      if (at === areaEnd) {
        held.next();
        isDecided = false;
      } else if (at === to) {
        if (whole) {
          this.map(-1, to, areaEnd, areaAddress + (to - areaStart), restPermissions | Rest.after);
        }
        return;
      }
    }
  }

  /** Adds an area that has to make room. */
  evict(iova: number, length: number): void {
    const { unmaps } = this;
    const index = unmaps.add();
    unmaps.iovas[index] = iova;
    unmaps.lengths[index] = length;
  }

  private unmap(from: number, to: number): void {
    const { unmaps } = this;
    const last = unmaps.count - 1;
    if (last >= 0 && !this.hasKept) {
      const end = unmaps.iovas[last]! + unmaps.lengths[last]!;
      if (end === from) this.sizes.joined(from);
      if (this.limits.unmaps !== 'area') {
        unmaps.lengths[last] = to - unmaps.iovas[last]!;
        return;
      }
    }
    this.hasKept = false;
    const index = unmaps.add();
    unmaps.iovas[index] = from;
    unmaps.lengths[index] = to - from;
  }

  /** @param run the run that it is a part of, -1 for none: parts of two runs are never one area. */
  private map(run: number, from: number, to: number, address: number, permissions: number): void {
    const { maps } = this;
    const last = maps.count - 1;
    if (run >= 0 && run === this.lastRun && maps.permissions[last] === permissions) {
      if (from === maps.iovas[last]! + maps.lengths[last]!) {
        maps.lengths[last] = to - maps.iovas[last]!;
        return;
      }
    }
    this.lastRun = run;
    const index = maps.add();
    maps.iovas[index] = from;
    maps.lengths[index] = to - from;
    maps.addresses[index] = address;
    maps.permissions[index] = permissions;
  }
}

/** Whether the part `[from, to)` of an area is wanted as it is, by runs from index `run` on. */
function isIntact(
  areaStart: number,
  areaAddress: number,
  areaPermissions: number,
  from: number,
  to: number,
  wanted: RunColumns,
  run: number,
): boolean {
  const { iovas, lengths, addresses, permissions, count } = wanted;
  let at = from;
  for (let i = run; at < to; i++) {
    if (i >= count || iovas[i]! > at) return false;
    if (permissions[i] !== areaPermissions) return false;
    if (addresses[i]! - iovas[i]! !== areaAddress - areaStart) return false;
    at = iovas[i]! + lengths[i]!;
  }
  return true;
}
