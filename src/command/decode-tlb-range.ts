import { Command } from '../arch/command.js';
import { get, high, low } from '../arch/field.js';
import type { Features } from '../registers/features.js';
import type { TlbRange } from '../tlb/tlb-range.js';

const { NUM, SCALE, Leaf, TTL, TG, Address } = Command.TLBI_NH_VA.fields;

/**
 * Decodes the range of TLBI_NH_VA and TLBI_NH_VAA into `into` (IHI 0070, section 4.4.1).
 * @returns `false` when the fields are CERROR_ILL: a granule, but neither a range nor a level.
 */
export function decodeTlbRange(words: Uint32Array, features: Features, into: TlbRange): boolean {
  into.leaf = get(words, 0, Leaf) === 1;
  into.granuleLog2 = 0;
  into.level = 0;
  into.firstHigh = high(words, 0, Address);
  into.firstLow = low(words, 0, Address);
  // Without RIL the fields of a range are RES0; one page of the smallest granule is named.
  const granule = features.RIL === 1 ? get(words, 0, TG) : 0;
  if (granule === 0) {
    into.lastHigh = into.firstHigh;
    into.lastLow = (into.firstLow | 0xfff) >>> 0;
    return true;
  }
  const granuleLog2 = 2 * granule + 10;
  const num = get(words, 0, NUM);
  const literalScale = get(words, 0, SCALE);
  const scale = Math.min(features.DS === 1 ? literalScale : literalScale & 0x1f, 39);
  const ttl = get(words, 0, TTL);
  // The 16K granule has blocks at level 1 only with 52-bit addresses.
  const level = granuleLog2 === 14 && ttl === 1 && features.DS === 0 ? 0 : ttl;
  if (num === 0 && scale === 0 && level === 0) return false;
  into.granuleLog2 = granuleLog2;
  into.level = level;
  alignDown(into, granuleLog2 + (level === 0 ? 0 : (granuleLog2 - 3) * (3 - level)));
  extend(into, (num + 1) * 2 ** (scale + granuleLog2));
  return true;
}

/** Clears the low `bits` bits of the first address: a range must be aligned to what it names. */
function alignDown(range: TlbRange, bits: number): void {
  range.firstLow = bits >= 32 ? 0 : (range.firstLow & (-1 << bits)) >>> 0;
  if (bits > 32) range.firstHigh = (range.firstHigh & (-1 << (bits - 32))) >>> 0;
}

/** Sets the last address of `bytes` (exact: a small number times a power of two); it does not wrap. */
function extend(range: TlbRange, bytes: number): void {
  const bytesHigh = Math.floor(bytes / 0x1_0000_0000);
  const sumLow = range.firstLow + (bytes % 0x1_0000_0000);
  const sumHigh = range.firstHigh + bytesHigh + (sumLow >= 0x1_0000_0000 ? 1 : 0);
  if (sumHigh >= 0x1_0000_0000) {
    range.lastHigh = 0xffff_ffff;
    range.lastLow = 0xffff_ffff;
    return;
  }
  const endLow = sumLow >>> 0;
  range.lastLow = (endLow - 1) >>> 0;
  range.lastHigh = endLow === 0 ? sumHigh - 1 : sumHigh;
}
