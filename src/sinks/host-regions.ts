import { hex } from '../memory/hex.js';
import type { AddressRange } from '../memory/sparse-memory.js';
import { hexU64, splitU64, type Halves, type U64 } from '../memory/u64.js';

const PAGE = 4096;
const WORD = 0x1_0000_0000;

/**
 * Guest RAM as the host knows it: which region a guest-physical address lies in, and where that is in
 * the host, 64 bits wide and exact.
 */
export class HostRegions<R extends AddressRange> {
  /** The regions, as they were given. */
  readonly regions: readonly R[];
  private readonly starts: readonly Halves[];

  /**
   * @param startOf where a region begins in the host, an address or an offset in a file, after the
   * name of that option.
   * @param alignment bytes that `startOf` is a multiple of; a power of two up to 2^31.
   * @throws RangeError when a region is not made of whole pages below 2^52, overlaps another, or
   * begins at a place in the host that is not aligned or that it does not fit behind.
   */
  constructor(
    regions: readonly R[],
    startOf: (region: R) => readonly [name: string, start: U64],
    alignment: number,
  ) {
    this.regions = [...regions];
    this.starts = this.regions.map((region, i) => {
      checkRange(`regions[${i}]`, region);
      const [option, value] = startOf(region);
      const name = `regions[${i}].${option}`;
      const start = splitU64(name, value, { high: 0, low: 0 });
      if (start.low % alignment !== 0) {
        throw new RangeError(
          `${name} is ${hexU64(start.high, start.low)}: it must be a multiple of ${hex(alignment)}`,
        );
      }
      const last = region.byteLength - 1;
      const carry = Math.floor((start.low + (last >>> 0)) / WORD);
      if (start.high + Math.floor(last / WORD) + carry >= WORD) {
        throw new RangeError(
          `${name} is ${hexU64(start.high, start.low)}: ${hex(region.byteLength)} bytes from there end beyond 2^64`,
        );
      }
      return start;
    });
    checkApart(this.regions);
  }

  /** The region that holds the byte at guest-physical `address`. */
  at(address: number): R | undefined {
    return this.regions.find(
      ({ base, byteLength }) => address >= base && address < base + byteLength,
    );
  }

  /**
   * The region that holds `length` bytes from guest-physical `address`; where they are in the host is
   * written into `into`.
   * @throws RangeError when they do not lie in one region.
   */
  locate(address: number, length: number, into: Halves): R {
    const region = this.at(address);
    if (region === undefined || address + length > region.base + region.byteLength) {
      throw new RangeError(
        `address is ${hex(address)}, length ${hex(length)}: an area lies in one of the regions; the sink's capabilities list them`,
      );
    }
    const start = this.starts[this.regions.indexOf(region)]!;
    const offset = address - region.base;
    const low = start.low + (offset >>> 0);
    into.low = low >>> 0;
    into.high = start.high + Math.floor(offset / WORD) + Math.floor(low / WORD);
    return region;
  }
}

function checkRange(name: string, { base, byteLength }: AddressRange): void {
  if (!Number.isSafeInteger(base) || base < 0 || base % PAGE !== 0) {
    throw new RangeError(`${name}.base is ${hex(base)}: it must be a multiple of 4096, 0 or more`);
  }
  if (!Number.isSafeInteger(byteLength) || byteLength <= 0 || byteLength % PAGE !== 0) {
    throw new RangeError(
      `${name}.byteLength is ${hex(byteLength)}: it must be a multiple of 4096, more than 0`,
    );
  }
  if (base + byteLength > 2 ** 52) {
    throw new RangeError(
      `${name} ends at ${hex(base + byteLength)}: physical addresses have 52 bits`,
    );
  }
}

function checkApart(regions: readonly AddressRange[]): void {
  const ascending = [...regions].sort((a, b) => a.base - b.base);
  for (let i = 1; i < ascending.length; i++) {
    const before = ascending[i - 1]!;
    if (before.base + before.byteLength > ascending[i]!.base) {
      throw new RangeError(
        `regions: those at ${hex(before.base)} and ${hex(ascending[i]!.base)} overlap: give each address once`,
      );
    }
  }
}
