/**
 * Where the cache looks for an address. Both functions are hashes: whatever is found is compared in
 * full, so that two addresses that meet cost a look-up and never give a wrong answer.
 */

// Odd numbers with their bits spread out, as of Knuth's multiplicative hashing.
const MIX_HIGH = 0x9e37_79b1;
const MIX_SLOT = 0x85eb_ca77;
const MIX_SPAN = 0xc2b2_ae3d;

/**
 * Row of the micro-TLB for a page of 4 KiB, before it is cut to the number of rows. Neighbouring
 * pages have neighbouring rows, other context slots begin elsewhere.
 */
export function rowOf(slot: number, high: number, low: number): number {
  return (low >>> 12) ^ Math.imul(high, MIX_HIGH) ^ Math.imul(slot, MIX_SLOT);
}

/**
 * Key in the shadow cache of the span of 2^`spanLog2` bytes around `high:low`: 30 bits, so that
 * JavaScript engines keep it as a small integer; a Map of large numbers takes twice the time. For pages
 * of 4 KiB below 4 GiB in the first 1024 slots no two keys are equal.
 */
export function keyOf(slot: number, high: number, low: number, spanLog2: number): number {
  const first = spanLog2 >= 32 ? 0 : (low & (-1 << spanLog2)) >>> 12;
  const above = spanLog2 > 32 ? high & (-1 << (spanLog2 - 32)) : high;
  const key =
    first ^
    (slot << 20) ^
    Math.imul(slot >>> 10, MIX_SLOT) ^
    Math.imul(above & 0x00ff_ffff, MIX_HIGH) ^
    Math.imul(spanLog2 - 12, MIX_SPAN);
  return key & 0x3fff_ffff;
}
