import type { RouteTally } from '../fixtures/route-check.js';
import { hex } from '../memory/hex.js';
import type { InsideReason } from '../passthrough/passthrough-stats.js';
import { plural, table, wrap, type DeviceNames } from './output.js';
import type { PhysicalSummary, RouteSummary } from './route-summary.js';
import type { Terminal } from './terminal.js';

const WIDTH = 14;
/** Width of titles that are reasons. */
const WIDE = 18;
const LINE = 100;

/** Why commands stay inside. */
const REASONS: Readonly<Record<InsideReason, string>> = {
  otherStream: 'the StreamID is of no passthrough device',
  nobodyTranslates: 'no passthrough device is nested at that time, so hardware keeps nothing',
  notNested: 'the passthrough device that is named is not nested at that time',
  noAts: 'the STE of the device does not let it use ATS',
  noEffect: 'a SubstreamID or a size is out of range',
};

/** Prints a summary for people. */
export function printRoute(terminal: Terminal, summary: RouteSummary, names: DeviceNames): void {
  const { out } = terminal;
  printHead(terminal, summary);
  out.line();
  printDevices(terminal, summary, names);
  summary.physical.forEach((physical, i) => {
    out.line();
    out.line(terminal.colors.bold(`Physical SMMU ${i}`));
    printPhysical(terminal, physical);
  });
  const { emulated, inside } = summary;
  out.line();
  out.line(terminal.colors.bold('Emulated side'));
  printRows(terminal, [
    ['commands', counts(emulated.commands)],
    ['failed', String(emulated.failedCommands)],
    ['events', counts(emulated.events)],
  ]);
  out.line();
  out.line(terminal.colors.bold('Stays inside'));
  const reasons = Object.entries(inside) as [InsideReason, Readonly<Record<string, number>>][];
  if (reasons.length === 0) out.line('  nothing that could be forwarded');
  for (const [reason, commands] of reasons) {
    const why = `${counts(commands)}: ${REASONS[reason]}`;
    printRows(terminal, [[reason, why]], WIDE);
  }
}

function printHead(terminal: Terminal, summary: RouteSummary): void {
  const { out, colors } = terminal;
  const { commands, seconds, mismatches, devices, physical, hardwareEvents } = summary;
  const done = `routed ${plural(commands, 'command')} in ${seconds.toFixed(1)} s`;
  const line = `${done}: ${mismatches} mismatches`;
  out.line(mismatches === 0 ? colors.green(line) : colors.red(line));
  for (const sentence of summary.first) out.line(sentence);
  const where = plural(physical.length, 'physical SMMU');
  const forwarded = Object.values(summary.forwarded).reduce((sum, count) => sum + count, 0);
  printRows(terminal, [
    ['passthrough', `${plural(devices.length, 'device')} behind ${where}`],
    ['left out', `${plural(summary.leftOut, 'access', 'accesses')} that hardware translates`],
    ['', `event records that hardware writes: ${counts(hardwareEvents)}`],
    ['emulated', plural(summary.accesses, 'access', 'accesses')],
    ['forwarded', `${plural(forwarded, 'command')}: ${counts(summary.forwarded)}`],
    ['amplification', `${summary.amplification.toFixed(2)} commands sent for each`],
  ]);
}

function printDevices({ out }: Terminal, summary: RouteSummary, names: DeviceNames): void {
  const rows = summary.devices.map(({ streamId, physical, physicalStreamId, attached, hwpt }) => [
    ...[names.label(streamId), String(physical), hex(physicalStreamId), attached, String(hwpt)],
  ]);
  out.line(table([['device', 'SMMU', 'StreamID there', 'at the end', 'HWPT'], ...rows], [1, 2, 4]));
}

