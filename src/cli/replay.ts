import { parseTrace } from '../fixtures/trace.js';
import { replayTrace, type Replay } from '../fixtures/replay.js';
import { openCapture, openCompressedText } from './open-capture.js';
import { plural, wrap } from './output.js';
import { replayRecorded } from './replay-recorded.js';
import { Progress } from './progress.js';
import { Exit, type Terminal } from './terminal.js';

/** Mismatches that are printed. */
const SHOWN = 10;
const TRACE_FILE = 'trace.jsonl.gz';

/** Options of {@link replay}. */
export interface ReplayCommandOptions {
  /** Translations that the vSMMU keeps at most. Default as of the library. */
  readonly cache?: number;
  readonly json?: true;
}

/** `vsmmu replay`: plays the guest of a capture, from its trace, against the vSMMU. */
export async function replay(
  terminal: Terminal,
  folder: string,
  options: ReplayCommandOptions,
): Promise<number> {
  const { out, colors } = terminal;
  const started = performance.now();
  const capture = openCapture(folder);
  const { file, text } = openCompressedText(folder, TRACE_FILE);
  const trace = parseTrace(file, text);
  if (capture.recording !== undefined) {
    return replayRecorded(terminal, capture, { file, trace, started }, options);
  }
  const progress = new Progress(terminal, 'replaying', trace.length);
  let result;
  try {
    result = replayTrace(capture, trace, {
      file,
      show: SHOWN,
      cache: options.cache === undefined ? {} : { entries: options.cache },
      progress: (done) => {
        progress.update(done);
      },
    });
  } finally {
    progress.stop();
  }
  const seconds = (performance.now() - started) / 1000;
  const { mismatches, first } = result;
  if (options.json) {
    out.line(JSON.stringify({ records: trace.length, ...result, cache: cacheOf(result), seconds }));
  } else {
    const summary = `replayed ${plural(result.accesses, 'access', 'accesses')} in ${seconds.toFixed(1)} s: ${mismatches} mismatches`;
    out.line(mismatches === 0 ? colors.green(summary) : colors.red(summary));
    for (const line of first) out.line(line);
    printCounts(terminal, result);
  }
  await out.flush();
  return mismatches > 0 ? Exit.found : Exit.fine;
}

/** What became of the accesses that the cache was asked for; its two parts count as one. */
function cacheOf({ stats }: Replay) {
  const { microHits, shadowHits, misses, evictions } = stats.cache;
  return { hits: microHits + shadowHits, misses, evictions };
}

function printCounts({ out }: Terminal, result: Replay): void {
  const { stats } = result;
  const { hits, misses, evictions } = cacheOf(result);
  const written: Record<string, number> = {};
  for (const [name, event] of Object.entries(stats.events)) written[name] = event.written;
  const rows: [string, string][] = [
    ['translations', `${stats.translations}, of which ${result.refused} to be refused`],
    ['cache', `${hits} hits, ${misses} misses, ${evictions} evictions`],
    ['walks', String(stats.walks)],
    ['descriptors', `${result.descriptors} written, ${result.rewrites} without invalidation`],
    ['snapshot', `${result.confirmed} pages the same, ${result.stale} unmapped but not flushed`],
    ['fetches', `${stats.steFetches} STEs, ${stats.cdFetches} CDs`],
    ['registers', plural(result.writes, 'write')],
    ['commands', counts(stats.commands)],
    ['events', counts(written)],
    ['in the trace', counts(result.events)],
  ];
  if (result.widened > 0)
    rows.push(['widened', `${plural(result.widened, 'command')} whose words are lost`]);
  for (const [title, value] of rows) {
    const [line, ...more] = value.split('\n') as [string, ...string[]];
    out.line(`  ${title.padEnd(WIDTH)}${line}`);
    for (const next of more) out.line(`  ${' '.repeat(WIDTH)}${next}`);
  }
}

const WIDTH = 14;
const LINE = 80;

function counts(named: Readonly<Record<string, number>>): string {
  const phrases = Object.entries(named).map(([name, count]) => `${count} ${name}`);
  return phrases.length === 0 ? 'none' : wrap(phrases, LINE);
}
