import type { AddressHalf } from '../transaction/context.js';
import { Permission } from '../transaction/permissions.js';
import type { Translation } from '../transaction/translation.js';

/** log2 of the words of an entry: 64 bytes, a line of the processor's cache. */
export const ENTRY_LOG2 = 4;

/** The words of an entry, counted from its first. All are signed. */
export const Entry = {
  /** Context slot that it belongs to; 0 for none. */
  slot: 0,
  /** Bits 31:0 of the first input address. */
  low: 1,
  /** Bits 63:32 of it; bit 55 fills the top byte. */
  high: 2,
  /** Bits 31:0 of an input address that must be those of the first. */
  lowMask: 3,
  /** Bits 63:32 that must be; without the top byte where it is ignored. */
  highMask: 4,
  /** The generation that it was made in; 0 once it is dead. */
  born: 5,
  /** Index of the floor of its ASID, or of the global entries. */
  floor: 6,
  /** {@link Permission} bits that a hit may use; above them, from bit 8, all that the walk gave. */
  permissions: 7,
  /** Bits 31:0 of the first output address. */
  outputLow: 8,
  /** Bits 51:32 of it. */
  outputHigh: 9,
  /** Bits 63:32 of an input address that go to the output address. */
  offsetHigh: 10,
  /** 1 when the micro-TLB has answered with it since the shadow cache last ordered it. */
  used: 11,
  /** Sizes, level and attributes: see {@link Leaf}. */
  leaf: 12,
  /** Its key in the shadow cache. */
  key: 13,
  /** Bits 31:0 of the descriptor of the first leaf. */
  descriptorLow: 14,
  /** Bits 63:32 of it. */
  descriptorHigh: 15,
} as const;

/** Where the parts of {@link Entry.leaf} begin. */
const Leaf = {
  spanLog2: 0,
  leafLog2: 6,
  granuleLog2: 12,
  level: 17,
  shareability: 19,
  nonGlobal: 21,
  contiguous: 22,
  attribute: 23,
} as const;

const WRITES = Permission.unprivilegedWrite | Permission.privilegedWrite;
const UNPRIVILEGED =
  Permission.unprivilegedRead | Permission.unprivilegedWrite | Permission.unprivilegedExecute;
/** What accesses can need. */
const USABLE = 0x3f;

/** log2 of the smallest span of an entry, in bytes. */
export const MIN_SPAN_LOG2 = 12;

/** The bit of a span of 2^`spanLog2` bytes in a set of spans: bit n is one of 2^(12+n) bytes. */
export function spanBitOf(spanLog2: number): number {
  return 1 << (spanLog2 - MIN_SPAN_LOG2);
}

/** log2 of the bytes of the smallest span in a set that is not empty. */
export function smallestSpanLog2(spans: number): number {
  return MIN_SPAN_LOG2 + 31 - Math.clz32(spans & -spans);
}

/** Bits 31:0 of an address that a span of 2^`spanLog2` bytes leaves alone. */
export function lowMaskOf(spanLog2: number): number {
  return spanLog2 >= 32 ? 0 : -1 << spanLog2;
}

/** Bits 63:32 of an address that lie within a span of 2^`spanLog2` bytes. */
export function offsetHighOf(spanLog2: number): number {
  return spanLog2 > 32 ? (1 << (spanLog2 - 32)) - 1 : 0;
}

/** log2 of the bytes that the entry at `words[at]` covers. */
export function spanLog2Of(words: Int32Array, at: number): number {
  return words[at + Entry.leaf]! & 0x3f;
}

/** Whether the entry at `words[at]` is tagged with its ASID: not global. */
export function isNonGlobal(words: Int32Array, at: number): boolean {
  return (words[at + Entry.leaf]! & (1 << Leaf.nonGlobal)) !== 0;
}

/**
 * Writes which addresses the entry at `words[at]` covers: the span of 2^`spanLog2` bytes around the
 * input address `high:low`.
 */
export function writeTag(
  words: Int32Array,
  at: number,
  high: number,
  low: number,
  spanLog2: number,
): void {
  const lowMask = lowMaskOf(spanLog2);
  const offsetHigh = offsetHighOf(spanLog2);
  words[at + Entry.low] = low & lowMask;
  words[at + Entry.high] = ((high << 8) >> 8) & ~offsetHigh;
  words[at + Entry.lowMask] = lowMask;
  words[at + Entry.offsetHigh] = offsetHigh;
}