function printPhysical(terminal: Terminal, physical: PhysicalSummary): void {
  const { calls, commands, dropped, refusals, sent, madeUp, sizes, syncs, hwpts } = physical;
  const distribution = sizes.map(({ least, most, batches }) => {
    const size = most === null ? `${least} or more` : least === most ? least : `${least}-${most}`;
    return `${size}: ${batches}`;
  });
  const rows: [string, string][] = [
    ['calls', `${calls} with ${plural(commands, 'command')}, before ${plural(syncs, 'CMD_SYNC')}`],
    ['refused', plural(refusals, 'call')],
    ['commands', counts(sent)],
    ['dropped', `${dropped}, covered by one that waited already`],
  ];
  if (Object.keys(madeUp).length > 0) rows.push(['of the vSMMU', counts(madeUp)]);
  rows.push(['batch sizes', distribution.length === 0 ? 'none' : distribution.join(', ')]);
  rows.push(['HWPTs', `${hwpts.allocated} made, ${hwpts.destroyed} objects destroyed`]);
  rows.push(['events', `${physical.events} from hardware, ${physical.lostEvents} lost`]);
  rows.push(['TLBIs', checkLine(physical)]);
  printRows(terminal, rows);
  printBatches(terminal, physical);
  printChanges(terminal, physical);
}

function checkLine({ check: { tlbi, surplus, madeUp } }: PhysicalSummary): string {
  const total: RouteTally = { came: 0, sent: 0, dropped: 0, missing: 0 };
  for (const tally of Object.values(tlbi)) {
    total.came += tally.came;
    total.sent += tally.sent;
    total.dropped += tally.dropped;
    total.missing += tally.missing;
  }
  const { came, sent, dropped, missing } = total;
  const others = surplus + madeUp === 0 ? '' : `, ${madeUp} made up, ${surplus} of nobody`;
  return `${came} came while it translated: ${sent} in its queue, ${dropped} dropped, ${missing} missing${others}`;
}

function printBatches({ out }: Terminal, { batches, calls }: PhysicalSummary): void {
  if (calls === 0) return;
  out.line();
  out.line(`  First ${plural(batches.length, 'batch', 'batches')} of ${calls}`);
  const rows = [['line', 'syncs', 'origin', 'command', '']];
  for (const { line, syncs, origin, commands, count } of batches) {
    commands.forEach(({ command, fields }, i) => {
      const set = Object.entries(fields).filter(([, value]) => value !== 0 && value !== '0x0');
      const text = set.map(([name, value]) => `${name}=${value}`).join(' ');
      const first = i === 0 ? [lineOf(line), String(syncs), origin] : ['', '', ''];
      rows.push([...first, command, text]);
    });
    if (count > commands.length) rows.push(['', '', '', `and ${count - commands.length} more`, '']);
  }
  out.line(indented(table(rows, [0, 1])));
}

function printChanges({ out }: Terminal, { changes, changeCount }: PhysicalSummary): void {
  if (changeCount === 0) return;
  out.line();
  out.line('  Attachments');
  const rows = [['line', 'command', 'by', 'StreamID', 'to', 'HWPT', 'vSTE']];
  for (const { line, command, cause, streamId, attached, hwpt, vste } of changes) {
    const by = cause === 'CMDQ_PROD' ? 'CFGI' : cause;
    const where = [lineOf(line), String(command), by, hex(streamId)];
    rows.push([...where, attached, String(hwpt), vste.join(':')]);
  }
  out.line(indented(table(rows, [0, 1, 5])));
  if (changeCount > changes.length) out.line(`    and ${changeCount - changes.length} more`);
}

function lineOf(line: number): string {
  return line === 0 ? '-' : String(line);
}

function indented(text: string): string {
  return text.replace(/^/gm, '  ');
}

function printRows(
  { out }: Terminal,
  rows: readonly (readonly [string, string])[],
  width = WIDTH,
): void {
  for (const [title, value] of rows) {
    wrap(value.split(', '), LINE - width)
      .split('\n')
      .forEach((line, i) => {
        out.line(`  ${(i === 0 ? title : '').padEnd(width)}${line}`);
      });
  }
}

function counts(byName: Readonly<Record<string, number>>): string {
  const phrases = Object.entries(byName).map(([name, count]) => `${count} ${name}`);
  return phrases.length === 0 ? 'none' : phrases.join(', ');
}
