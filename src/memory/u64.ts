import { Exchange } from './guest-memory.js';

/**
 * 64-bit values where JavaScript needs a BigInt for them: at the edge of the library (what embedders
 * give, what people type, what is printed) and in atomic operations on shared memory. The only file
 * that uses BigInt; everywhere else a 64-bit value is two 32-bit halves.
 */

/** A 64-bit value as embedders give it: a number up to 2^53-1, a bigint up to 2^64-1. */
export type U64 = number | bigint;

/** A 64-bit value that is always a bigint. */
export type Wide = bigint;

/** The two 32-bit halves of a 64-bit value. */
export interface Halves {
  /** Bits 63:32. */
  high: number;
  /** Bits 31:0. */
  low: number;
}

/**
 * Splits `value` into `into`, and returns `into`.
 * @param name what the value is, for the error message.
 * @throws RangeError when `value` is negative, no integer, 2^64 or more, or a number above 2^53 that
 * a double may have rounded: give a bigint then.
 * @throws TypeError when `value` is neither a number nor a bigint.
 */
export function splitU64(name: string, value: U64, into: Halves): Halves {
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new RangeError(
        `${name} is ${value}: it must be an integer from 0 to 2^53-1; give a bigint above that`,
      );
    }
    into.high = Math.floor(value / 0x1_0000_0000);
    into.low = value >>> 0;
    return into;
  }
  if (typeof value !== 'bigint') {
    throw new TypeError(`${name} is a ${typeof value}: give a number or a bigint`);
  }
  if (value < 0n || value >= 1n << 64n) {
    throw new RangeError(`${name} is ${value}: it must be below 2^64, and not negative`);
  }
  into.high = Number(value >> 32n);
  into.low = Number(value & 0xffff_ffffn);
  return into;
}

/** The 64-bit value `high:low` as a bigint. */
export function joinU64(high: number, low: number): bigint {
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}

/** The 64-bit value `high:low` in hexadecimal, with 0x and without leading zeros. */
export function hexU64(high: number, low: number): string {
  return high >>> 0 === 0
    ? `0x${(low >>> 0).toString(16)}`
    : `0x${(high >>> 0).toString(16)}${(low >>> 0).toString(16).padStart(8, '0')}`;
}

/**
 * Parses a non-negative integer below 2^64, decimal or with 0x, into `into`.
 * @returns `false` when `text` is not such a number; `into` is then left alone.
 */
export function parseU64(text: string, into: Halves): boolean {
  if (!/^(0x[0-9a-f]+|[0-9]+)$/i.test(text)) return false;
  const value = BigInt(text);
  if (value >= 1n << 64n) return false;
  splitU64('value', value, into);
  return true;
}

/** Atomic 64-bit operations on shared memory, with values as 32-bit halves. They allocate. */
export class Atomic64 {
  private readonly values: BigUint64Array;

  /** Both the offset and the length are bytes, multiples of 8. */
  constructor(buffer: SharedArrayBuffer, byteOffset: number, byteLength: number) {
    this.values = new BigUint64Array(buffer, byteOffset, byteLength / 8);
  }

  /** Reads value number `index` into `into`: bits 31:0 at index `at`, bits 63:32 after it. */
  load(index: number, into: Uint32Array, at: number): void {
    const value = Atomics.load(this.values, index);
    into[at] = Number(value & 0xffff_ffffn);
    into[at + 1] = Number(value >> 32n);
  }

  /** Writes value number `index`; the halves may be signed. */
  store(index: number, high: number, low: number): void {
    Atomics.store(this.values, index, joinU64(high, low));
  }

  /** {@link GuestMemory.compareExchange} of value number `index`. */
  compareExchange(index: number, words: Uint32Array, at: number): number {
    const expected = joinU64(words[at + 1]!, words[at]!);
    const replacement = joinU64(words[at + 3]!, words[at + 2]!);
    const found = Atomics.compareExchange(this.values, index, expected, replacement);
    return found === expected ? Exchange.swapped : Exchange.changed;
  }
}
