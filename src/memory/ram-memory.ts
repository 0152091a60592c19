import { Exchange, type GuestMemory } from './guest-memory.js';
import { hex } from './hex.js';
import { Atomic64 } from './u64.js';

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

/**
 * Half-open range of guest-physical addresses with the words behind it. It does not cross a multiple
 * of 4 GiB (a larger RAM region is several of them), so that 32-bit arithmetic finds a word.
 */
class Region {
  readonly base: number;
  readonly end: number;
  readonly words: Uint32Array;
  /** The same memory, if other threads may write it: pairs of words need care then. */
  readonly shared: SharedWords | undefined;
  constructor(base: number, words: Uint32Array, shared?: SharedWords) {
    this.base = base;
    this.end = base + words.byteLength;
    this.words = words;
    this.shared = shared;
  }
}

/** Views of memory that other threads may write. */
interface SharedWords {
  readonly words: Uint32Array;
  readonly doubles: Float64Array;
  readonly atomic: Atomic64;
}

/** A region that no address lies in. */
const NOWHERE = new Region(0, new Uint32Array(0));
const WINDOW = 0x1_0000_0000;

/**
 * Guest RAM over `ArrayBuffer` or `SharedArrayBuffer`, in any number of regions with holes between
 * them. Nothing is copied: what the VMM writes into a buffer is what the SMMU reads.
 */
export class RamMemory implements GuestMemory {
  private readonly regions: readonly Region[];
  // The region of the last 64-bit load, laid open: the next one is nearly always in it.
  private words = NOWHERE.words;
  private shared: SharedWords | undefined;
  private baseHigh = -1;
  private baseLow = 0;

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
    const sorted = regions.flatMap(toRegions).sort((a, b) => a.base - b.base);
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
    for (let done = 0; done < count;) {
      const next = address + 4 * done;
      const region = this.regionAt(next);
      if (region === NOWHERE) return false;
      // A shift, not a division: the index stays an integer.
      const index = (next - region.base) >>> 2;
      const { words } = region;
      const part = Math.min(count - done, words.length - index);
      const to = at + done;
      if (region.shared !== undefined) loadShared(region.shared, index, into, to, part);
      else for (let i = 0; i < part; i++) into[to + i] = words[index + i]!;
      done += part;
    }
    return true;
  }

  load64(high: number, low: number, into: Uint32Array): boolean {
    if (high === this.baseHigh) {
      const { words } = this;
      // An address below the base wraps to an index beyond the end.
      const index = (low - this.baseLow) >>> 2;
      if (index + 1 < words.length) {
        if (this.shared !== undefined) {
          loadShared(this.shared, index, into, 0, 2);
          return true;
        }
        into[0] = words[index]!;
        into[1] = words[index + 1]!;
        return true;
      }
    }
    return this.load64Elsewhere((high >>> 0) * WINDOW + (low >>> 0), into);
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
      const index = (next - region.base) >>> 2;
      if (region.shared !== undefined) Atomics.store(region.words, index, from[at + i]!);
      else region.words[index] = from[at + i]!;
    }
    return true;
  }

  compareExchange(address: number, words: Uint32Array, at: number): number {
    const region = this.regionAt(address);
    if (region === NOWHERE) return Exchange.aborted;
    const memory = region.words;
    const index = (address - region.base) >>> 2;
    if (region.shared !== undefined) {
      return region.shared.atomic.compareExchange(index >>> 1, words, at);
    }
    if (memory[index] !== words[at] || memory[index + 1] !== words[at + 1]) {
      return Exchange.changed;
    }
    memory[index] = words[at + 2]!;
    memory[index + 1] = words[at + 3]!;
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

  private load64Elsewhere(address: number, into: Uint32Array): boolean {
    const region = this.regionAt(address);
    if (region !== NOWHERE) {
      this.words = region.words;
      this.shared = region.shared;
      this.baseHigh = Math.floor(region.base / WINDOW);
      this.baseLow = region.base | 0;
    }
    return this.load(address, into, 0, 2);
  }
}

/** A double and its bits: how {@link loadShared} takes 64 bits at once. */
const double = new Float64Array(1);
const doubleBits = new Uint32Array(double.buffer);
const EXPONENT = 0x7ff0_0000;

/**
 * Reads words so that a 64-bit store of another thread is seen whole. A 64-bit host reads a double in
 * one access, at a tenth of what an atomic operation costs. Only a NaN may lose a bit on the way: such
 * values are read again, atomically.
 */
function loadShared(
  { words, doubles, atomic }: SharedWords,
  index: number,
  into: Uint32Array,
  at: number,
  count: number,
): void {
  let i = 0;
  if ((index & 1) !== 0) into[at + i++] = Atomics.load(words, index);
  for (; i + 1 < count; i += 2) {
    const pair = (index + i) >>> 1;
    double[0] = doubles[pair]!;
    into[at + i] = doubleBits[0]!;
    into[at + i + 1] = doubleBits[1]!;
    if ((doubleBits[1]! & EXPONENT) === EXPONENT) atomic.load(pair, into, at + i);
  }
  if (i < count) into[at + i] = Atomics.load(words, index + i);
}

function toRegions(region: RamRegion, position: number): Region[] {
  const { base, buffer } = region;
  const name = `regions[${position}]`;
  const isShared = typeof SharedArrayBuffer !== 'undefined' && buffer instanceof SharedArrayBuffer;
  if (!isShared && !(buffer instanceof ArrayBuffer)) {
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
  const parts: Region[] = [];
  for (let done = 0; done < byteLength;) {
    const room = WINDOW - ((base + done) % WINDOW);
    const bytes = Math.min(byteLength - done, room);
    const words = new Uint32Array(buffer, byteOffset + done, bytes / 4);
    const shared = buffer instanceof ArrayBuffer ? undefined : sharedWords(buffer, words);
    parts.push(new Region(base + done, words, shared));
    done += bytes;
  }
  return parts;
}

function sharedWords(buffer: SharedArrayBuffer, words: Uint32Array): SharedWords {
  const { byteOffset, byteLength } = words;
  return {
    words,
    doubles: new Float64Array(buffer, byteOffset, byteLength / 8),
    atomic: new Atomic64(buffer, byteOffset, byteLength),
  };
}

function multipleOf8(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0 || value % 8 !== 0) {
    throw new RangeError(`${name} is ${hex(value)}: it must be a multiple of 8 bytes, 0 or more`);
  }
}
