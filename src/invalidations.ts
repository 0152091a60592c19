import type { AccessesUnderWay } from './device/under-way.js';
import { TlbInvalidation } from './tlb/tlb-invalidation.js';
import type { TlbRange } from './tlb/tlb-range.js';
import type { Tlb } from './tlb/tlb.js';
import type { TranslationKeeper } from './tlb/translation-keeper.js';
import type { ConfigurationCache } from './transaction/configuration-cache.js';

/** Tells all who keep something of the emulated side what has been invalidated. */
export class Invalidations implements TranslationKeeper {
  /** Something was invalidated since the last CMD_SYNC. */
  isNew = false;

  private readonly tlb: TlbInvalidation;
  private readonly configurations: ConfigurationCache;
  private readonly accesses: AccessesUnderWay;
  private readonly keepers: readonly TranslationKeeper[];

  /** @param keepers those outside the vSMMU; the list may change. */
  constructor(
    tlb: Tlb,
    configurations: ConfigurationCache,
    accesses: AccessesUnderWay,
    keepers: readonly TranslationKeeper[],
  ) {
    this.tlb = new TlbInvalidation(tlb);
    this.configurations = configurations;
    this.accesses = accesses;
    this.keepers = keepers;
  }

  invalidateAll(): void {
    this.isNew = true;
    this.tlb.invalidateAll();
    this.accesses.invalidateAll();
    for (const keeper of this.keepers) keeper.invalidateAll();
  }

  invalidateAsid(asid: number): void {
    this.isNew = true;
    this.tlb.invalidateAsid(asid);
    this.accesses.invalidateAsid(asid);
    for (const keeper of this.keepers) keeper.invalidateAsid(asid);
  }

  invalidateRange(range: TlbRange): void {
    this.isNew = true;
    this.tlb.invalidateRange(range);
    this.accesses.invalidateRange(range);
    for (const keeper of this.keepers) keeper.invalidateRange(range);
  }

  invalidateStreams(first: number, last: number): void {
    this.isNew = true;
    this.configurations.invalidateStreams(first, last);
    this.accesses.invalidateStreams(first, last);
    for (const keeper of this.keepers) keeper.invalidateStreams(first, last);
  }

  invalidateContext(streamId: number, substreamId: number): void {
    this.isNew = true;
    this.configurations.invalidateContext(streamId, substreamId);
    this.accesses.invalidateContext(streamId, substreamId);
    for (const keeper of this.keepers) keeper.invalidateContext(streamId, substreamId);
  }
}
