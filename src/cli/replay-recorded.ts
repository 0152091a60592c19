import type { Capture } from '../fixtures/capture.js';
import { replayRecording, type RecordingReplay } from '../fixtures/recording-replay.js';
import type { TraceRecord } from '../fixtures/trace.js';
import { plural, wrap } from './output.js';
import { Progress } from './progress.js';
import type { ReplayCommandOptions } from './replay.js';
import { Exit, type Terminal } from './terminal.js';

/** Differences that are printed. */
const SHOWN = 10;
const WIDTH = 14;
const LINE = 80;

/** The trace of a recording, as it was read. */
export interface RecordedTrace {
  /** Name of its file in differences. */
  readonly file: string;
  readonly trace: readonly TraceRecord[];
  /** When the command began, in milliseconds. */
  readonly started: number;
}

/** `vsmmu replay` of a recording: plays it bit for bit. */
export async function replayRecorded(
  terminal: Terminal,
  capture: Capture,
  { file, trace, started }: RecordedTrace,
  options: ReplayCommandOptions,
): Promise<number> {
  const { out, colors } = terminal;
  const progress = new Progress(terminal, 'replaying', trace.length);
  let result;
  try {
    result = replayRecording(capture, trace, {
      file,
      show: SHOWN,
      ...(options.cache === undefined ? {} : { cache: { entries: options.cache } }),
      progress: (done) => {
        progress.update(done);
      },
    });
  } finally {
    progress.stop();
  }
  const seconds = (performance.now() - started) / 1000;
  const { mismatches, first, records } = result;
  if (options.json) {
    out.line(JSON.stringify({ ...result, seconds }));
  } else {
    const played = plural(records, 'record');
    const summary = `replayed ${played} in ${seconds.toFixed(1)} s: ${mismatches} mismatches`;
    out.line(mismatches === 0 ? colors.green(summary) : colors.red(summary));
    for (const line of first) out.line(line);
    printCounts(terminal, result);
  }
  await out.flush();
  return mismatches > 0 ? Exit.found : Exit.fine;
}

function printCounts({ out }: Terminal, { counts, stats }: RecordingReplay): void {
  const written: Record<string, number> = {};
  for (const [name, event] of Object.entries(stats.events)) written[name] = event.written;
  const rows: [string, Readonly<Record<string, number>>][] = [
    ['recorded', counts],
    ['commands', stats.commands],
    ['events', written],
  ];
  for (const [title, named] of rows) {
    const phrases = Object.entries(named).map(([name, count]) => `${count} ${name}`);
    const text = phrases.length === 0 ? 'none' : wrap(phrases, LINE);
    const indented = text.replaceAll('\n', `\n  ${' '.repeat(WIDTH)}`);
    out.line(`  ${title.padEnd(WIDTH)}${indented}`);
  }
  out.line(`  ${'walks'.padEnd(WIDTH)}${stats.walks}`);
}
