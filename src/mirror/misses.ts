import { Access, Permission } from '../transaction/permissions.js';
import { Outcome, Translation } from '../transaction/translation.js';
import type { MirrorWork } from './mirror-work.js';
import { AreaPermission } from './sink.js';
import type { SinkWriter } from './sink-writer.js';
import type { StreamMirror } from './stream-mirror.js';

/** Misses that wait at most. */
const LIMIT = 1024;
/** Areas that make room at a time, in a sink that has as many as there may be. */
const EVICTED = 64;
const PAGE = 4096;

/** What a device has missed, and what its sinks are to map therefore. */
export class Misses {
  private readonly stream: StreamMirror;
  private readonly work: MirrorWork;
  private readonly result = new Translation();
  /** Those that wait for a sink: high, low, permissions. */
  private readonly waiting: number[] = [];
  /** Where the areas are that make room next. */
  private hand = 0;

  constructor(stream: StreamMirror, work: MirrorWork) {
    this.stream = stream;
    this.work = work;
  }

  get isEmpty(): boolean {
    return this.waiting.length === 0;
  }

  /**
   * Translates an access as the device makes it; a fault is recorded.
   * @param permissions {@link AreaPermission} bits that it needs.
   * @returns whether it is allowed.
   */
  isAllowed(high: number, low: number, permissions: number): boolean {
    const { stream, result } = this;
    for (const bit of [AreaPermission.write, AreaPermission.read]) {
      if ((permissions & bit) === 0) continue;
      const kind = bit === AreaPermission.write ? Access.write : Access.read;
      const { streamId, substreamId } = stream;
      const access = kind | stream.privileged;
      const { host } = this.work;
      const outcome = host.translate(streamId, substreamId, high | 0, low | 0, access, result);
      if (outcome !== Outcome.translated) return false;
    }
    return true;
  }

  /** The page is to be mapped. @returns `false` when too many wait already. */
  add(high: number, low: number, permissions: number): boolean {
    if (this.waiting.length >= 3 * LIMIT) return false;
    this.waiting.push(high, low, permissions);
    return true;
  }

  /** Maps what was missed, as far as no sink is busy. */
  take(): void {
    const { stream, waiting } = this;
    while (waiting.length > 0 && !stream.isBusy) {
      const permissions = waiting.pop()!;
      const low = waiting.pop()!;
      const high = waiting.pop()!;
      // The guest may have gone on since.
      if (!stream.isOnDemand || !this.isAllowed(high, low, permissions)) continue;
      if (!this.result.bypassed) this.map(high, low, (permissions & AreaPermission.write) !== 0);
    }
  }

  /** Maps the leaf that the last translation found. */
  private map(high: number, low: number, isWrite: boolean): void {
    const { stream, work } = this;
    const { permissions, leafLog2, outputAddress, nonGlobal } = this.result;
    const space = stream.space!;
    const bytes = 2 ** leafLog2;
    const page = pageIova(high, low);
    const iova = page - (page % bytes);
    let allowed = (permissions & stream.bits.read) !== 0 ? AreaPermission.read : 0;
    // A clean page must come again when it is written.
    const isDirty = isWrite || (permissions & Permission.clean) === 0;
    if (isDirty && (permissions & stream.bits.write) !== 0) allowed |= AreaPermission.write;
    if (nonGlobal === 0) space.markGlobal();
    space.largestLeaf = Math.max(space.largestLeaf, bytes);
    for (const writer of stream.writers) {
      const { pageSize } = writer.limits;
      let from = iova;
      let to = iova + bytes;
      if (pageSize <= bytes) {
        work.updates.wanted.one(iova, bytes, outputAddress - (outputAddress % bytes), allowed);
      } else {
        // A page of the sink is mapped when all of it can be.
        from = iova - (iova % pageSize);
        to = from + pageSize;
        work.updates.wanted.ofMemory(space, stream.bits, from, to);
      }
      work.updates.compare(writer, from, to);
      if (writer.held.size + 1 > writer.limits.areas) this.makeRoom(writer, from, to);
      work.updates.apply(stream, writer);
    }
  }

  /** Plans to unmap a few areas, those after the ones that went last, but none of `[iova, end)`. */
  private makeRoom({ held, comparison, limits }: SinkWriter, iova: number, end: number): void {
    held.seek(this.hand);
    const count = Math.min(EVICTED, Math.ceil(limits.areas / 2));
    for (let i = 0; i < count; i++) {
      if (held.isAtEnd) held.seek(0);
      if (held.isAtEnd) return;
      const { chunk, index } = held;
      const start = chunk.iovas[index]!;
      const length = chunk.lengths[index]!;
      this.hand = start + length;
      if (start >= end || start + length <= iova) comparison.evict(start, length);
      held.next();
    }
  }
}

/** The page of an input address as an IOVA: the top byte, which may be a tag, is that of the canonical address. */
export function pageIova(high: number, low: number): number {
  return (((high << 8) >> 8) >>> 0) * 0x1_0000_0000 + ((low & -PAGE) >>> 0);
}
