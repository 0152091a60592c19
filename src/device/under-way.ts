import type { TlbRange } from '../tlb/tlb-range.js';
import type { TranslationKeeper } from '../tlb/translation-keeper.js';

/** What translations an access under way has used. */
export class AccessUnderWay {
  readonly streamId: number;
  /** Number of the CD in the stream's CD table. */
  readonly context: number;
  /** ASID of the CD; -1 when no stage translated. */
  asid = -1;
  /** Bytes that it has translated. */
  bytes = 0;
  /** 0, or negative what it ended with. */
  outcome = 0;
  /** Something that it uses was invalidated: the next CMD_SYNC waits for it. */
  invalidated = false;
  /** Neighbouring leaves that it uses: first page, last page (of 4 KiB), 1 when non-global; and so on. */
  private readonly leaves: number[] = [];

  constructor(streamId: number, context: number) {
    this.streamId = streamId;
    this.context = context;
  }

  /** The access uses the pages `first` to `last` of a leaf, which follow those before. */
  add(first: number, last: number, nonGlobal: number): void {
    const { leaves } = this;
    const { length } = leaves;
    if (length > 0 && leaves[length - 1] === nonGlobal) {
      leaves[length - 2] = last;
      return;
    }
    leaves.push(first, last, nonGlobal);
  }

  /** Whether it uses a leaf of an address space, or one that is non-global. */
  usesLeaf(nonGlobal: boolean): boolean {
    if (!nonGlobal) return this.leaves.length > 0;
    for (let i = 2; i < this.leaves.length; i += 3) if (this.leaves[i] === 1) return true;
    return false;
  }

  /** Whether it uses a leaf that the pages `first` to `last` of `asid` (-1 for any) lie in. */
  usesPages(first: number, last: number, asid: number): boolean {
    const { leaves } = this;
    const own = asid < 0 || asid === this.asid;
    for (let i = 0; i < leaves.length; i += 3) {
      if (!own && leaves[i + 2] === 1) continue;
      if (leaves[i]! <= last && first <= leaves[i + 1]!) return true;
    }
    return false;
  }
}

/**
 * The accesses of devices that take time. One that uses what a command invalidates keeps the next
 * CMD_SYNC from completing until it is done (IHI 0070, section 4.7.3); the others do not.
 */
export class AccessesUnderWay implements TranslationKeeper {
  private readonly accesses = new Set<AccessUnderWay>();
  private readonly resume: () => void;
  private awaited = 0;

  /** @param resume called when the last access that a CMD_SYNC has to wait for is done. */
  constructor(resume: () => void) {
    this.resume = resume;
  }

  /** Accesses under way. */
  get count(): number {
    return this.accesses.size;
  }

  /** Whether a CMD_SYNC has to wait. */
  get mustWait(): boolean {
    return this.awaited > 0;
  }

  /** `access` has translated all that it needs, and begins. */
  begin(access: AccessUnderWay): void {
    this.accesses.add(access);
  }

  /** `access` is done. */
  end(access: AccessUnderWay): void {
    this.accesses.delete(access);
    if (!access.invalidated) return;
    this.awaited--;
    if (this.awaited === 0) this.resume();
  }

  // A set that is empty is iterated over all the same: without the checks each TLBI would pay for it.

  invalidateAll(): void {
    if (this.accesses.size === 0) return;
    for (const access of this.accesses) if (access.usesLeaf(false)) this.await(access);
  }

  invalidateAsid(asid: number): void {
    if (this.accesses.size === 0) return;
    for (const access of this.accesses) {
      if (access.asid === asid && access.usesLeaf(true)) this.await(access);
    }
  }

  invalidateRange(range: TlbRange): void {
    if (this.accesses.size === 0) return;
    const first = pageOf(range.firstHigh, range.firstLow);
    // A range around the end of the tagged addresses names all of them.
    const isWhole = (range.lastHigh >>> 0) - (range.firstHigh >>> 0) >= 0x0100_0000;
    const last = pageOf(range.lastHigh, range.lastLow);
    for (const access of this.accesses) {
      const used =
        isWhole || last < first
          ? access.usesPages(0, Infinity, range.asid)
          : access.usesPages(first, last, range.asid);
      if (used) this.await(access);
    }
  }

  invalidateStreams(first: number, last: number): void {
    for (const access of this.accesses) {
      if (access.streamId >= first && access.streamId <= last) this.await(access);
    }
  }

  invalidateContext(streamId: number, substreamId: number): void {
    for (const access of this.accesses) {
      if (access.streamId !== streamId) continue;
      if (substreamId < 0 || access.context === substreamId) this.await(access);
    }
  }

  private await(access: AccessUnderWay): void {
    if (access.invalidated) return;
    access.invalidated = true;
    this.awaited++;
  }
}

/** Number of the 4 KiB page of an address, without its top byte. */
export function pageOf(high: number, low: number): number {
  return (high & 0x00ff_ffff) * 0x10_0000 + (low >>> 12);
}
