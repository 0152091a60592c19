import type { Interval } from '../ioas/interval-list.js';
import { splitU64, type Halves, type U64 } from '../memory/u64.js';
import { CachedContext } from '../transaction/configuration-cache.js';
import { Access } from '../transaction/permissions.js';
import { SPACE, type AddressSpace } from './address-space.js';
import { rangeOf } from './iova-range.js';
import { Misses, pageIova } from './misses.js';
import type { MirrorWork } from './mirror-work.js';
import { checkPolicy, type StreamMirrorOptions, type SyncPolicy } from './mirror-options.js';
import type { RangeSet } from './range-set.js';
import { ALLOWED, type IoasSink } from './sink.js';
import type { SinkWriter } from './sink-writer.js';
import type { TableNode } from './table-node.js';
import { writersOf } from './stream-writers.js';
import type { AccessBits, WantedRuns } from './wanted-runs.js';

const PAGE = 4096;
/** What the embedder asks for is done at once. */
const ALL = Number.MAX_SAFE_INTEGER;

/** What a stream's IOAS is made of now. */
type Source = 'nothing' | 'identity' | 'tables';

/** A stream whose IOAS is kept in step in sinks; `Mirror.attach` makes it. */
export class StreamMirror {
  readonly streamId: number;
  /** -1 without SubstreamID. */
  readonly substreamId: number;
  /** @internal */
  readonly writers: readonly SinkWriter[];
  /** @internal What its device has missed. */
  readonly misses: Misses;
  /** @internal {@link Access} bits that its accesses have besides their own. */
  readonly privileged: number;
  /** @internal The permissions that its reads and writes need. */
  bits: AccessBits = { read: 0, write: 0 };
  /** @internal The tables that it uses; none unless its IOAS is made of tables. */
  space: AddressSpace | undefined;
  /** @internal It waits for its sinks to be brought in step. */
  isQueued = false;
  /** @internal The STE or CD may have changed. */
  isStale = false;

  private readonly work: MirrorWork;
  private readonly halves: Halves = { high: 0, low: 0 };
  private wantedPolicy: SyncPolicy;
  private source: Source = 'nothing';
  /** What {@link resolve} found. */
  private found: CachedContext | 'bypass' | 'none' = 'none';
  private isDetached = false;
  /** A limit was reached: what the policy says cannot be done. */
  private isLimited = false;

  private readonly release: () => void;

  /** @internal */
  constructor(
    work: MirrorWork,
    streamId: number,
    options: StreamMirrorOptions,
    release: () => void,
  ) {
    const { sinks, policy, substreamId, privileged } = options;
    checkPolicy(policy);
    this.work = work;
    this.release = release;
    this.streamId = streamId;
    this.substreamId = substreamId ?? -1;
    this.privileged = privileged === true ? Access.privileged : 0;
    this.wantedPolicy = policy;
    this.misses = new Misses(this, work);
    this.writers = writersOf(this, work, sinks);
  }

  /** The policy that was chosen. */
  get policy(): SyncPolicy {
    return this.wantedPolicy;
  }

  /**
   * Sets the policy; at once, the sinks are brought in step as it says. Also ends the service on demand
   * that a limit has led to.
   * @throws RangeError when it is none.
   */
  set policy(policy: SyncPolicy) {
    checkPolicy(policy);
    this.checkAttached();
    this.wantedPolicy = policy;
    this.isLimited = false;
    this.refit();
    this.space?.invalidate(0, SPACE);
    this.invalidate(0, SPACE);
    this.work.run(ALL);
  }

  /** How the stream is served: as {@link policy} says, or `demand` since a limit was reached. */
  get servedBy(): SyncPolicy {
    return this.isLimited ? 'demand' : this.wantedPolicy;
  }

  /** Whether all sinks say what they should, as far as the policy lets it be known. */
  get isInStep(): boolean {
    if (this.isStale || this.space?.dirty.isEmpty === false) return false;
    return (
      this.misses.isEmpty &&
      this.writers.every(({ dirty, retry, isBusy }) => dirty.isEmpty && retry.isEmpty && !isBusy)
    );
  }

  /** @internal */
  get followsTables(): boolean {
    return this.servedBy !== 'demand';
  }

  /** @internal */
  get isTracked(): boolean {
    return this.servedBy === 'tracked';
  }

  /** @internal Its IOAS is made of tables, and has what was missed. */
  get isOnDemand(): boolean {
    return !this.followsTables && this.source === 'tables';
  }

  /** @internal A sink has not answered yet. */
  get isBusy(): boolean {
    return this.writers.some((writer) => writer.isBusy);
  }

  /** What a sink has mapped, ascending: with the {@link AreaPermission} bits of each area. */
  *areas(sink: IoasSink): Generator<Interval> {
    for (const writer of this.writers) {
      if (writer.sink !== sink) continue;
      for (const area of writer.held) {
        yield { ...area, permissions: area.permissions & ALLOWED };
      }
    }
  }

  /**
   * Reads the tables again, all of them or those of a range, whatever the guest has invalidated, and
   * brings the sinks in step.
   * @param iova first address: a number below 2^53, or a bigint below 2^64. Default 0.
   * @param length bytes. Default: to the end.
   * @returns {@link isInStep}: `false` when a sink has refused an operation, or is still at it
   * (see {@link settled}).
   * @throws RangeError when the range is none.
   * @throws Error when it is detached.
   */
  sync(iova: U64 = 0, length?: number): boolean {
    this.checkAttached();
    const { from, to } = rangeOf(iova, length);
    // What could not be read before may be there now.
    if (this.source === 'nothing') this.work.reconsider(this);
    if (to > from) this.space?.invalidate(from, to);
    this.work.retry();
    this.work.run(ALL);
    return this.isInStep;
  }

