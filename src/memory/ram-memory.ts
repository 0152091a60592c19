import { Exchange, type GuestMemory } from './guest-memory.js';
import { NOWHERE, type RamRegion, type Region, toRegions, WINDOW } from './region.js';
import { loadShared, loadWhole, type SharedWords, storeWhole } from './shared-words.js';

export type { RamRegion } from './region.js';

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
  // The region of the last access to bytes, likewise.
  private bytes = NOWHERE.bytes;
  private bytesShared: SharedWords | undefined;
  private bytesBase = 0;

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
    this.regions = toRegions(regions);
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

  holds(address: number, words: Uint32Array, at: number, count: number): boolean {
    for (let done = 0; done < count;) {
      const next = address + 4 * done;
      const region = this.regionAt(next);
      if (region === NOWHERE) return false;
      const index = (next - region.base) >>> 2;
      const part = Math.min(count - done, region.words.length - index);
      if (!areEqual(region.words, index, words, at + done, part)) return false;
      done += part;
    }
    return true;
  }

  store(address: number, from: Uint32Array, at: number, count: number): boolean {
    if (!this.isBacked(address, 4 * count)) return false;
    let region = NOWHERE;
    for (let i = 0; i < count; i++) {
      const next = address + 4 * i;
      if (next < region.base || next >= region.end) region = this.regionAt(next);
      const index = (next - region.base) >>> 2;
      if (region.shared !== undefined) Atomics.store(region.words, index, from[at + i]!);
      else region.words[index] = from[at + i]!;
    }
    return true;
  }

  loadBytes(address: number, into: Uint8Array, at: number, count: number): boolean {
    const index = address - this.bytesBase;
    if (index >= 0 && index + count <= this.bytes.length) {
      this.loadPart(index, into, at, count);
      return true;
    }
    for (let done = 0; done < count;) {
      const part = Math.min(count - done, this.openBytes(address + done));
      if (part === 0) return false;
      this.loadPart(address + done - this.bytesBase, into, at + done, part);
      done += part;
    }
    return true;
  }

  storeBytes(address: number, from: Uint8Array, at: number, count: number): boolean {
    const index = address - this.bytesBase;
    if (index >= 0 && index + count <= this.bytes.length) {
      this.storePart(index, from, at, count);
      return true;
    }
    if (!this.isBacked(address, count)) return false;
    for (let done = 0; done < count;) {
      const part = Math.min(count - done, this.openBytes(address + done));
      this.storePart(address + done - this.bytesBase, from, at + done, part);
      done += part;
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

  /** Whether each of `count` bytes from `address` lies in a region. */
  private isBacked(address: number, count: number): boolean {
    for (let done = 0; done < count;) {
      const region = this.regionAt(address + done);
      if (region === NOWHERE) return false;
      done = region.end - address;
    }
    return true;
  }

  /** Lays the region at `address` open. @returns how many bytes of it are left; 0 in a hole. */
  private openBytes(address: number): number {
    const region = this.regionAt(address);
    if (region === NOWHERE) return 0;
    this.bytes = region.bytes;
    this.bytesShared = region.shared;
    this.bytesBase = region.base;
    return region.end - address;
  }

  private loadPart(index: number, into: Uint8Array, at: number, count: number): void {
    const { bytesShared } = this;
    if (bytesShared !== undefined && loadWhole(bytesShared, index, into, at, count)) return;
    copyBytes(this.bytes, index, into, at, count);
  }

  private storePart(index: number, from: Uint8Array, at: number, count: number): void {
    const { bytesShared } = this;
    if (bytesShared !== undefined && storeWhole(bytesShared, index, from, at, count)) return;
    copyBytes(from, at, this.bytes, index, count);
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

/** Four words a step: half the time of one. */
function areEqual(
  a: Uint32Array,
  from: number,
  b: Uint32Array,
  at: number,
  count: number,
): boolean {
  const whole = count & ~3;
  for (let i = 0; i < whole; i += 4) {
    const x = from + i;
    const y = at + i;
    const differing =
      (a[x]! ^ b[y]!) | (a[x + 1]! ^ b[y + 1]!) | (a[x + 2]! ^ b[y + 2]!) | (a[x + 3]! ^ b[y + 3]!);
    if (differing !== 0) return false;
  }
  for (let i = whole; i < count; i++) if (a[from + i] !== b[at + i]) return false;
  return true;
}

/** Below it a loop is faster, at 1.3 ns a byte or more: `subarray` and `set` take 45 ns at least. */
const LOOP_BYTES = 32;

function copyBytes(
  from: Uint8Array,
  start: number,
  into: Uint8Array,
  at: number,
  count: number,
): void {
  if (count < LOOP_BYTES) for (let i = 0; i < count; i++) into[at + i] = from[start + i]!;
  else into.set(from.subarray(start, start + count), at);
}
