import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Capture } from '../fixtures/capture.js';
import { replayMirror, type MirrorReplay } from '../fixtures/mirror-replay.js';
import { deviceIoas, type MirrorSinkName } from '../fixtures/mirror-sinks.js';
import { parseTrace } from '../fixtures/trace.js';
import type { SyncPolicy } from '../mirror/mirror-options.js';
import { listMirror } from './mirror-listing.js';
import { openCapture, openCompressedText } from './open-capture.js';
import { formatSize, plural } from './output.js';
import { Progress } from './progress.js';
import { Exit, type Terminal } from './terminal.js';

/** Mismatches that are printed. */
const SHOWN = 10;
const TRACE_FILE = 'trace.jsonl.gz';
const WIDTH = 14;

/** Options of {@link mirror}. */
export interface MirrorCommandOptions {
  readonly policy: SyncPolicy;
  readonly sink: MirrorSinkName;
  readonly json?: true;
}

/** `vsmmu mirror`: replays a trace with a mirror attached, then mirrors the tables of the capture. */
export async function mirror(
  terminal: Terminal,
  folder: string,
  options: MirrorCommandOptions,
): Promise<number> {
  const capture = openCapture(folder);
  let status: number = Exit.fine;
  if (existsSync(join(folder, TRACE_FILE))) {
    status = replayed(terminal, folder, capture, options);
    await terminal.out.flush();
  } else {
    terminal.note(`${join(folder, TRACE_FILE)}: the file is missing, so nothing is replayed`);
  }
  return Math.max(status, await listMirror(terminal, capture, options));
}

function replayed(
  terminal: Terminal,
  folder: string,
  capture: Capture,
  options: MirrorCommandOptions,
): number {
  const { policy, sink } = options;
  const started = performance.now();
  const { file, text } = openCompressedText(folder, TRACE_FILE);
  const trace = parseTrace(file, text);
  const progress = new Progress(terminal, 'replaying', trace.length);
  let result;
  try {
    result = replayMirror(capture, trace, {
      file,
      show: SHOWN,
      policy,
      ioas: (ask) => deviceIoas(sink, ask),
      progress: (done) => {
        progress.update(done);
      },
    });
  } finally {
    progress.stop();
  }
  const seconds = (performance.now() - started) / 1000;
  if (options.json)
    terminal.out.line(JSON.stringify(summaryOf(result, trace.length, options, seconds)));
  else print(terminal, result, options, seconds);
  return result.mismatches > 0 ? Exit.found : Exit.fine;
}

function summaryOf(
  result: MirrorReplay,
  records: number,
  { policy, sink }: MirrorCommandOptions,
  seconds: number,
) {
  const { accesses, refused, hits, misses, descriptors, cleared, changes } = result;
  const { isWithinChanges, mirror: stats, mismatches, first } = result;
  const { streams, maps, unmaps, refusals, fallBacks, bytesRead } = stats;
  return {
    ...{ summary: 'replay', policy, sink, records, streams, accesses, refused, hits, misses },
    ...{ descriptors, cleared, changes, maps, unmaps, isWithinChanges },
    ...{ bytesRead, refusals, fallBacks, mismatches, first, seconds },
  };
}

function print(
  { out, colors }: Terminal,
  result: MirrorReplay,
  { policy, sink }: MirrorCommandOptions,
  seconds: number,
): void {
  const { mismatches, mirror: stats, changes } = result;
  const summary = `mirrored ${plural(result.accesses, 'access', 'accesses')} in ${seconds.toFixed(1)} s: ${mismatches} mismatches`;
  out.line(mismatches === 0 ? colors.green(summary) : colors.red(summary));
  for (const line of result.first) out.line(line);
  const operations = stats.maps + stats.unmaps;
  const written = `${result.descriptors} leaf descriptors written, ${result.cleared} cleared`;
  const within = result.isWithinChanges
    ? 'never more than the pages changed until then'
    : colors.red('more than the pages changed until then');
  const rows: [string, string][] = [
    ['mirror', `policy ${policy}, sink ${sink}, ${plural(stats.streams, 'stream')}`],
    [
      'IOAS',
      `${result.hits} hits, ${result.misses} misses, of which ${result.refused} to be refused`,
    ],
    ['pages changed', `${changes}, by ${written}`],
    ['operations', `${operations}, ${within}`],
    ['by kind', `${stats.maps} maps, ${stats.unmaps} unmaps`],
    ['bytes read', `${stats.bytesRead} of tables, ${formatSize(stats.bytesRead)}`],
  ];
  for (const [title, value] of rows) out.line(`  ${title.padEnd(WIDTH)}${value}`);
  out.line();
}
