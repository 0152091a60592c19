import { hex } from './hex.js';
import { sharedWords, type SharedWords } from './shared-words.js';

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
export class Region {
  readonly base: number;
  readonly end: number;
  readonly words: Uint32Array;
  /** The same memory. */
  readonly bytes: Uint8Array;
  /** The same memory, if other threads may write it: accesses that are to be whole need care then. */
  readonly shared: SharedWords | undefined;
  constructor(base: number, words: Uint32Array, shared?: SharedWords) {
    this.base = base;
    this.end = base + words.byteLength;
    this.words = words;
    this.bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    this.shared = shared;
  }
}

/** A region that no address lies in. */
export const NOWHERE = new Region(0, new Uint32Array(0));

/** Bytes of the windows at whose edges regions are split. */
export const WINDOW = 0x1_0000_0000;

/**
 * The regions of RAM by ascending address, split where a window ends.
 * @throws TypeError and RangeError as the constructor of RamMemory says.
 */
export function toRegions(regions: readonly RamRegion[]): readonly Region[] {
  const sorted = regions.flatMap(split).sort((a, b) => a.base - b.base);
  for (let i = 1; i < sorted.length; i++) {
    const before = sorted[i - 1]!;
    const region = sorted[i]!;
    if (region.base < before.end) {
      throw new RangeError(
        `regions overlap: ${hex(region.base)} lies in the region ${hex(before.base)}-${hex(before.end)}`,
      );
    }
  }
  return sorted;
}

function split(region: RamRegion, position: number): Region[] {
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

function multipleOf8(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0 || value % 8 !== 0) {
    throw new RangeError(`${name} is ${hex(value)}: it must be a multiple of 8 bytes, 0 or more`);
  }
}
