import { Atomic64 } from './u64.js';

/** Views of memory that other threads may write. */
export interface SharedWords {
  readonly halfwords: Uint16Array;
  readonly words: Uint32Array;
  readonly doubles: Float64Array;
  readonly atomic: Atomic64;
}

/** All views of the memory that `words`, which lie in `buffer`, are. */
export function sharedWords(buffer: SharedArrayBuffer, words: Uint32Array): SharedWords {
  const { byteOffset, byteLength } = words;
  return {
    halfwords: new Uint16Array(buffer, byteOffset, byteLength / 2),
    words,
    doubles: new Float64Array(buffer, byteOffset, byteLength / 8),
    atomic: new Atomic64(buffer, byteOffset, byteLength),
  };
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
export function loadShared(
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

/** The two words of 8 bytes on their way. */
const pair = new Uint32Array(2);

/**
 * Reads 2, 4 or 8 bytes from an aligned index in one access. Those of 2 and 4 are atomic, and so in
 * order with what is read next: a device reads the index of a ring, then the ring.
 * @returns `false` for any other bytes, of which nothing is read.
 */
export function loadWhole(
  shared: SharedWords,
  index: number,
  into: Uint8Array,
  at: number,
  count: number,
): boolean {
  if ((index & (count - 1)) !== 0) return false;
  switch (count) {
    case 2: {
      const value = Atomics.load(shared.halfwords, index >>> 1);
      into[at] = value;
      into[at + 1] = value >>> 8;
      return true;
    }
    case 4:
      putWord(Atomics.load(shared.words, index >>> 2), into, at);
      return true;
    case 8:
      loadShared(shared, index >>> 2, pair, 0, 2);
      putWord(pair[0]!, into, at);
      putWord(pair[1]!, into, at + 4);
      return true;
    default:
      return false;
  }
}

/**
 * Writes 2, 4 or 8 bytes to an aligned index in one access, atomically, and so in order with what was
 * written before: a device writes a ring, then the index of the ring.
 * @returns `false` for any other bytes, of which nothing is written.
 */
export function storeWhole(
  shared: SharedWords,
  index: number,
  from: Uint8Array,
  at: number,
  count: number,
): boolean {
  if ((index & (count - 1)) !== 0) return false;
  switch (count) {
    case 2:
      Atomics.store(shared.halfwords, index >>> 1, from[at]! | (from[at + 1]! << 8));
      return true;
    case 4:
      Atomics.store(shared.words, index >>> 2, wordOf(from, at));
      return true;
    case 8:
      shared.atomic.store(index >>> 3, wordOf(from, at + 4), wordOf(from, at));
      return true;
    default:
      return false;
  }
}

function putWord(word: number, into: Uint8Array, at: number): void {
  into[at] = word;
  into[at + 1] = word >>> 8;
  into[at + 2] = word >>> 16;
  into[at + 3] = word >>> 24;
}

/** The little-endian word at `at`, signed. */
function wordOf(from: Uint8Array, at: number): number {
  return from[at]! | (from[at + 1]! << 8) | (from[at + 2]! << 16) | (from[at + 3]! << 24);
}
