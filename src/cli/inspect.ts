import type { Capture } from '../fixtures/capture.js';
import { Translator } from '../transaction/translator.js';
import { printHead, printStream, printStreams } from './inspect-text.js';
import { openCapture } from './open-capture.js';
import { hex } from '../memory/hex.js';
import { DeviceNames } from './output.js';
import { Progress } from './progress.js';
import {
  abortsGlobally,
  activeErrors,
  isEnabled,
  queueReports,
  registerReports,
  type QueueReport,
} from './register-report.js';
import { validStreams } from '../transaction/survey.js';
import { configOf, reportStream, type ConfigName } from './stream-report.js';
import { Exit, type Terminal } from './terminal.js';

/** The part of the report that has no streams in it. */
export interface HeadReport {
  readonly name: string;
  readonly description: string;
  readonly ramBase: string;
  readonly ramBytes: number;
  readonly memoryBytes: number;
  readonly smmuEnabled: boolean;
  /** What happens to every access while the SMMU is off; `null` when it is on. */
  readonly global: 'abort' | 'bypass' | null;
  readonly errors: readonly string[];
  readonly queues: readonly QueueReport[];
}

/** How many streams there are of each kind. */
export interface StreamTotals {
  readonly configs: Readonly<Record<ConfigName, number>>;
  /** StreamIDs of bypass. */
  readonly bypass: readonly number[];
  /** STEs with V=0. */
  invalid: number;
  /** Pages of the stream table that are not in memory. */
  missing: number;
  firstMissing: number;
}

/** `vsmmu inspect`: registers, queues, and every stream that does more than abort. */
export async function inspect(
  terminal: Terminal,
  folder: string,
  options: { readonly json?: true },
): Promise<number> {
  const capture = openCapture(folder);
  const { out } = terminal;
  const head = reportHead(capture);
  const { frame } = capture;
  const translator = new Translator(capture.memory, capture.features);
  translator.configure(frame);
  const json = options.json === true;
  if (json) {
    const opening = JSON.stringify({ ...head, registers: registerReports(frame) });
    out.write(`${opening.slice(0, -1)},"streams":[`);
  } else {
    printHead(terminal, head, frame, translator.streams);
  }
  const names = new DeviceNames(capture);
  const totals = head.smmuEnabled ? countStreams(translator) : noStreams();
  if (!json) printStreams(terminal, head, totals, names);

  const progress = new Progress(terminal, 'reading tables', 2 ** translator.streams.log2Size);
  let first = true;
  for (const streamId of head.smmuEnabled ? validStreams(translator.streams, noStreams()) : []) {
    if (out.closed) break;
    progress.update(streamId);
    const config = configOf(translator.streams.ste);
    if (config === 'abort' || config === 'bypass') continue;
    const report = reportStream(capture, translator, names, streamId);
    if (json) out.write(`${first ? '' : ','}${JSON.stringify(report)}`);
    else printStream(terminal, report, names);
    first = false;
    if (!out.full) continue;
    progress.stop();
    await out.flush();
  }
  progress.stop();
  if (json) {
    const { configs, bypass, invalid, missing, firstMissing } = totals;
    const streamTable = {
      ...configs,
      bypassStreamIds: bypass,
      invalid,
      missingPages: missing,
      firstMissing: missing === 0 ? null : hex(firstMissing),
    };
    out.line(`],"streamTable":${JSON.stringify(streamTable)}}`);
  }
  await out.flush();
  return Exit.fine;
}

function reportHead(capture: Capture): HeadReport {
  const { frame } = capture;
  const smmuEnabled = isEnabled(frame);
  return {
    name: capture.name,
    description: capture.description,
    ramBase: hex(capture.ramBase),
    ramBytes: capture.ramBytes,
    memoryBytes: capture.memory.byteLength,
    smmuEnabled,
    global: smmuEnabled ? null : abortsGlobally(frame) ? 'abort' : 'bypass',
    errors: activeErrors(frame),
    queues: queueReports(frame),
  };
}

function noStreams(): StreamTotals & {
  readonly bypass: number[];
  readonly configs: Record<ConfigName, number>;
} {
  const configs = { abort: 0, bypass: 0, 'stage 1': 0, 'stage 2': 0, nested: 0 };
  return { configs, bypass: [], invalid: 0, missing: 0, firstMissing: -1 };
}

function countStreams(translator: Translator): StreamTotals {
  const totals = noStreams();
  const { streams } = translator;
  for (const streamId of validStreams(streams, totals)) {
    const config = configOf(streams.ste);
    totals.configs[config]++;
    if (config === 'bypass') totals.bypass.push(streamId);
  }
  return totals;
}