/**
 * Writes what a walk found for an address that the entry at `words[at]` covers.
 * @param half of the address space that the address lies in.
 * @param spanLog2 log2 of the bytes that the answer holds for: a leaf, or a contiguous run.
 */
export function writeAnswer(
  words: Int32Array,
  at: number,
  half: AddressHalf,
  spanLog2: number,
  result: Translation,
): void {
  const { permissions, outputAddress, leafLog2, descriptorLow, descriptorHigh } = result;
  let usable = permissions & USABLE;
  // The first write of a clean page must come to a walk, which makes the page dirty.
  if ((permissions & Permission.clean) !== 0) usable &= ~WRITES;
  // E0PD lets no unprivileged access get as far as the permissions of the leaf.
  if (half.privilegedOnly) usable &= ~UNPRIVILEGED;
  const lowMask = lowMaskOf(spanLog2);
  const offsetHigh = offsetHighOf(spanLog2);
  // With the tag as far as that depends on the context: another one may have had the slot before.
  words[at + Entry.highMask] = (half.topByteIgnored ? 0x00ff_ffff : -1) & ~offsetHigh;
  words[at + Entry.permissions] = usable | (permissions << 8);
  words[at + Entry.outputLow] = outputAddress & lowMask;
  words[at + Entry.outputHigh] = (outputAddress / 0x1_0000_0000) & ~offsetHigh;
  words[at + Entry.leaf] =
    (spanLog2 << Leaf.spanLog2) |
    (leafLog2 << Leaf.leafLog2) |
    (result.granuleLog2 << Leaf.granuleLog2) |
    (result.level << Leaf.level) |
    (result.shareability << Leaf.shareability) |
    (result.nonGlobal << Leaf.nonGlobal) |
    (result.contiguous << Leaf.contiguous) |
    (result.attribute << Leaf.attribute);
  words[at + Entry.descriptorLow] = descriptorLow;
  words[at + Entry.descriptorHigh] = descriptorHigh;
  if (spanLog2 === leafLog2) return;
  // The first descriptor of a run: its number within the run is 0.
  words[at + Entry.descriptorLow] = descriptorLow & (lowMask | ~(-1 << leafLog2));
  words[at + Entry.descriptorHigh] = descriptorHigh & ~offsetHigh;
}

/** Whether the entry at `words[at]`, of one leaf, says of its address in its context what `result` does. */
export function isAnswer(words: Int32Array, at: number, result: Translation): boolean {
  return (
    words[at + Entry.descriptorLow] === (result.descriptorLow | 0) &&
    words[at + Entry.descriptorHigh] === (result.descriptorHigh | 0) &&
    words[at + Entry.permissions]! >> 8 === result.permissions
  );
}

/** Fills `result` with what the entry at `words[at]` says of the input address `high:low`. */
export function readEntry(
  words: Int32Array,
  at: number,
  high: number,
  low: number,
  result: Translation,
): void {
  const leaf = words[at + Entry.leaf]!;
  const leafLog2 = (leaf >> Leaf.leafLog2) & 0x3f;
  // What lies above the leaf's own bytes: the number of the leaf within its run.
  const offsetLow = low & ~words[at + Entry.lowMask]!;
  const offsetHigh = high & words[at + Entry.offsetHigh]!;
  result.outputAddress =
    (words[at + Entry.outputHigh]! | offsetHigh) * 0x1_0000_0000 +
    ((words[at + Entry.outputLow]! | offsetLow) >>> 0);
  result.bypassed = false;
  result.leafLog2 = leafLog2;
  result.granuleLog2 = (leaf >> Leaf.granuleLog2) & 0x1f;
  result.level = (leaf >> Leaf.level) & 3;
  result.shareability = (leaf >> Leaf.shareability) & 3;
  result.nonGlobal = (leaf >> Leaf.nonGlobal) & 1;
  result.contiguous = (leaf >> Leaf.contiguous) & 1;
  result.attribute = leaf >>> Leaf.attribute;
  result.permissions = words[at + Entry.permissions]! >> 8;
  result.descriptorLow =
    (words[at + Entry.descriptorLow]! | (offsetLow & lowMaskOf(leafLog2))) >>> 0;
  result.descriptorHigh =
    (words[at + Entry.descriptorHigh]! | (offsetHigh & ~offsetHighOf(leafLog2))) >>> 0;
}
