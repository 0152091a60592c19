import { hex } from '../memory/hex.js';
import { checkStreamId, checkSubstreamId } from '../stream-id.js';
import type { TlbRange } from '../tlb/tlb-range.js';
import type { TranslationKeeper } from '../tlb/translation-keeper.js';
import { SPACE } from './address-space.js';
import { completeOptions, type MirrorOptions, type StreamMirrorOptions } from './mirror-options.js';
import type { MirrorHost } from './mirror-host.js';
import { MirrorWork } from './mirror-work.js';
import { mirrorStatsOf, type MirrorStats } from './mirror-stats.js';
import { StreamMirror } from './stream-mirror.js';

/**
 * Keeps the IOAS of emulated devices in step with the guest's page tables, in sinks: see
 * `docs/mirror.md`. `Smmu.mirror` makes one. Commands of the guest reach it by themselves, and a
 * CMD_SYNC completes only when the sinks have done what came before it.
 */
export class Mirror implements TranslationKeeper {
  private readonly work: MirrorWork;
  /** By StreamID. */
  private readonly streams = new Map<number, StreamMirror[]>();

  /** @internal */
  constructor(host: MirrorHost, options: MirrorOptions) {
    this.work = new MirrorWork(host, completeOptions(options));
  }

  /**
   * Mirrors a stream from now on, and brings its sinks in step with its tables unless the policy is
   * `demand`. Streams whose CDs are equal share what is kept of their tables.
   * @param streamId StreamID of the device, below 2^32.
   * @throws RangeError or TypeError when an argument is out of range, or a sink is none.
   * @throws Error when this stream, or a sink, is mirrored already.
   */
  attach(streamId: number, options: StreamMirrorOptions): StreamMirror {
    checkStreamId(streamId);
    checkSubstreamId(options.substreamId ?? -1);
    const { work } = this;
    const stream: StreamMirror = new StreamMirror(work, streamId, options, () => {
      const left = this.streams.get(streamId)!.filter((other) => other !== stream);
      if (left.length > 0) this.streams.set(streamId, left);
      else this.streams.delete(streamId);
    });
    const others = this.streams.get(streamId) ?? [];
    if (others.some(({ substreamId }) => substreamId === stream.substreamId)) {
      throw new Error(`stream ${hex(streamId)} is mirrored already: detach its mirror first`);
    }
    const sinks = new Set(stream.writers.map(({ sink }) => sink));
    if (sinks.size < stream.writers.length || [...sinks].some((sink) => work.sinks.has(sink))) {
      throw new Error('a sink is in use already: each stream has its own');
    }
    for (const sink of sinks) work.sinks.add(sink);
    this.streams.set(streamId, [...others, stream]);
    work.streams.add(stream);
    work.reconsider(stream);
    work.run(Number.MAX_SAFE_INTEGER);
    return stream;
  }

  /**
   * The guest has written to memory in which a listener was told that tables are
   * ({@link MirrorOptions.tablePages}): what has changed is brought to the sinks at once. Other memory
   * may be named as well.
   * @param address guest-physical address of the first byte.
   * @param length bytes.
   * @throws RangeError when `address` or `length` is out of range.
   */
  tableWritten(address: number, length: number): void {
    if (!Number.isSafeInteger(address) || address < 0 || address >= 2 ** 52) {
      throw new RangeError(`address is ${hex(address)}: it must be below 2^52, and not negative`);
    }
    if (!Number.isSafeInteger(length) || length < 0) {
      throw new RangeError(`length is ${length}: it must be a whole number of bytes, 0 or more`);
    }
    this.work.tableWritten(address, length);
  }

  /** Guest pages (4 KiB) that hold the tables of `tracked` streams, as their addresses. */
  tablePages(): Iterable<number> {
    return this.work.pages.addresses();
  }

  /** Fulfilled when the sinks have answered all that they were asked; never rejected. */
  settled(): Promise<void> {
    return this.work.settled();
  }

  /** What the mirror has done, and what it holds. */
  stats(): MirrorStats {
    return mirrorStatsOf(this.work);
  }

  /** @internal CMD_SYNC, or the end of a drain: see `MirrorWork.flush`. */
  flush(isAwaited: boolean, retries: boolean): boolean {
    return this.work.flush(isAwaited, retries);
  }

  /** @internal Registers have changed that decide over all streams, or the vSMMU is another one. */
  reconfigure(host: MirrorHost): void {
    this.work.host = host;
    for (const stream of this.work.streams) this.work.reconsider(stream);
    this.work.flush(false, false);
  }

  /** @internal */
  invalidateAll(): void {
    for (const space of this.work.spaces.all) space.invalidate(0, SPACE);
  }

  /** @internal */
  invalidateAsid(asid: number): void {
    for (const space of this.work.spaces.withAsid(asid)) space.invalidate(0, SPACE);
  }

  /** @internal */
  invalidateRange(range: TlbRange): void {
    const { asid } = range;
    const { work } = this;
    if (asid < 0) {
      for (const space of work.spaces.all) space.invalidateNamed(range);
      return;
    }
    for (const space of work.spaces.withAsid(asid)) space.invalidateNamed(range);
    // Global mappings are named by any ASID.
    for (const space of work.spaces.withGlobals) {
      if (space.context.asid !== asid) space.invalidateNamed(range);
    }
  }

  /** @internal */
  invalidateStreams(first: number, last: number): void {
    for (const [streamId, streams] of this.streams) {
      if (streamId < first || streamId > last) continue;
      for (const stream of streams) this.work.reconsider(stream);
    }
  }

  /** @internal */
  invalidateContext(streamId: number): void {
    for (const stream of this.streams.get(streamId) ?? []) this.work.reconsider(stream);
  }
}
