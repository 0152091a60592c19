/** Which entries a full TLB gives up: one list in the order of use, and a quota for each stream. */
export interface Item {
  readonly page: bigint;
  readonly streamId: number;
  /** The micro-TLB has answered with it since it was last put in order. */
  used: boolean;
  /** An invalidation of its page; 'asid': one of its ASID. */
  ended: 'no' | 'page' | 'asid';
}

/** Entries that are passed over at most, because they are in use. */
const CHANCES = 16;

export class LruModel {
  /** Least recently used first. */
  order: Item[] = [];
  private readonly limit: number;
  private readonly quota: number;

  constructor(limit: number, quota: number) {
    this.limit = limit;
    this.quota = quota;
  }

  item(page: bigint): Item | undefined {
    return this.order.find((one) => one.page === page);
  }

  /** What the micro-TLB answers with stays where it is. */
  probed(page: bigint): void {
    this.item(page)!.used = true;
  }

  /** What the shadow cache answers with is the last to go from then on. */
  found(page: bigint): void {
    const item = this.item(page)!;
    item.used = false;
    this.renew(item);
  }

  /**
   * Makes room, if need be, for an entry.
   * @returns pages of which one goes; more than one only when they have ended.
   */
  insert(page: bigint, streamId: number): bigint[] {
    const victims = this.order.length < this.limit ? [] : this.victims(streamId);
    if (victims.length === 1) this.remove(victims[0]!);
    this.order.push({ page, streamId, used: false, ended: 'no' });
    return victims;
  }

  remove(page: bigint): void {
    this.order = this.order.filter((one) => one.page !== page);
  }

  private victims(streamId: number): bigint[] {
    const ended = this.order.filter((one) => one.ended === 'page');
    if (ended.length > 0) return ended.map(({ page }) => page);
    for (let i = 0; i < CHANCES; i++) {
      const [oldest] = this.candidates(streamId) as [Item];
      if (!oldest.used || oldest.ended !== 'no') break;
      oldest.used = false;
      this.renew(oldest);
    }
    return [this.candidates(streamId)[0]!.page];
  }

  /** A stream with as much as its quota gives up what is its own. */
  private candidates(streamId: number): Item[] {
    const own = this.order.filter((one) => one.streamId === streamId);
    return own.length >= this.quota ? own : this.order;
  }

  private renew(item: Item): void {
    this.remove(item.page);
    this.order.push(item);
  }
}
