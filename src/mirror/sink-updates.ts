import { RunColumns } from '../ioas/runs.js';
import type { SinkWriter } from './sink-writer.js';
import type { StreamMirror } from './stream-mirror.js';
import type { WantedRuns } from './wanted-runs.js';
import { joinWithinAreas } from './whole-areas.js';

const FIRST_RESTRICTED = 256;
/** What a batch of runs counts as, in tables read, and what is none. */
const BATCH = 256;
const FEW_BYTES = 2 ** 18;
const PAGE = 4096;

/** Brings sinks in step: finds out what one should hold, compares it with what it holds, and asks it for the rest. */
export class SinkUpdates {
  readonly wanted: WantedRuns;
  /** How many sinks have not answered yet. */
  busy = 0;
  /** Something that a sink has refused is to be tried again. */
  hasRetries = false;
  /** Bytes that were wanted and that a sink cannot map. */
  leftOut = 0;

  private readonly restricted = new RunColumns(0, FIRST_RESTRICTED);
  private readonly full: (stream: StreamMirror, writer: SinkWriter) => void;

  /** @param full is told of a sink that has as many areas as there may be, and was to have more. */
  constructor(wanted: WantedRuns, full: (stream: StreamMirror, writer: SinkWriter) => void) {
    this.wanted = wanted;
    this.full = full;
  }

  /** Brings a sink in step where it may not be. @returns what is left of the budget. */
  settle(stream: StreamMirror, writer: SinkWriter, budget: number): number {
    const { dirty, limits, held } = writer;
    let left = budget;
    while (!dirty.isEmpty && !writer.isBusy && left > 0) {
      if (limits.unmaps !== 'any') joinWithinAreas(writer);
      let from = dirty.from(0);
      let to = dirty.to(0);
      dirty.shift();
      if (limits.pageSize > PAGE) {
        from = Math.floor(from / limits.pageSize) * limits.pageSize;
        to = Math.ceil(to / limits.pageSize) * limits.pageSize;
      }
      let end = to;
      if (to - from > FEW_BYTES) {
        left -= BATCH;
        end = Math.min(to, held.startAfter(from, limits.batch));
      } else {
        left--;
      }
      const reached = stream.want(writer, this.wanted, from, end);
      if (reached < to) dirty.add(reached, to);
      this.compare(writer, from, reached);
      this.apply(stream, writer);
    }
    writer.forgetReport();
    return left;
  }

  /** Brings a sink in step with the page at `iova`, the only one that {@link wanted} has. */
  settlePage(stream: StreamMirror, writer: SinkWriter, iova: number): void {
    if (writer.limits.isOpen && writer.retarget(this.wanted.columns)) {
      this.asked(stream, writer);
      return;
    }
    this.compare(writer, iova, iova + PAGE);
    this.apply(stream, writer);
  }

  /** Compares what a sink holds of `[from, to)` with what was found to be wanted. */
  compare({ limits, held, comparison }: SinkWriter, from: number, to: number): void {
    let { columns } = this.wanted;
    if (!limits.isOpen) {
      this.leftOut += limits.restrict(columns, from, to, this.restricted);
      columns = this.restricted;
    }
    comparison.compare(held, columns, from, to);
  }

  /** Carries out what the comparison has found. */
  apply(stream: StreamMirror, writer: SinkWriter): void {
    if (writer.comparison.isEmpty) return;
    writer.apply();
    this.asked(stream, writer);
  }

  /** A sink that was busy has answered. */
  answered(stream: StreamMirror, writer: SinkWriter): void {
    this.busy--;
    this.done(stream, writer);
  }

  private asked(stream: StreamMirror, writer: SinkWriter): void {
    if (writer.isBusy) this.busy++;
    else this.done(stream, writer);
  }

  /** A sink has done, or refused, all that it was asked. */
  private done(stream: StreamMirror, writer: SinkWriter): void {
    if (!writer.retry.isEmpty) this.hasRetries = true;
    writer.forgetReport();
    if (!writer.isFull) return;
    writer.isFull = false;
    this.full(stream, writer);
  }
}