  /** Fulfilled when the sinks have answered all that they were asked; never rejected. */
  settled(): Promise<void> {
    return this.work.settled();
  }

  /**
   * The device has found nothing, or too little permission, at an address: translates it as an access of
   * the device, and maps what is found. A fault goes to the guest's event queue.
   * @param iova a number below 2^53, or a bigint below 2^64.
   * @param permissions {@link AreaPermission} bits that the device needs.
   * @returns whether the access is allowed; every sink that has not refused it maps the page then, at
   * once or, if it is busy, when it is done.
   * @throws RangeError when an argument is out of range.
   * @throws Error when it is detached.
   */
  miss(iova: U64, permissions: number): boolean {
    this.checkAttached();
    if (!Number.isInteger(permissions) || permissions < 1 || permissions > ALLOWED) {
      throw new RangeError(`permissions is ${permissions}: it must be made of AreaPermission bits`);
    }
    const { high, low } = splitU64('iova', iova, this.halves);
    const { work, misses } = this;
    if (!misses.isAllowed(high, low, permissions)) return false;
    // An STE or CD that was not kept is read anew for each access: it may be another than before.
    const isKnown = work.host.configurationOf(this.streamId, this.substreamId) === this.found;
    if (!isKnown) work.reconsider(this);
    let isTaken = true;
    if (!this.followsTables) {
      isTaken = misses.add(high, low, permissions);
      work.queue(this);
    } else if (this.space !== undefined) {
      const page = pageIova(high, low);
      this.space.invalidate(page, page + PAGE);
      work.retry();
    }
    work.run(work.options.work);
    return isTaken;
  }

  /**
   * The device is gone: everything is unmapped in its sinks, and any further use throws. Sinks that
   * answer by promises are done when {@link settled} is.
   */
  detach(): void {
    if (this.isDetached) return;
    this.isDetached = true;
    this.source = 'nothing';
    this.isStale = false;
    this.join(undefined);
    this.invalidate(0, SPACE);
    this.work.leaving.add(this);
    this.release();
    this.work.retry();
    this.work.run(ALL);
  }

  /** @internal `[from, to)` may not be what it should be in the sinks. */
  invalidate(from: number, to: number): void {
    for (const { dirty } of this.writers) dirty.add(from, to);
    this.work.queue(this);
  }

  /**
   * @internal One page of its tables is another: descriptor `index` of `node`. What {@link invalidate}
   * leads to in several steps is done in one, since nothing happens more often.
   * @returns `false` when that cannot be.
   */
  takePage(node: TableNode, index: number): boolean {
    const { bits } = this;
    const { updates } = this.work;
    const writer = this.writers[0]!;
    const isReady = this.writers.length === 1 && !this.isQueued && !writer.isBusy;
    const { bigEndian } = this.space!.context;
    const isSmall = node.bytes === PAGE && writer.limits.pageSize === PAGE;
    if (!isReady || !isSmall || bigEndian) return false;
    updates.wanted.ofPage(this.space!, bits, node, index);
    updates.settlePage(this, writer, node.iova + index * PAGE);
    return true;
  }

  /** @internal As {@link invalidate}, with all of `ranges`. */
  invalidateAll(ranges: RangeSet): void {
    for (const { dirty } of this.writers) dirty.addAll(ranges);
    this.work.queue(this);
  }

  /** @internal A limit was reached: serves on demand what it cannot serve otherwise. */
  fallBack(): void {
    this.isLimited = true;
    this.refit();
    // What is mapped is looked up again, page by page.
    this.invalidate(0, SPACE);
  }

  /** @internal Finds out anew what the accesses of the stream come to. */
  resolve(): void {
    if (this.isDetached) {
      this.isStale = false;
      return;
    }
    const { host } = this.work;
    const found = host.configurationOf(this.streamId, this.substreamId);
    this.found = found;
    this.isStale = false;
    if (!(found instanceof CachedContext)) {
      const source = found === 'bypass' ? 'identity' : 'nothing';
      if (this.source === source && this.space === undefined) return;
      this.source = source;
      this.join(undefined);
      this.invalidate(0, SPACE);
      return;
    }
    const bits: AccessBits = {
      read: found.needed[Access.read | this.privileged]!,
      write: found.needed[Access.write | this.privileged]!,
    };
    const space = this.work.spaces.of(found);
    this.source = 'tables';
    const isSame = bits.read === this.bits.read && bits.write === this.bits.write;
    this.bits = bits;
    if (space !== this.space) {
      this.isLimited = false;
      this.join(space);
      this.invalidate(0, SPACE);
    } else if (!isSame) {
      this.invalidate(0, SPACE);
    }
    space.invalidate(0, SPACE);
  }

  /** @internal What `writer` should hold of `[from, to)`. @returns how far that was found out. */
  want(writer: SinkWriter, wanted: WantedRuns, from: number, to: number): number {
    const { space, bits } = this;
    if (this.source === 'identity') wanted.identity(2 ** this.work.host.outputBits);
    else if (space === undefined) wanted.none();
    else if (this.followsTables) {
      return wanted.ofTables(space, bits, from, to, writer.limits.pageSize);
    } else return wanted.ofHeld(space, bits, from, to, writer);
    return to;
  }

  private join(space: AddressSpace | undefined): void {
    const before = this.space;
    this.space = space;
    before?.users.delete(this);
    space?.users.add(this);
    if (before !== undefined && before !== space) this.work.spaces.fit(before);
    this.refit();
  }

  private refit(): void {
    if (this.space !== undefined) this.work.spaces.fit(this.space);
  }

  private checkAttached(): void {
    if (this.isDetached) {
      throw new Error(`the mirror of stream ${this.streamId} is detached: attach the stream again`);
    }
  }
}
