import type { AddressSpace } from './address-space.js';
import { AddressSpaces } from './address-spaces.js';
import type { MirrorHost } from './mirror-host.js';
import type { CompleteOptions, MirrorReport } from './mirror-options.js';
import type { IoasSink } from './sink.js';
import type { Refusal, SinkWriter } from './sink-writer.js';
import { SinkUpdates } from './sink-updates.js';
import type { StreamMirror } from './stream-mirror.js';
import { TablePages } from './table-pages.js';
import { takeWrites } from './table-writes.js';
import { WantedRuns } from './wanted-runs.js';

/**
 * Brings sinks in step, a bounded step at a time: first it finds out what streams use, then it reads
 * tables again where they may have changed, and only when that is complete it compares with what sinks
 * hold. So no sink ever loses a mapping because its tables were read in part.
 */
export class MirrorWork {
  host: MirrorHost;
  readonly options: CompleteOptions;
  readonly pages: TablePages;
  readonly updates: SinkUpdates;
  readonly spaces: AddressSpaces;
  readonly streams = new Set<StreamMirror>();
  /** The sinks of all {@link streams}. */
  readonly sinks = new Set<IoasSink>();
  /** Those of the streams that are detached, and whose sinks are not empty yet. */
  readonly leaving = new Set<StreamMirror>();
  /** What the sinks of streams that are gone were asked. */
  readonly gone = { maps: 0, unmaps: 0, refusals: 0 };
  /** Times that a limit was reached. */
  fallBacks = 0;

  /** Spaces whose tables may have changed. */
  private readonly dirtySpaces: AddressSpace[] = [];
  /** Streams with a sink that may not be in step; not those that wait for all of their sinks to answer. */
  private readonly queued: StreamMirror[] = [];
  /** Streams whose STE or CD may have changed. */
  private readonly stale: StreamMirror[] = [];
  private isWorking = false;
  private isScheduled = false;
  /** A CMD_SYNC waits. */
  private isAwaited = false;
  private reports: MirrorReport[] = [];
  private waiters: (() => void)[] = [];

  constructor(host: MirrorHost, options: CompleteOptions) {
    this.host = host;
    this.options = options;
    this.pages = new TablePages(options.tablePages);
    const wanted = new WantedRuns(host.memory, options.ram);
    this.updates = new SinkUpdates(wanted, (stream, { sink }) => {
      if (stream.followsTables) this.limited({ stream, problem: 'areas', sink });
    });
    this.spaces = new AddressSpaces(this);
  }

  /** Everything is done that can be: sinks have answered, and say what they should or have refused to. */
  get isSettled(): boolean {
    return !this.hasTasks && this.updates.busy === 0;
  }

  /** The STE or CD of `stream` may have changed. */
  reconsider(stream: StreamMirror): void {
    if (stream.isStale) return;
    stream.isStale = true;
    this.stale.push(stream);
  }

  /** The tables of `space` are to be read again. */
  queueSpace(space: AddressSpace): void {
    if (space.isQueued) return;
    space.isQueued = true;
    this.dirtySpaces.push(space);
  }

  /** The sinks of `stream` are to be brought in step. */
  queue(stream: StreamMirror): void {
    if (stream.isQueued) return;
    stream.isQueued = true;
    this.queued.push(stream);
  }

  /** What sinks have refused is to be tried again. */
  retry(): void {
    const { updates } = this;
    if (!updates.hasRetries) return;
    updates.hasRetries = false;
    for (const stream of this.streams) {
      for (const { dirty, retry } of stream.writers) {
        if (retry.isEmpty) continue;
        dirty.addAll(retry);
        retry.clear();
        this.queue(stream);
      }
    }
  }

  /**
   * Brings everything in step, as far as sinks answer at once and the work that a command may cause lets it.
   * @param isAwaited a CMD_SYNC waits for it: `host.proceed` is called when it may go on.
   * @param retries what was refused is tried again.
   * @returns whether all is done.
   */
  flush(isAwaited: boolean, retries: boolean): boolean {
    if (retries) this.retry();
    if (this.hasTasks) this.run(this.options.work);
    if (this.isSettled) return true;
    if (isAwaited) this.isAwaited = true;
    return false;
  }

