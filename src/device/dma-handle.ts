import type { U64 } from '../memory/u64.js';
import type { StallListener } from '../transaction/stall.js';
import { Outcome, type Translation } from '../transaction/translation.js';
import { Segments } from './segments.js';
import { checkAccess, checkLength, TranslatingHandle } from './translating-handle.js';
import { AccessUnderWay, pageOf } from './under-way.js';

/** What a device holds for accesses that take time, besides translations. */
export class DmaHandle extends TranslatingHandle {
  /**
   * An access that takes time: translates a range, and calls `perform` with its guest-physical
   * segments. Until what that returns has settled the access is under way: a CMD_SYNC that follows an
   * invalidation of what it uses waits for it. An access that stalls waits for the guest.
   * @param perform gets what could be translated; it is not called when that is nothing. What it
   * throws, or is rejected with, comes out of the promise.
   * @returns the bytes that `perform` was given: `length`, or less when the access faults there.
   * @throws RangeError, in the promise, when `iova`, `length` or `access` is out of range.
   * @throws Error, in the promise, when the handle is detached, also while the access stalls.
   */
  async dma(
    iova: U64,
    length: number,
    access: number,
    perform: (segments: Segments) => Promise<void> | void,
  ): Promise<number> {
    checkLength(length);
    checkAccess(access);
    const segments = new Segments();
    for (let end = length; ;) {
      const { promise, resolve } = eventually<Translation>();
      const attempt = await this.attempt(iova, end, access, segments, perform, resolve);
      if (attempt.outcome !== -Outcome.stalled) return attempt.bytes;
      const answer = await promise;
      // Whatever was translated before may be invalidated by now: once more from the start.
      if (answer.outcome === Outcome.translated) continue;
      this.lastFault = answer;
      end = attempt.bytes;
    }
  }

  /** Performs the access, unless it stalls: then `answered` is told how that ends. */
  private async attempt(
    iova: U64,
    length: number,
    access: number,
    segments: Segments,
    perform: (segments: Segments) => Promise<void> | void,
    answered: StallListener,
  ): Promise<AccessUnderWay> {
    const { accessesUnderWay } = this.host;
    const underWay = new AccessUnderWay(this.streamId, Math.max(0, this.substreamId));
    // Before the first translation: a fault's interrupt may bring an invalidation of those before it.
    accessesUnderWay.begin(underWay);
    try {
      this.follow(iova, length, access, segments, underWay, answered);
      const stalls = underWay.outcome === -Outcome.stalled;
      if (!stalls && underWay.bytes > 0) await perform(segments);
    } finally {
      accessesUnderWay.end(underWay);
    }
    return underWay;
  }

  /** As {@link translateRange}, with a note of what is used. */
  private follow(
    iova: U64,
    length: number,
    access: number,
    into: Segments,
    underWay: AccessUnderWay,
    answered: StallListener,
  ): void {
    this.begin(iova);
    into.clear();
    while (underWay.bytes < length) {
      const address = this.locate(access, answered);
      if (address < 0) {
        underWay.outcome = address;
        return;
      }
      const bytes = Math.min(this.reach[0]!, length - underWay.bytes);
      into.add(address, bytes);
      underWay.bytes += bytes;
      if (this.spanLog2 < 64) {
        const span = 2 ** (this.spanLog2 - 12);
        const page = pageOf(this.high, this.low);
        const first = page - (page % span);
        underWay.asid = this.asid;
        underWay.add(first, first + span - 1, this.nonGlobal);
      }
      this.advance(bytes);
    }
  }
}

/** A promise, and what fulfils it. */
function eventually<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((fulfil) => {
    resolve = fulfil;
  });
  return { promise, resolve };
}
