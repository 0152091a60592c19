import type { Capture } from '../fixtures/capture.js';
import { explain } from '../transaction/explain.js';
import { Access, Permission } from '../transaction/permissions.js';
import { describeReason } from '../transaction/reason.js';
import { Translator } from '../transaction/translator.js';
import { Outcome, type Translation } from '../transaction/translation.js';
import { hexU64, type Halves } from '../memory/u64.js';
import { UsageError } from './arguments.js';
import { eventName, recordOf, whyNotRecorded } from './event-record.js';
import { openCapture } from './open-capture.js';
import { hex } from '../memory/hex.js';
import { DeviceNames, formatSize, plural } from './output.js';
import { Progress } from './progress.js';
import { advance, segmentsOf, wraps, type DeviceAccess, type Segment } from './segments.js';
import { printSteps } from './steps.js';
import { Exit, type Terminal } from './terminal.js';

/** Options of `vsmmu translate`. */
export interface TranslateOptions {
  readonly json?: true;
  readonly stream: number;
  readonly iova: Halves;
  readonly write?: true;
  readonly instruction?: true;
  readonly privileged?: true;
  readonly ssid?: number;
  readonly length: number;
  readonly explain?: true;
}

/** `vsmmu translate`: where an access of a device goes, or why it faults. */
export async function translate(
  terminal: Terminal,
  folder: string,
  options: TranslateOptions,
): Promise<number> {
  const capture = openCapture(folder);
  if (wraps(options.iova, options.length)) {
    throw new UsageError('the access goes beyond 2^64: give a smaller --length');
  }
  const access: DeviceAccess = {
    streamId: options.stream,
    substreamId: options.ssid ?? -1,
    iova: options.iova,
    access:
      (options.write ? Access.write : 0) |
      (options.instruction ? Access.instruction : 0) |
      (options.privileged ? Access.privileged : 0),
    length: options.length,
  };
  return new Report(terminal, capture, access, options).print();
}

class Report {
  private readonly terminal: Terminal;
  private readonly capture: Capture;
  private readonly access: DeviceAccess;
  private readonly options: TranslateOptions;

  constructor(
    terminal: Terminal,
    capture: Capture,
    access: DeviceAccess,
    options: TranslateOptions,
  ) {
    this.terminal = terminal;
    this.capture = capture;
    this.access = access;
    this.options = options;
  }

  async print(): Promise<number> {
    const { terminal, capture, access, options } = this;
    const { out } = terminal;
    const translator = new Translator(capture.memory, capture.features);
    translator.configure(capture.frame);
    if (!options.json) out.line(terminal.colors.bold(this.heading()));
    if (options.explain) this.explain(access.iova);
    const progress = new Progress(terminal, 'translating', access.length);
    const segments = segmentsOf(translator, capture, access);
    let done = 0;
    let next = segments.next();
    while (next.done !== true && !out.closed) {
      this.segment(next.value);
      done += next.value.length;
      if (out.full) {
        progress.stop();
        await out.flush();
      }
      progress.update(done);
      next = segments.next();
    }
    progress.stop();
    if (next.done !== true || next.value === undefined) return Exit.fine;
    const { fault, done: before } = next.value;
    if (options.explain && before > 0) {
      const iova = { ...access.iova };
      advance(iova, before);
      this.explain(iova);
    }
    this.fault(fault, before);
    return Exit.found;
  }

  private heading(): string {
    const { access } = this;
    const kind =
      (access.access & Access.write) !== 0
        ? 'write'
        : (access.access & Access.instruction) !== 0
          ? 'instruction fetch'
          : 'read';
    const privileged = (access.access & Access.privileged) !== 0 ? 'privileged ' : '';
    const ssid = access.substreamId < 0 ? '' : `, SubstreamID ${access.substreamId}`;
    const label = new DeviceNames(this.capture).label(access.streamId);
    return `${privileged}${kind} of ${plural(access.length, 'byte')} at ${at(access.iova)}, ${label}${ssid}`;
  }

