/** What a sink holds, by cells, and what has changed in it. */
import type { SinkCapabilities } from '../../src/mirror/sink.js';
import { hex, without, type Area, type ModelSink } from './mirror-model-sink.js';
import type { Values } from './mirror-model-tables.js';
import type { World } from './mirror-world.js';

/** What a sink says of a cell. */
export interface Held {
  readonly address: number;
  /** 0: nothing; -1: not one thing. */
  readonly permissions: number;
}

export const NOTHING: Held = { address: -1, permissions: 0 };
export const MIXED: Held = { address: -1, permissions: -1 };

/** What an area says of a cell that it overlaps. */
export function partOf(area: Area, start: number): Held {
  return { address: area.address + (start - area.iova), permissions: area.permissions };
}

/** Whether `sink` can map the cells of a unit, which is not larger than its page or a cell by itself. */
export function canHold(sink: ModelSink, iova: number, address: number, length: number): boolean {
  const { pageSize = 4096, reserved = [], memory } = sink.capabilities;
  if (iova % pageSize !== 0 || address % pageSize !== 0 || length % pageSize !== 0) return false;
  if (reserved.some(({ base, byteLength }) => base < iova + length && base + byteLength > iova)) {
    return false;
  }
  if (memory === undefined) return true;
  return memory.some(
    ({ base, byteLength }) => address >= base && address + length <= base + byteLength,
  );
}

/** How many runs of pages have changed: neighbours that go to neighbours, or to nothing, are one. */
export function changedRuns(
  before: readonly Area[],
  after: readonly Area[],
  { memory = [] }: SinkCapabilities,
  isDemand: boolean,
): number {
  // On demand each area is looked up by itself.
  const ends = new Set(isDemand ? before.map(({ iova, length }) => iova + length) : []);
  const bounds = new Set<number>();
  for (const { iova, length } of [...before, ...after]) bounds.add(iova).add(iova + length);
  const points = [...bounds].sort((a, b) => a - b);
  let runs = 0;
  let last: Held | undefined;
  let end = -1;
  for (let i = 0; i + 1 < points.length; i++) {
    const at = points[i]!;
    const [old, now] = [before, after].map((areas) => {
      const area = areas.find(({ iova, length }) => iova <= at && at < iova + length);
      return area === undefined ? NOTHING : partOf(area, at);
    }) as [Held, Held];
    if (old.address === now.address && old.permissions === now.permissions) continue;
    const continues =
      last !== undefined &&
      end === at &&
      !ends.has(at) &&
      last.permissions === now.permissions &&
      (now === NOTHING || last.address === now.address) &&
      // An area lies in one range of memory.
      !memory.some(({ base }) => base === now.address);
    if (!continues) runs++;
    end = points[i + 1]!;
    last = now === NOTHING ? now : { ...now, address: now.address + (end - at) };
  }
  return runs;
}

/** What `sink` says of each cell. */
export function heldBy({ layout }: World, { areas }: ModelSink): readonly Held[] {
  let next = 0;
  return layout.cells.map(({ start, end }) => {
    while (next < areas.length && areas[next]!.iova + areas[next]!.length <= start) next++;
    let found: Held | undefined;
    let at = start;
    for (let i = next; i < areas.length && areas[i]!.iova < end; i++) {
      const area = areas[i]!;
      const part = partOf(area, start);
      if (area.iova > at) return MIXED;
      if (found !== undefined && found.address !== part.address) return MIXED;
      if (found !== undefined && found.permissions !== part.permissions) return MIXED;
      found = part;
      at = area.iova + area.length;
    }
    return found === undefined ? NOTHING : at < end ? MIXED : found;
  });
}

export function unitsOf({ layout }: World, sink: ModelSink): readonly (readonly number[])[] {
  return layout.units(sink.capabilities.pageSize ?? 4096);
}

/** Areas without what a sink is asked to unmap: an answer may have been lost before. */
export function known({ pending }: ModelSink, areas: readonly Area[]): readonly Area[] {
  return pending
    .filter(({ kind }) => kind === 'unmap')
    .reduce(
      (left, { iova, length }) => left.flatMap((area) => without(area, iova, iova + length)),
      areas,
    );
}

export function isCovered({ layout }: World, from: number, to: number): boolean {
  let at = from;
  for (let i = layout.cellAt(from); at < to; i++) {
    const cell = layout.cells[i];
    if (cell === undefined || cell.start > at) return false;
    at = cell.end;
  }
  return true;
}

export function isEqual(some: readonly Area[], others: readonly Area[]): boolean {
  return (
    some.length === others.length &&
    some.every(({ iova, length, address, permissions }, i) => {
      const other = others[i]!;
      return (
        iova === other.iova &&
        length === other.length &&
        address === other.address &&
        permissions === other.permissions
      );
    })
  );
}

export function print(areas: readonly Area[]): string {
  return areas
    .map(({ iova, length, address, permissions }) =>
      [hex(iova), hex(length), hex(address), permissions].join(' '),
    )
    .join(', ');
}

export function printValues(values: Values): string {
  return values
    .map(({ address, permissions }) =>
      permissions === 0 ? 'none' : `${hex(address)} ${permissions}`,
    )
    .join(' or ');
}
