import type { HeadReport, StreamTotals } from './inspect.js';
import { hex } from '../memory/hex.js';
import {
  formatSize,
  plural,
  printable,
  table,
  wrap,
  type DeviceNames,
  type FieldRecord,
} from './output.js';
import { registerMeanings, type StreamTableGeometry } from './register-meaning.js';
import type { QueueIndex } from './register-report.js';
import type {
  CdReport,
  ContextReport,
  HalfReport,
  MappedReport,
  StreamReport,
} from './stream-report.js';
import type { Terminal } from './terminal.js';

/** Characters of a column of text. */
const WIDTH = 58;
/** Bypass streams that are named. */
const MAX_NAMED = 32;

/** Prints what the capture is, registers and queues. */
export function printHead(
  terminal: Terminal,
  head: HeadReport,
  frame: Uint32Array,
  streams: StreamTableGeometry,
): void {
  const { out, colors } = terminal;
  out.line(colors.bold(printable(head.name)));
  if (head.description !== '')
    out.line(wrap(printable(head.description).split(' '), WIDTH + 28, ''));
  out.line(
    `RAM ${formatSize(head.ramBytes)} at ${head.ramBase}, ${formatSize(head.memoryBytes)} of it captured`,
  );
  out.line();
  out.line(colors.bold('Registers'));
  out.line(
    table(
      registerMeanings(frame, streams).map(({ name, value, phrases }) => [
        name,
        value,
        wrap(phrases, WIDTH),
      ]),
    ),
  );
  out.line();
  out.line(colors.bold('Queues'));
  const heading = ['queue', 'base', 'entries', 'PROD', 'CONS', 'waiting', 'state'];
  const rows = head.queues.map((queue) => [
    queue.name,
    queue.base,
    String(queue.entries),
    indexText(queue.prod),
    indexText(queue.cons),
    queue.waiting === null ? '?' : String(queue.waiting),
    [queue.enabled ? 'on' : 'off', ...queue.problems.map((text) => colors.red(text))].join(', '),
  ]);
  out.line(table([heading.map((text) => colors.dim(text)), ...rows], [1, 2, 3, 4, 5]));
}

/** Prints how many streams there are of each kind. */
export function printStreams(
  terminal: Terminal,
  head: HeadReport,
  totals: StreamTotals,
  names: DeviceNames,
): void {
  const { out, colors } = terminal;
  out.line();
  out.line(colors.bold('Streams'));
  if (head.global !== null) {
    out.line(
      `  the SMMU is off: every access is ${head.global === 'abort' ? 'aborted' : 'bypassed'}`,
    );
    return;
  }
  const { configs } = totals;
  const parts = [
    `${configs['stage 1']} stage 1`,
    ...(configs['stage 2'] > 0 ? [`${configs['stage 2']} stage 2`] : []),
    ...(configs.nested > 0 ? [`${configs.nested} nested`] : []),
    `${configs.bypass} bypass`,
    `${configs.abort} abort`,
    ...(totals.invalid > 0 ? [`${totals.invalid} with V=0`] : []),
  ];
  out.line(`  ${parts.join(', ')}`);
  for (const streamId of totals.bypass.slice(0, MAX_NAMED)) {
    out.line(`  bypass: ${names.label(streamId)}`);
  }
  if (totals.bypass.length > MAX_NAMED) {
    out.line(`  bypass: ${totals.bypass.length - MAX_NAMED} more`);
  }
  if (totals.missing > 0) {
    const where = `from ${hex(totals.firstMissing)} on`;
    const what = `${plural(totals.missing, 'page')} of the stream table, ${where}, not in memory`;
    out.line(`  ${colors.yellow(what)}`);
  }
}

/** Prints one stream. */
export function printStream(terminal: Terminal, stream: StreamReport, names: DeviceNames): void {
  const { out, colors } = terminal;
  out.line();
  out.line(`${colors.bold(names.label(stream.streamId))}  ${stream.config}`);
  const { stage2, ste } = stream;
  row(terminal, 'STE', `${ste.address}  ${setFields(ste.fields)}`);
  if (stream.problem !== null) row(terminal, '', colors.red(stream.problem));
  if (stage2 !== null) {
    row(terminal, 'stage 2', wrap(setFields(stage2.fields).split(' '), WIDTH + 28, ''));
    const granule =
      stage2.granule === 0 ? 'reserved granule' : `${formatSize(stage2.granule)} granule`;
    row(terminal, '', `${granule}, ${stage2.inputBits}-bit input, ${stage2.outputBits}-bit output`);
    row(
      terminal,
      '',
      stage2.illegal === null
        ? 'legal for the captured SMMU; vsmmu answers as an SMMU with stage 1 only'
        : `illegal for the captured SMMU too: ${stage2.illegal}`,
    );
  }
  for (const context of stream.contexts) printContext(terminal, context);
  if (stream.contextsOmitted > 0) {
    row(terminal, '', `${plural(stream.contextsOmitted, 'more CD')}, not shown`);
  }
}