  /** Brings everything in step, as far as sinks answer at once and `budget` tables or batches of runs allow. */
  run(budget: number): void {
    // A sink that calls back gets what it asks for when the work that is being done is done.
    if (this.isWorking) return;
    this.isWorking = true;
    try {
      let left = budget;
      while (left > 0 && this.hasTasks) left = this.step(left);
    } finally {
      this.isWorking = false;
    }
    this.finish();
  }

  /** As `Mirror.tableWritten`. */
  tableWritten(address: number, length: number): void {
    const { isWorking } = this;
    this.isWorking = true;
    try {
      takeWrites(this.pages, address, length, isWorking);
    } finally {
      this.isWorking = isWorking;
    }
    this.run(this.options.work);
  }

  /** A scheduled step, or a sink that has answered. */
  goOn(): void {
    this.run(this.options.work);
  }

  /** Fulfilled when {@link isSettled}. */
  settled(): Promise<void> {
    if (this.isSettled) return Promise.resolve();
    return new Promise((resolve) => this.waiters.push(resolve));
  }

  /** A sink that was busy has answered. */
  answered(stream: StreamMirror, writer: SinkWriter): void {
    this.updates.answered(stream, writer);
    if (!writer.dirty.isEmpty || !stream.misses.isEmpty) this.queue(stream);
    this.goOn();
  }

  /** A sink has refused an operation. */
  refused(stream: StreamMirror, writer: SinkWriter, refusal: Refusal): void {
    if (writer.isReported) return;
    writer.isReported = true;
    this.reports.push({ stream, problem: 'refused', sink: writer.sink, refusal });
  }

  private get hasTasks(): boolean {
    return this.queued.length > 0 || this.mustReadFirst;
  }

  /** What sinks should say is not known yet. */
  private get mustReadFirst(): boolean {
    return this.stale.length > 0 || this.dirtySpaces.length > 0;
  }

  /** Does what comes next. @returns what is left of the budget. */
  private step(budget: number): number {
    while (this.stale.length > 0) this.stale.pop()!.resolve();
    let left = budget;
    const { dirtySpaces, queued } = this;
    while (dirtySpaces.length > 0) {
      const space = dirtySpaces.pop()!;
      space.isQueued = false;
      left = space.refresh(left);
      if (space.tree?.isExceeded === true) this.exceeded(space);
      else if (space.tree !== undefined && !space.dirty.isEmpty) this.queueSpace(space);
      if (left <= 0) return 0;
    }
    // What is done here may find more to do.
    while (queued.length > 0 && !this.mustReadFirst) {
      const stream = queued.pop()!;
      stream.isQueued = false;
      for (const writer of stream.writers) left = this.updates.settle(stream, writer, left);
      if (!stream.misses.isEmpty && left > 0) stream.misses.take();
      if (left > 0) continue;
      this.queue(stream);
      return 0;
    }
    return left;
  }

  private exceeded(space: AddressSpace): void {
    for (const stream of [...space.users]) {
      if (stream.followsTables) this.limited({ stream, problem: 'tables' });
    }
  }

  private limited(report: MirrorReport): void {
    this.fallBacks++;
    this.reports.push(report);
    report.stream.fallBack();
  }

  /** Tells who has to know what the work has come to. */
  private finish(): void {
    const reports = this.reports;
    if (reports.length > 0) {
      this.reports = [];
      for (const report of reports) this.options.report(report);
    }
    if (this.leaving.size > 0) this.letGo();
    if (this.isSettled) {
      const { waiters } = this;
      this.waiters = waiters.length > 0 ? [] : waiters;
      for (const resolve of waiters) resolve();
      if (this.isAwaited) {
        this.isAwaited = false;
        this.host.proceed();
      }
    } else if (this.hasTasks && !this.isScheduled) {
      this.isScheduled = true;
      this.options.schedule(() => {
        this.isScheduled = false;
        this.goOn();
      });
    }
  }

  /** Forgets the streams whose sinks are empty. */
  private letGo(): void {
    for (const stream of this.leaving) {
      if (!stream.isInStep) continue;
      this.leaving.delete(stream);
      this.streams.delete(stream);
      for (const { sink, maps, unmaps, refusals } of stream.writers) {
        this.sinks.delete(sink);
        this.gone.maps += maps;
        this.gone.unmaps += unmaps;
        this.gone.refusals += refusals;
      }
    }
  }
}
