import { get } from '../arch/field.js';
import { Register, wordOf } from '../arch/registers.js';
import type { Capture } from '../fixtures/capture.js';
import {
  mirrorSnapshot,
  type MirroredSpace,
  type MirrorSnapshot,
  type MirrorStep,
} from '../fixtures/mirror-snapshot.js';
import { deviceIoas } from '../fixtures/mirror-sinks.js';
import { hex } from '../memory/hex.js';
import { AreaPermission } from '../mirror/sink.js';
import { describeReason, Reason } from '../transaction/reason.js';
import { eventName } from './event-record.js';
import type { MirrorCommandOptions } from './mirror.js';
import { DeviceNames, formatSize, plural } from './output.js';
import { Progress } from './progress.js';
import { RangeWriter } from './range-writer.js';
import { Exit, type Terminal } from './terminal.js';

/** Differences that are printed. */
const SHOWN = 10;
/** Notes that are printed; the rest is counted. */
const MAX_NOTES = 50;
const WIDTH = 14;

/** Mirrors the captured tables, and prints what the IOASes have: the ranges as `vsmmu ioas` does. */
export async function listMirror(
  terminal: Terminal,
  capture: Capture,
  options: MirrorCommandOptions,
): Promise<number> {
  const { policy, sink } = options;
  const { STRTAB_BASE_CFG } = Register;
  const log2Size = get(capture.frame, wordOf(STRTAB_BASE_CFG), STRTAB_BASE_CFG.fields.LOG2SIZE);
  const progress = new Progress(terminal, 'reading tables', 2 ** log2Size);
  let found;
  try {
    found = mirrorSnapshot(capture, {
      policy,
      ioas: (ask) => deviceIoas(sink, ask),
      now: () => performance.now(),
      progress: (streamId) => {
        progress.update(streamId);
      },
    });
  } finally {
    progress.stop();
  }
  return new MirrorListing(terminal, capture, options).print(found);
}

class MirrorListing {
  private readonly terminal: Terminal;
  private readonly options: MirrorCommandOptions;
  private readonly names: DeviceNames;
  private readonly writer: RangeWriter;
  private status: number = Exit.fine;
  private notes = 0;
  private ranges = 0;
  private listed = 0;
  private mismatches = 0;
  private readonly first: string[] = [];

  constructor(terminal: Terminal, capture: Capture, options: MirrorCommandOptions) {
    this.terminal = terminal;
    this.options = options;
    this.names = new DeviceNames(capture);
    this.writer = new RangeWriter(terminal, this.names, options.json === true);
  }

  async print(found: MirrorSnapshot): Promise<number> {
    const { globally, spaces, counts, load, sync, refusals } = found;
    if (globally !== undefined) {
      this.note(
        `CR0.SMMUEN=0: GBPA.ABORT=${globally === 'abort' ? 1 : 0}, every stream ` +
          (globally === 'abort' ? 'aborts' : 'bypasses'),
      );
    }
    for (const space of spaces) {
      if (this.writer.closed) break;
      await this.space(space);
    }
    if (counts.missing > 0) {
      const where = `from ${hex(counts.firstMissing)} on`;
      this.problem(
        `${plural(counts.missing, 'page')} of the stream table, ${where}, not in memory`,
      );
    }
    const again = sync.maps + sync.unmaps;
    if (again > 0) this.mismatch(`the second sync has changed the IOASes: ${again} operations`);
    if (refusals > 0) this.mismatch(`sinks have refused ${refusals} operations`);
    if (this.options.json) this.printJson(load, sync);
    else this.printText(load, sync);
    if (this.notes > MAX_NOTES) this.terminal.note(`${this.notes - MAX_NOTES} more notes`);
    await this.terminal.out.flush();
    return this.status;
  }

  private async space(mirrored: MirroredSpace): Promise<void> {
    const { streamId, space, held, asid, difference } = mirrored;
    if (mirrored.isLimited) this.problem(`${this.subject(mirrored)}: too many tables to mirror`);
    else if (difference !== '') this.mismatch(`${this.subject(mirrored)}: ${difference}`);
    if (space.kind === 'fault') this.fault(mirrored);
    if (space.kind === 'fault' || space.kind === 'abort') return;
    this.listed++;
    this.ranges += held.count;
    const how = space.kind === 'bypass' ? 'bypass' : `ASID ${asid}`;
    await this.writer.write(streamId, space.substreamId, held, how, AreaPermission);
    this.incomplete(mirrored);
  }

  private fault(mirrored: MirroredSpace): void {
    const { event, reason, missing } = mirrored.space;
    const text = `${this.subject(mirrored)}: ${eventName(event)}: ${describeReason(reason)}`;
    if (missing >= 0) this.problem(`${text}: ${hex(missing)} is not in memory`);
    else if (reason !== Reason.substreamMissing) this.note(text);
  }

  private incomplete(mirrored: MirroredSpace): void {
    const { enumeration } = mirrored;
    if (enumeration === undefined) return;
    const { aborted, firstAborted, end } = enumeration;
    if (aborted > 0) {
      const where = `from ${hex(firstAborted)} on`;
      const what = plural(aborted, 'descriptor');
      this.problem(`${this.subject(mirrored)}: ${what}, ${where}, not in memory`);
    }
    if (end !== 'complete') this.problem(`${this.subject(mirrored)}: incomplete: too many ${end}`);
  }

  private printJson(load: MirrorStep, sync: MirrorStep): void {
    const { policy, sink } = this.options;
    const { listed: spaces, ranges, mismatches, first } = this;
    const summary = { summary: 'tables', policy, sink, spaces, ranges, load, sync };
    this.terminal.out.line(JSON.stringify({ ...summary, mismatches, first }));
  }

  private printText(load: MirrorStep, sync: MirrorStep): void {
    const { out, colors } = this.terminal;
    const { policy, sink } = this.options;
    const what = `${plural(this.listed, 'IOAS', 'IOASes')} of ${plural(this.ranges, 'range')}`;
    const summary = `mirrored ${what} in ${time(load)}: ${this.mismatches} mismatches`;
    if (this.listed > 0) out.line();
    out.line(this.mismatches === 0 ? colors.green(summary) : colors.red(summary));
    for (const line of this.first) out.line(line);
    const rows: [string, string][] = [
      ['mirror', `policy ${policy}, sink ${sink}`],
      ['operations', `${load.maps + load.unmaps}: ${load.maps} maps, ${load.unmaps} unmaps`],
      ['bytes read', `${load.bytesRead} of tables, ${formatSize(load.bytesRead)}`],
      [
        'synced again',
        `${sync.maps + sync.unmaps} operations, ${formatSize(sync.bytesRead)} in ${time(sync)}`,
      ],
    ];
    for (const [title, value] of rows) out.line(`  ${title.padEnd(WIDTH)}${value}`);
  }

  private subject({ streamId, space }: MirroredSpace): string {
    const { substreamId } = space;
    return `${this.names.label(streamId)}${substreamId < 0 ? '' : `, SubstreamID ${substreamId}`}`;
  }

  private mismatch(sentence: string): void {
    this.status = Exit.found;
    this.mismatches++;
    if (this.first.length < SHOWN) this.first.push(sentence);
  }

  /** Says that the list is not all there is. */
  private problem(text: string): void {
    this.status = Exit.found;
    this.note(text);
  }

  private note(text: string): void {
    if (this.notes++ < MAX_NOTES) this.terminal.note(text);
  }
}

function time({ milliseconds }: MirrorStep): string {
  return milliseconds < 1000
    ? `${milliseconds.toFixed(1)} ms`
    : `${(milliseconds / 1000).toFixed(1)} s`;
}
