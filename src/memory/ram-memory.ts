import { Exchange, type GuestMemory } from './guest-memory.js';
import { hex } from './hex.js';

/** A range of guest RAM over memory that the VMM already has. */
export interface RamRegion {
  /** Guest-physical address of the first byte; a multiple of 8. */
  readonly base: number;
  /** Memory behind the region; read and written in place. */
  readonly buffer: ArrayBuffer | SharedArrayBuffer;
  /** First byte of `buffer` that belongs to the region; a multiple of 8. Default 0. */
  readonly byteOffset?: number;
  /** Bytes of the region; a multiple of 8. Default: the rest of `buffer`. */
  readonly byteLength?: number;
}

/** Half-open range of guest-physical addresses with the words behind it. */
class Region {
  readonly base: number;
  readonly end: number;
  readonly words: Uint32Array;
  /** Other threads may write: pairs of words need care. */
  readonly shared: boolean;
  constructor(base: number, words: Uint32Array, shared: boolean) {
    this.base = base;
    this.end = base + words.byteLength;
    this.words = words;
    this.shared = shared;
  }
}

/** A region that no address lies in: what "the last region used" is before any was. */
const NOWHERE = new Region(0, new Uint32Array(0), false);

/** Rounds in which a pair of words that another thread keeps writing is read again. */
const MAX_TEARS = 64;

/**
 * Guest RAM over `ArrayBuffer` or `SharedArrayBuffer`, in any number of regions with holes between
 * them. Nothing is copied: what the VMM writes into a buffer is what the SMMU reads.
 */
export class RamMemory implements GuestMemory {
  private readonly regions: readonly Region[];
  private last: Region = NOWHERE;

  /**
   * @param regions in any order; they may touch, but not overlap.
   * @throws TypeError when a buffer is neither an ArrayBuffer nor a SharedArrayBuffer.
   * @throws RangeError when a base, offset or length is not a multiple of 8, lies outside its
   * buffer or above 2^52, or when two regions overlap.
   */
  constructor(regions: readonly RamRegion[]) {
    if (new Uint8Array(new Uint32Array([1]).buffer)[0] !== 1) {
      throw new TypeError('RamMemory needs a little-endian host');
    }
    const sorted = regions.map(toRegion).sort((a, b) => a.base - b.base);
    for (let i = 1; i < sorted.length; i++) {
      const before = sorted[i - 1]!;
      const region = sorted[i]!;
      if (region.base < before.end) {
        throw new RangeError(
          `regions overlap: ${hex(region.base)} lies in the region ${hex(before.base)}-${hex(before.end)}`,
        );
      }
    }
    this.regions = sorted;
  }

  load(address: number, into: Uint32Array, at: number, count: number): boolean {
    let region = this.last;
    if (address < region.base || address + 4 * count > region.end) {
      region = this.regionAt(address);
      if (address + 4 * count > region.end) return this.loadAcross(address, into, at, count);
      this.last = region;
    }
    const offset = address - region.base;
    const words = region.words;
    // The shift keeps the index a small integer, which V8 handles faster than a double.
    const index = offset < 0x1_0000_0000 ? offset >>> 2 : offset / 4;
    if (region.shared) {
      loadShared(words, index, into, at, count);
      return true;
    }
    if (count === 2) {
      into[at] = words[index]!;
      into[at + 1] = words[index + 1]!;
      return true;
    }
    for (let i = 0; i < count; i++) into[at + i] = words[index + i]!;
    return true;
  }

  store(address: number, from: Uint32Array, at: number, count: number): boolean {
    let region = this.regionAt(address);
    for (let end = address + 4 * count, next = address; next < end;) {
      region = this.regionAt(next);
      if (region === NOWHERE) return false;
      next = region.end;
    }
    for (let i = 0; i < count; i++) {
      const next = address + 4 * i;
      if (next < region.base || next >= region.end) region = this.regionAt(next);
      const index = (next - region.base) / 4;
      if (region.shared) Atomics.store(region.words, index, from[at + i]!);
      else region.words[index] = from[at + i]!;
    }
    return true;
  }

  compareExchange(address: number, words: Uint32Array, at: number): number {
    const region = this.regionAt(address);
    if (region === NOWHERE) return Exchange.aborted;
    const memory = region.words;
    const index = (address - region.base) / 4;
    const expectedLow = words[at]!;
    const expectedHigh = words[at + 1]!;
    const low = words[at + 2]!;
    const high = words[at + 3]!;
    if (region.shared) {
      return exchangeShared(memory, index, expectedLow, expectedHigh, low, high);
    }
    if (memory[index] !== expectedLow || memory[index + 1] !== expectedHigh)
      return Exchange.changed;
    memory[index] = low;
    memory[index + 1] = high;
    return Exchange.swapped;
  }

