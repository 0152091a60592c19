import type { TlbRange } from './tlb-range.js';

/**
 * Who keeps translations and is told when they end: a TLB, a mirror of the tables, a cache of the
 * embedder. By the time a CMD_SYNC completes nobody may use what was named before it.
 */
export interface TranslationKeeper {
  /** TLBI_NSNH_ALL, TLBI_NH_ALL: everything. */
  invalidateAll(): void;
  /** TLBI_NH_ASID: the non-global entries of an ASID. */
  invalidateAsid(asid: number): void;
  /** TLBI_NH_VA, TLBI_NH_VAA: what `range` names. The object is reused: do not keep it. */
  invalidateRange(range: TlbRange): void;
  /** CFGI_STE*, CFGI_ALL: what was made from the STEs `first` to `last` of the stream table. */
  invalidateStreams(first: number, last: number): void;
  /** CFGI_CD, CFGI_CD_ALL: what was made from a CD of a stream; -1 for all of its CDs. */
  invalidateContext(streamId: number, substreamId: number): void;
}
