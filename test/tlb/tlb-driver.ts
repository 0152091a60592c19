/** A TLB as the translation of an access uses it. */
import type { CacheOptions } from '../../src/tlb/cache-options.js';
import { rowOf } from '../../src/tlb/keys.js';
import { Tlb } from '../../src/tlb/tlb.js';
import { Entry, readEntry, writeAnswer, writeTag } from '../../src/tlb/entry.js';
import { TlbRange } from '../../src/tlb/tlb-range.js';
import { Translation } from '../../src/transaction/translation.js';
import {
  answerOf,
  halfOf,
  halvesOf,
  neededOf,
  spanLog2Of,
  translationAt,
  type Answer,
  type Leaf,
  type Named,
} from './tlb-model.js';

/** An open TLB with a context for each ASID, in slots 1 and so on. */
export function tlbOf(asids: readonly number[], options: CacheOptions = { entries: 1000 }): Tlb {
  // As many as any test needs; a default TLB takes milliseconds to make.
  const tlb = new Tlb(options, 200);
  tlb.generations.setOpen(true);
  const slots = asids.map((asid, i) => tlb.attach(cdOf(i), asid));
  if (slots.some((slot, i) => slot !== i + 1)) throw new Error(`the slots are ${slots.join()}`);
  return tlb;
}

/** A CD like no other, for {@link Tlb.attach}. */
export function cdOf(content: number): Uint32Array {
  return new Uint32Array(16).fill(content);
}

/** Where the entry that answers begins, micro-TLB first; -1 when there is none: as a transaction asks. */
export function lookUp(tlb: Tlb, slot: number, address: bigint, access = 0): number {
  const { high, low } = halvesOf(address);
  const needed = neededOf(access);
  const at = tlb.probe(slot, high, low, needed);
  return at >= 0 ? at : tlb.find(slot, high, low, needed);
}

/** A miss, whatever the rights. */
export function miss(tlb: Tlb, slot: number, address: bigint): void {
  const { high, low } = halvesOf(address);
  if (tlb.find(slot, high, low, 0) >= 0) throw new Error('no right is enough');
}

/** What the entry at `at` answers for an address. */
export function readAnswer(tlb: Tlb, at: number, address: bigint): Answer {
  const { high, low } = halvesOf(address);
  const result = new Translation();
  readEntry(tlb.store.words, at, high, low, result);
  return answerOf(result);
}

/** The output address of an access; -1 when the TLB does not know it. */
export function outputOf(tlb: Tlb, slot: number, address: bigint, access = 0): number {
  const at = lookUp(tlb, slot, address, access);
  return at < 0 ? -1 : readAnswer(tlb, at, address).outputAddress;
}

/** Keeps what the walk for `address` found: the miss before it must have been just now. */
export function keep(
  tlb: Tlb,
  slot: number,
  leaf: Leaf,
  address = leaf.first,
  streamId = 1,
  ticket = tlb.ticket,
): number {
  const { high, low } = halvesOf(address);
  const result = translationAt(leaf, address);
  const revived = tlb.revive(ticket, result);
  if (revived >= 0) return revived;
  const span = spanLog2Of(leaf);
  return tlb.insert(ticket, slot, streamId, halfOf(leaf), high, low, span, result);
}

/** A miss and what comes of it. */
export function fill(
  tlb: Tlb,
  slot: number,
  leaf: Leaf,
  address = leaf.first,
  streamId = 1,
): number {
  if (lookUp(tlb, slot, address, 0) >= 0) throw new Error('the TLB knows the address');
  return keep(tlb, slot, leaf, address, streamId);
}

/** Writes an entry of generation 1 of a slot, made from the walk for the address `from`. */
export function writeEntry(
  words: Int32Array,
  at: number,
  slot: number,
  leaf: Leaf,
  from = leaf.first,
): void {
  const { high, low } = halvesOf(from);
  words[at + Entry.slot] = slot;
  words[at + Entry.born] = 1;
  writeTag(words, at, high, low, spanLog2Of(leaf));
  writeAnswer(words, at, halfOf(leaf), spanLog2Of(leaf), translationAt(leaf, from));
}

/** What commands give to keepers. */
export function rangeOf(named: Named): TlbRange {
  const range = new TlbRange();
  range.asid = named.asid;
  // As the decoder of commands leaves them: unsigned.
  range.firstHigh = halvesOf(named.first).high >>> 0;
  range.firstLow = halvesOf(named.first).low >>> 0;
  range.lastHigh = halvesOf(named.last).high >>> 0;
  range.lastLow = halvesOf(named.last).low >>> 0;
  range.granuleLog2 = named.granuleLog2;
  range.level = named.level;
  return range;
}

/** Pages below 4 GiB that have the row of a page in any micro-TLB of up to 2^16 rows. */
export function sameRow(slot: number, first: bigint): bigint[] {
  const { high, low } = halvesOf(first);
  const others = [1n, 2n, 3n, 4n].map((n) => first + (n << 28n));
  for (const other of others) {
    const halves = halvesOf(other);
    const distance = rowOf(slot, halves.high, halves.low) ^ rowOf(slot, high, low);
    if ((distance & 0xffff) !== 0) throw new Error('the pages have two rows');
  }
  return others;
}