function printContext(terminal: Terminal, context: ContextReport): void {
  const { colors } = terminal;
  const { ssid, cd, mapped, problem } = context;
  const subject = ssid === null ? '' : `SubstreamID ${ssid}: `;
  if (context.kind === 'bypass') {
    row(terminal, 'no SSID', 'accesses without SubstreamID bypass stage 1 (S1DSS=1)');
    return;
  }
  if (cd !== null) {
    row(terminal, 'CD', `${cd.address}  ${subject}${cdText(cd)}`);
    for (const half of cd.halves) row(terminal, half.name, halfText(half));
  }
  if (problem !== null) {
    row(
      terminal,
      cd === null ? (ssid === null ? 'no SSID' : 'CD') : '',
      colors.red(`${cd === null ? subject : ''}${problem}`),
    );
  }
  if (mapped !== null) row(terminal, 'mapped', mappedText(terminal, mapped));
}

function cdText(cd: CdReport): string {
  const { fields } = cd;
  const effect = fields.A === 1 ? 'abort' : 'read as zero';
  const faults =
    fields.S === 1
      ? 'faults stall'
      : `faults ${effect}${fields.R === 1 ? ', recorded' : ', not recorded'}`;
  const flags = [
    'DS',
    'ENDI',
    'TBI0',
    'TBI1',
    'HAD0',
    'HAD1',
    'E0PD0',
    'E0PD1',
    'AFFD',
    'HA',
    'HD',
    'WXN',
    'PAN',
    'EPAN',
  ].filter((name) => fields[name] === 1);
  return [`ASID ${fields.ASID!}`, `IPS ${cd.ipsBits} bits`, faults, ...flags].join(', ');
}

function halfText(half: HalfReport): string {
  if (!half.enabled) return `off (EPD${half.name === 'TTB0' ? 0 : 1}=1)`;
  return `${half.table}  ${formatSize(half.granule)} granule, ${half.inputBits}-bit input, starts at level ${half.startLevel}`;
}

function mappedText(terminal: Terminal, mapped: MappedReport): string {
  const { colors } = terminal;
  const sizes = Object.entries(mapped.leaves).map(
    ([size, count]) => `${count} x ${formatSize(Number(size))}`,
  );
  const problems: string[] = [];
  if (mapped.missing > 0) {
    const where = `from ${mapped.firstMissing ?? ''} on`;
    problems.push(`${plural(mapped.missing, 'descriptor')}, ${where}, not in memory`);
  }
  if (mapped.incomplete) problems.push(`stopped after ${mapped.tables} tables`);
  const leaves =
    sizes.length === 0 ? 'nothing' : `${formatSize(mapped.bytes)}: ${sizes.join(', ')}`;
  const text = `${leaves}, in ${plural(mapped.tables, 'table')}`;
  return problems.length === 0 ? text : `${text}; ${colors.yellow(problems.join('; '))}`;
}

/** Fields of an STE that its heading tells. */
const IN_HEADING = ['V', 'Config'];

/** The fields that are not 0, as `name=value`. */
function setFields(fields: FieldRecord): string {
  return Object.entries(fields)
    .filter(([name, value]) => value !== 0 && value !== '0x0' && !IN_HEADING.includes(name))
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
}

function indexText({ index, wrap: flag }: QueueIndex): string {
  return `${index} wrap ${flag}`;
}

const LABEL_WIDTH = 8;

function row(terminal: Terminal, label: string, text: string): void {
  const [first, ...rest] = text.split('\n');
  terminal.out.line(`  ${terminal.colors.dim(label.padEnd(LABEL_WIDTH))}${first!}`);
  for (const line of rest) terminal.out.line(`  ${' '.repeat(LABEL_WIDTH)}${line}`);
}