  /** The region that holds the byte at `address`, or {@link NOWHERE}. */
  private regionAt(address: number): Region {
    const regions = this.regions;
    let first = 0;
    let end = regions.length;
    while (first < end) {
      const middle = (first + end) >>> 1;
      if (regions[middle]!.end <= address) first = middle + 1;
      else end = middle;
    }
    const region = regions[first];
    return region !== undefined && address >= region.base ? region : NOWHERE;
  }

  /** A load that starts in one region and ends in another, or nowhere. */
  private loadAcross(address: number, into: Uint32Array, at: number, count: number): boolean {
    for (let done = 0; done < count;) {
      const region = this.regionAt(address + 4 * done);
      if (region === NOWHERE) return false;
      const words = Math.min(count - done, (region.end - address) / 4 - done);
      this.load(address + 4 * done, into, at + done, words);
      done += words;
    }
    return true;
  }
}

/**
 * Reads pairs of words so that a 64-bit store of another thread is seen whole: the low word is read
 * again after the high one. The rounds are bounded, since the writer is the guest.
 */
function loadShared(
  words: Uint32Array,
  index: number,
  into: Uint32Array,
  at: number,
  count: number,
): void {
  for (let i = 0; i < count; i += 2) {
    let low = Atomics.load(words, index + i);
    if (i + 1 < count) {
      for (let round = 0; round < MAX_TEARS; round++) {
        into[at + i + 1] = Atomics.load(words, index + i + 1);
        const again = Atomics.load(words, index + i);
        if (again === low) break;
        low = again;
      }
    }
    into[at + i] = low;
  }
}

/**
 * A 64-bit compare-and-swap out of 32-bit ones. An SMMU changes one 32-bit half of a descriptor: that
 * half is swapped, and the other one is compared before and after, so that a store of the guest
 * that came in between is answered with `changed` and the descriptor is read again.
 */
function exchangeShared(
  memory: Uint32Array,
  index: number,
  expectedLow: number,
  expectedHigh: number,
  low: number,
  high: number,
): number {
  const swapsHigh = high !== expectedHigh;
  if (swapsHigh && low !== expectedLow) {
    throw new RangeError('compareExchange on shared memory replaces one 32-bit half at a time');
  }
  const swapped = swapsHigh ? index + 1 : index;
  const other = swapsHigh ? index : index + 1;
  const expected = swapsHigh ? expectedHigh : expectedLow;
  const expectedOther = swapsHigh ? expectedLow : expectedHigh;
  if (Atomics.load(memory, other) !== expectedOther) return Exchange.changed;
  const found = Atomics.compareExchange(memory, swapped, expected, swapsHigh ? high : low);
  if (found !== expected) return Exchange.changed;
  return Atomics.load(memory, other) === expectedOther ? Exchange.swapped : Exchange.changed;
}

function toRegion(region: RamRegion, position: number): Region {
  const { base, buffer } = region;
  const name = `regions[${position}]`;
  const shared = typeof SharedArrayBuffer !== 'undefined' && buffer instanceof SharedArrayBuffer;
  if (!shared && !(buffer instanceof ArrayBuffer)) {
    throw new TypeError(
      `${name}.buffer is ${typeof buffer}: pass an ArrayBuffer or SharedArrayBuffer`,
    );
  }
  const byteOffset = region.byteOffset ?? 0;
  const byteLength = region.byteLength ?? buffer.byteLength - byteOffset;
  multipleOf8(`${name}.base`, base);
  multipleOf8(`${name}.byteOffset`, byteOffset);
  multipleOf8(`${name}.byteLength`, byteLength);
  if (byteLength === 0) throw new RangeError(`${name} is empty: leave it out`);
  if (byteOffset + byteLength > buffer.byteLength) {
    throw new RangeError(
      `${name} ends at byte ${hex(byteOffset + byteLength)} of a buffer of ${hex(buffer.byteLength)} bytes`,
    );
  }
  if (base + byteLength > 2 ** 52) {
    throw new RangeError(
      `${name} ends at ${hex(base + byteLength)}: physical addresses have 52 bits`,
    );
  }
  return new Region(base, new Uint32Array(buffer, byteOffset, byteLength / 4), shared);
}

function multipleOf8(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0 || value % 8 !== 0) {
    throw new RangeError(`${name} is ${hex(value)}: it must be a multiple of 8 bytes, 0 or more`);
  }
}
