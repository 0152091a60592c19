import type { RunColumns } from '../ioas/runs.js';
import { hex } from '../memory/hex.js';
import type { AddressRange } from '../memory/sparse-memory.js';
import type { IoasSink } from './sink.js';

const PAGE = 4096;
const SPACE = 2 ** 64;
const PHYSICAL = 2 ** 52;

/** The capabilities of a sink, checked and complete. */
export class SinkLimits {
  readonly unmaps: 'any' | 'areas' | 'area';
  readonly pageSize: number;
  /** Areas that there may be. */
  readonly areas: number;
  /** Areas that are compared at a time; where there are more, what one unmap could do is several. */
  readonly batch: number;
  /** Every run can be mapped as it is. */
  readonly isOpen: boolean;
  private readonly reserved: readonly AddressRange[];
  private readonly memory: readonly AddressRange[];

  /**
   * @param most areas that there may be in any sink.
   * @throws TypeError when `sink` is no sink.
   * @throws RangeError when a capability is out of range.
   */
  constructor(name: string, sink: IoasSink, most: number) {
    for (const method of ['map', 'unmap'] as const) {
      if (typeof (sink as Partial<IoasSink> | undefined)?.[method] !== 'function') {
        throw new TypeError(`${name} has no method ${method}: pass an IoasSink`);
      }
    }
    const of = `${name}.capabilities`;
    if (
      typeof (sink.capabilities as unknown) !== 'object' ||
      (sink.capabilities as unknown) === null
    ) {
      throw new TypeError(`${of} is missing: pass {} for a sink without restrictions`);
    }
    const { unmaps, pageSize, areas, reserved, memory } = sink.capabilities;
    this.unmaps = unmaps ?? 'any';
    if (!['any', 'areas', 'area'].includes(this.unmaps)) {
      throw new RangeError(`${of}.unmaps is ${this.unmaps}: it must be any, areas or area`);
    }
    this.pageSize = pageSize ?? PAGE;
    if (!(this.pageSize >= PAGE && Number.isInteger(Math.log2(this.pageSize)))) {
      throw new RangeError(
        `${of}.pageSize is ${this.pageSize}: it must be a power of two, 4096 or more`,
      );
    }
    if (areas !== undefined && !(Number.isSafeInteger(areas) && areas > 0)) {
      throw new RangeError(`${of}.areas is ${areas}: it must be a whole number, 1 or more`);
    }
    this.batch = this.unmaps === 'area' ? 2 ** 13 : 2 ** 17;
    this.areas = Math.min(areas ?? most, most);
    this.reserved = sorted(`${of}.reserved`, reserved ?? [], SPACE);
    this.memory = sorted(`${of}.memory`, memory ?? [{ base: 0, byteLength: PHYSICAL }], PHYSICAL);
    this.isOpen = this.pageSize === PAGE && reserved === undefined && memory === undefined;
  }

  /**
   * Cuts what is wanted to what can be mapped.
   * @param columns is filled anew; it grows as needed.
   * @returns bytes that cannot be mapped.
   */
  restrict(wanted: RunColumns, from: number, to: number, into: RunColumns): number {
    const { iovas, lengths, addresses, permissions } = wanted;
    let left = 0;
    into.count = 0;
    for (let i = 0; i < wanted.count; i++) {
      const start = Math.max(iovas[i]!, from);
      const end = Math.min(iovas[i]! + lengths[i]!, to);
      if (end <= start) continue;
      const address = addresses[i]! + (start - iovas[i]!);
      left += end - start - this.split(start, end, address, permissions[i]!, into);
    }
    return left;
  }

  /** Adds the parts of a run that can be mapped. @returns their bytes. */
  private split(
    start: number,
    end: number,
    address: number,
    permissions: number,
    into: RunColumns,
  ): number {
    let bytes = 0;
    let at = start;
    for (const { base, byteLength } of this.reserved) {
      if (base >= end) break;
      if (base + byteLength <= at) continue;
      if (base > at) bytes += this.byMemory(at, base, address + (at - start), permissions, into);
      at = base + byteLength;
    }
    if (at < end) bytes += this.byMemory(at, end, address + (at - start), permissions, into);
    return bytes;
  }

  private byMemory(
    start: number,
    end: number,
    address: number,
    permissions: number,
    into: RunColumns,
  ): number {
    const { memory, pageSize } = this;
    if (start % pageSize !== address % pageSize) return 0;
    let bytes = 0;
    for (let i = lastBefore(memory, address); i < memory.length; i++) {
      const { base, byteLength } = memory[i]!;
      if (base >= address + (end - start)) break;
      const low = Math.max(address, base);
      const high = Math.min(address + (end - start), base + byteLength);
      const first = Math.ceil(low / pageSize) * pageSize;
      const length = Math.floor(high / pageSize) * pageSize - first;
      if (length <= 0) continue;
      const index = into.add();
      into.iovas[index] = start + (first - address);
      into.lengths[index] = length;
      into.addresses[index] = first;
      into.permissions[index] = permissions;
      bytes += length;
    }
    return bytes;
  }
}

/** Index of the last range that begins at or before `address`, or 0. */
function lastBefore(ranges: readonly AddressRange[], address: number): number {
  let first = 0;
  let end = ranges.length;
  while (end - first > 1) {
    const middle = (first + end) >>> 1;
    if (ranges[middle]!.base <= address) first = middle;
    else end = middle;
  }
  return first;
}

/**
 * The ranges in ascending order.
 * @throws RangeError when one is not made of whole pages below `limit`, or two overlap.
 */
export function sorted(
  name: string,
  ranges: readonly AddressRange[],
  limit: number,
): readonly AddressRange[] {
  for (const { base, byteLength } of ranges) {
    const isRange =
      Number.isInteger(base) &&
      Number.isInteger(byteLength) &&
      base >= 0 &&
      byteLength > 0 &&
      base % PAGE === 0 &&
      byteLength % PAGE === 0 &&
      base + byteLength <= limit;
    if (!isRange) {
      throw new RangeError(
        `${name}: ${hex(base)} with ${hex(byteLength)} bytes is no range of whole pages of 4096 bytes below ${hex(limit)}`,
      );
    }
  }
  const ascending = [...ranges].sort((a, b) => a.base - b.base);
  for (let i = 1; i < ascending.length; i++) {
    const before = ascending[i - 1]!;
    if (ascending[i]!.base < before.base + before.byteLength) {
      throw new RangeError(`${name} overlap at ${hex(ascending[i]!.base)}: leave one of them out`);
    }
  }
  return ascending;
}