  private explain(iova: Halves): void {
    const { capture, access } = this;
    const { steps } = explain(capture.memory, capture.frame, capture.features, {
      streamId: access.streamId,
      substreamId: access.substreamId,
      inputHigh: iova.high,
      inputLow: iova.low,
      access: access.access,
    });
    if (this.options.json) {
      const shown = steps.map((step) => ({
        ...step,
        address: step.address < 0 ? null : hex(step.address),
      }));
      this.terminal.out.line(JSON.stringify({ iova: at(iova), steps: shown }));
    } else {
      printSteps(this.terminal, at(iova), steps);
    }
  }

  private segment(segment: Segment): void {
    const { out, colors } = this.terminal;
    const { iova, address, length } = segment;
    if (this.options.json) {
      out.line(JSON.stringify({ iova: at(iova), pa: hex(address), length: hex(length) }));
      return;
    }
    const bytes = `${hex(length)} (${formatSize(length)})`;
    out.line(`${at(iova)} -> ${colors.green(hex(address))}  ${bytes}  ${properties(segment)}`);
  }

  private fault(fault: Translation, done: number): void {
    const { out, colors } = this.terminal;
    const { length } = this.access;
    const iova = hexU64(fault.inputHigh, fault.inputLow);
    const reason = describeReason(fault.reason);
    const why = whyNotRecorded(fault, this.capture);
    const record = fault.event === 0 ? undefined : recordOf(fault, this.capture);
    if (this.options.json) {
      const line = {
        iova,
        fault: fault.event === 0 ? 'abort' : eventName(fault.event),
        event: fault.event,
        reason,
        outcome: OUTCOMES[fault.outcome]!,
        done: hex(done),
        recorded: why === undefined,
        record: why === undefined ? (record?.words ?? null) : null,
      };
      out.line(JSON.stringify(line));
      return;
    }
    const name =
      fault.event === 0 ? 'abort' : `${eventName(fault.event)} (event ${hex(fault.event)})`;
    const progress = length > 1 ? `, after ${hex(done)} of ${hex(length)} bytes` : '';
    out.line(`${colors.red(`${iova} faults: ${name}`)}${progress}`);
    out.line(`  why     ${reason}`);
    out.line(`  effect  the access ${EFFECTS[fault.outcome]!}`);
    if (record === undefined || why !== undefined) {
      out.line(`  record  none: ${why ?? ''}`);
      return;
    }
    out.line(`  record  ${record.words.join(' ')}`);
    out.line(`          ${record.fields.join(' ')}`);
  }
}

const OUTCOMES: Readonly<Record<number, string>> = {
  [Outcome.aborted]: 'aborted',
  [Outcome.zeroed]: 'zeroed',
  [Outcome.stalled]: 'stalled',
};
const EFFECTS: Readonly<Record<number, string>> = {
  [Outcome.aborted]: 'aborts',
  [Outcome.zeroed]: 'reads as zeros and writes nothing (CD.A=0)',
  [Outcome.stalled]: 'stalls until CMD_RESUME or CMD_STALL_TERM (CD.S=1)',
};

/** What the leaf of the first byte says. */
function properties({ result, leaves }: Segment): string {
  if (result.bypassed) return 'not translated';
  const { permissions } = result;
  const size = formatSize(2 ** result.leafLog2);
  const leaf =
    leaves === 1 ? `${size} at level ${result.level}` : `${leaves} leaves, the first ${size}`;
  const unprivileged = letters(
    permissions,
    Permission.unprivilegedRead,
    Permission.unprivilegedWrite,
    Permission.unprivilegedExecute,
  );
  const privileged = letters(
    permissions,
    Permission.privilegedRead,
    Permission.privilegedWrite,
    Permission.privilegedExecute,
  );
  return `${leaf}, unprivileged ${unprivileged}, privileged ${privileged}`;
}

function letters(permissions: number, read: number, write: number, execute: number): string {
  return (
    ((permissions & read) !== 0 ? 'r' : '-') +
    ((permissions & write) !== 0 ? 'w' : '-') +
    ((permissions & execute) !== 0 ? 'x' : '-')
  );
}

function at(iova: Halves): string {
  return hexU64(iova.high, iova.low);
}
