import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Capture } from '../fixtures/capture.js';
import { replayRoute } from '../fixtures/route-replay.js';
import { streamsOf } from '../fixtures/route-trace.js';
import { parseTrace, type TraceRecord } from '../fixtures/trace.js';
import { hex } from '../memory/hex.js';
import { UsageError } from './arguments.js';
import { openCapture, openCompressedText } from './open-capture.js';
import { DeviceNames, printable } from './output.js';
import { Progress } from './progress.js';
import { summaryOf } from './route-summary.js';
import { printRoute } from './route-text.js';
import { Exit, type Terminal } from './terminal.js';

/** Mismatches that are printed. */
const SHOWN = 10;
const TRACE_FILE = 'trace.jsonl.gz';

/** Options of {@link route}. */
export interface RouteCommandOptions {
  /** StreamIDs of the devices that hardware translates for. */
  readonly passthrough?: readonly number[];
  /** Physical SMMUs. */
  readonly physical: number;
  readonly json?: true;
}

/** `vsmmu route`: replays a trace with passthrough devices, and prints which commands went where. */
export async function route(
  terminal: Terminal,
  folder: string,
  options: RouteCommandOptions,
): Promise<number> {
  const { out } = terminal;
  const started = performance.now();
  const capture = openCapture(folder);
  const file = join(folder, TRACE_FILE);
  const trace = existsSync(file) ? readTrace(folder) : undefined;
  const passthrough = checkStreams(options.passthrough, capture, trace ?? []);
  if (trace === undefined) {
    terminal.note(`${file}: the file is missing, so the commands in the queue's ring are replayed`);
  }
  const progress = new Progress(terminal, 'replaying', trace?.length ?? 0);
  let result;
  try {
    result = await replayRoute(capture, trace, {
      ...{ file, show: SHOWN, passthrough, physical: options.physical },
      progress: (done) => {
        progress.update(done);
      },
    });
  } finally {
    progress.stop();
  }
  const seconds = (performance.now() - started) / 1000;
  const summary = summaryOf(result, trace?.length ?? 0, seconds);
  if (options.json) out.line(JSON.stringify(summary));
  else printRoute(terminal, summary, new DeviceNames(capture));
  await out.flush();
  return result.mismatches > 0 ? Exit.found : Exit.fine;
}

function readTrace(folder: string): TraceRecord[] {
  const { file, text } = openCompressedText(folder, TRACE_FILE);
  return parseTrace(file, text);
}

/** @throws UsageError with the StreamIDs that there are, when none is chosen, or one that is none of them. */
function checkStreams(
  chosen: readonly number[] | undefined,
  capture: Capture,
  trace: readonly TraceRecord[],
): readonly number[] {
  const known = streamsOf(capture, trace);
  const unknown = chosen?.filter((streamId) => !known.includes(streamId)) ?? [];
  if (chosen !== undefined && unknown.length === 0) return chosen;
  const names = new DeviceNames(capture);
  const list = known.map((streamId) => {
    const devices = names.of(streamId).map(({ name, bdf }) => printable(`${name} ${bdf}`).trim());
    return devices.length === 0 ? hex(streamId) : `${hex(streamId)} (${devices.join(', ')})`;
  });
  const problem =
    chosen === undefined
      ? '--passthrough is missing: name one StreamID or more'
      : `--passthrough names ${unknown.map(hex).join(', ')}, which the capture has not`;
  throw new UsageError(`${problem}; it has ${list.join(', ')}`);
}
