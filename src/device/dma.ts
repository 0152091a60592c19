import type { U64 } from '../memory/u64.js';

/**
 * How a device model reaches guest memory. A `StreamHandle` is one; something of the embedder's may stand in
 * for it, such as one that goes through the IOAS of a mirror, or one that checks. Outcomes of faults are
 * negative numbers.
 */
export interface Dma {
  /** Reads all of `into`. @returns bytes read: less than its length when the access faults there. */
  read(iova: U64, into: Uint8Array): number;
  /** Writes all of `from`. @returns bytes written, as {@link read}. */
  write(iova: U64, from: Uint8Array): number;
  /** Reads a 16-bit value, an aligned one in one access. @returns it, or the outcome of a fault. */
  load16(iova: U64): number;
  /** Reads a 32-bit value, as {@link load16}. */
  load32(iova: U64): number;
  /** Writes a 16-bit value, an aligned one in one access. @returns 0, or the outcome of a fault. */
  store16(iova: U64, value: number): number;
  /** Writes a 32-bit value, as {@link store16}. */
  store32(iova: U64, value: number): number;
}
