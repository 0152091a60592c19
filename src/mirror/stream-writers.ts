import type { MirrorWork } from './mirror-work.js';
import type { IoasSink } from './sink.js';
import { SinkLimits } from './sink-limits.js';
import { SinkWriter } from './sink-writer.js';
import type { StreamMirror } from './stream-mirror.js';

/**
 * What writes to the sinks of a stream.
 * @throws TypeError when there is no sink, or one lacks something.
 * @throws RangeError when a sink's capabilities are out of range.
 */
export function writersOf(
  stream: StreamMirror,
  work: MirrorWork,
  sinks: readonly IoasSink[],
): readonly SinkWriter[] {
  if (!Array.isArray(sinks) || sinks.length === 0) {
    throw new TypeError('options.sinks is empty: pass the sinks that the IOAS is written to');
  }
  return sinks.map((sink: IoasSink, i) => {
    const limits = new SinkLimits(`options.sinks[${i}]`, sink, work.options.areas);
    const writer: SinkWriter = new SinkWriter(
      sink,
      limits,
      (refusal) => {
        work.refused(stream, writer, refusal);
      },
      () => {
        work.answered(stream, writer);
      },
    );
    return writer;
  });
}
