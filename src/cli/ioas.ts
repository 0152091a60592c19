import { get } from '../arch/field.js';
import { Register, wordOf } from '../arch/registers.js';
import { Ste } from '../arch/ste.js';
import type { Capture } from '../fixtures/capture.js';
import { enumerate, type Enumeration } from '../ioas/enumerate.js';
import type { Features } from '../registers/features.js';
import { Permission } from '../transaction/permissions.js';
import { describeReason, Reason } from '../transaction/reason.js';
import { Translator } from '../transaction/translator.js';
import { eventName } from './event-record.js';
import { openCapture } from './open-capture.js';
import { hex } from '../memory/hex.js';
import { DeviceNames, plural } from './output.js';
import { Progress } from './progress.js';
import { RangeWriter, type Ranges } from './range-writer.js';
import { isCdInvalid, spacesOf, validStreams, type Space } from '../transaction/survey.js';
import { Exit, type Terminal } from './terminal.js';

/** Options of `vsmmu ioas`. */
export interface IoasOptions {
  readonly json?: true;
  readonly privileged?: true;
  readonly stream?: number;
  readonly ssid?: number;
}

/** How much of one address space is listed. */
const LIMITS = { tables: 1 << 20, runs: 1 << 22 };
/** Notes that are printed; the rest is counted. */
const MAX_NOTES = 50;

/** `vsmmu ioas`: what is mapped for every stream, as ranges. */
export async function ioas(
  terminal: Terminal,
  folder: string,
  options: IoasOptions,
): Promise<number> {
  return new Listing(terminal, openCapture(folder), options).print();
}

/** Which {@link Permission} bits are the reads and the writes of a device. */
interface AccessBits {
  readonly read: number;
  readonly write: number;
}

class Listing {
  private readonly terminal: Terminal;
  private readonly capture: Capture;
  private readonly options: IoasOptions;
  private readonly names: DeviceNames;
  private readonly writer: RangeWriter;
  private readonly translator: Translator;
  private status: number = Exit.fine;
  private notes = 0;
  private spaces = 0;

  constructor(terminal: Terminal, capture: Capture, options: IoasOptions) {
    this.terminal = terminal;
    this.capture = capture;
    this.options = options;
    this.names = new DeviceNames(capture);
    this.writer = new RangeWriter(terminal, this.names, options.json === true);
    this.translator = new Translator(capture.memory, capture.features);
    this.translator.configure(capture.frame);
  }

  async print(): Promise<number> {
    const { CR0 } = Register;
    const enabled = get(this.capture.frame, wordOf(CR0), CR0.fields.SMMUEN) === 1;
    if (enabled) await this.streams();
    else await this.globally();
    if (this.notes > MAX_NOTES) this.terminal.note(`${this.notes - MAX_NOTES} more notes`);
    return this.status;
  }

  /** SMMUEN=0: GBPA decides for every device. */
  private async globally(): Promise<void> {
    const { GBPA } = Register;
    const aborts = get(this.capture.frame, wordOf(GBPA), GBPA.fields.ABORT) === 1;
    this.note(
      `CR0.SMMUEN=0: GBPA.ABORT=${aborts ? 1 : 0}, every stream ${aborts ? 'aborts' : 'bypasses'}`,
    );
    if (aborts) return;
    const { stream, ssid } = this.options;
    for (const streamId of stream === undefined ? this.names.streamIds() : [stream]) {
      await this.writer.write(streamId, ssid ?? -1, this.identity(), 'bypass', RW);
    }
  }

  private async streams(): Promise<void> {
    const { stream, ssid } = this.options;
    const { streams } = this.translator;
    const progress = new Progress(this.terminal, 'reading tables', 2 ** streams.log2Size);
    if (stream !== undefined) {
      await this.stream(stream, progress);
    } else {
      const counts = { invalid: 0, missing: 0, firstMissing: -1 };
      for (const streamId of validStreams(streams, counts)) {
        if (this.writer.closed) break;
        progress.update(streamId);
        await this.stream(streamId, progress);
      }
      if (counts.missing > 0) {
        const where = `from ${hex(counts.firstMissing)} on`;
        this.problem(
          `${plural(counts.missing, 'page')} of the stream table, ${where}, not in memory`,
        );
      }
    }
    progress.stop();
    if (ssid !== undefined && this.spaces === 0 && this.status === Exit.fine) {
      this.problem(`no stream has SubstreamID ${ssid}`);
    }
  }

  private async stream(streamId: number, progress: Progress): Promise<void> {
    for (const space of spacesOf(this.translator, streamId, this.options.ssid)) {
      if (this.writer.closed) return;
      await this.space(streamId, space, progress);
    }
  }

  private async space(streamId: number, space: Space, progress: Progress): Promise<void> {
    const { substreamId, kind } = space;
    if (kind === 'fault') {
      this.fault(streamId, space);
      return;
    }
    if (kind === 'abort') {
      if (this.options.stream !== undefined) {
        this.note(`${this.names.label(streamId)} aborts: nothing is mapped`);
      }
      return;
    }
    this.spaces++;
    if (kind === 'bypass') {
      progress.stop();
      await this.writer.write(streamId, substreamId, this.identity(), 'bypass', RW);
      return;
    }
    const { streams, context, features } = this.translator;
    const bits = accessBits(streams.ste, features, this.options.privileged === true);
    const found = enumerate(this.capture.memory, context, bits.read | bits.write, LIMITS);
    progress.stop();
    await this.writer.write(streamId, substreamId, found.runs, `ASID ${context.asid}`, bits);
    this.incomplete(streamId, substreamId, found);
  }

  /** Accesses that are not translated reach all of RAM, as far as output addresses go. */
  private identity(): Ranges {
    const { ramBase, ramBytes, features } = this.capture;
    const bytes = Math.min(ramBytes, 2 ** features.OAS - ramBase);
    return {
      count: bytes > 0 ? 1 : 0,
      iova: () => ramBase,
      address: () => ramBase,
      length: () => bytes,
      permissions: () => RW.read | RW.write,
    };
  }

  private fault(streamId: number, space: Space): void {
    const { event, reason, substreamId } = space;
    const asked = this.options.stream !== undefined;
    const subject = this.subject(streamId, substreamId);
    const text = `${subject}: ${eventName(event)}: ${describeReason(reason)}`;
    if (space.missing >= 0) {
      this.problem(`${text}: ${hex(space.missing)} is not in memory`);
      return;
    }
    if (asked && (reason <= Reason.steInvalid || this.options.ssid !== undefined)) {
      this.problem(text);
      return;
    }
    const noSuchSpace =
      reason === Reason.substreamMissing ||
      (this.options.ssid !== undefined && (reason < Reason.illegalSte || isCdInvalid(space)));
    if (!noSuchSpace) this.note(text);
  }

  private incomplete(streamId: number, substreamId: number, found: Enumeration): void {
    const subject = this.subject(streamId, substreamId);
    if (found.aborted > 0) {
      const where = `from ${hex(found.firstAborted)} on`;
      this.problem(`${subject}: ${plural(found.aborted, 'descriptor')}, ${where}, not in memory`);
    }
    if (found.end === 'tables') {
      this.problem(`${subject}: incomplete: stopped after ${LIMITS.tables} tables`);
    } else if (found.end === 'runs') {
      this.problem(`${subject}: incomplete: stopped after ${LIMITS.runs} ranges`);
    }
  }

  private subject(streamId: number, substreamId: number): string {
    return `${this.names.label(streamId)}${substreamId < 0 ? '' : `, SubstreamID ${substreamId}`}`;
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

/** Bits of an identity range. */
const RW: AccessBits = { read: Permission.unprivilegedRead, write: Permission.unprivilegedWrite };

/**
 * The permissions that decide a device's data accesses, after STE.PRIVCFG and STE.INSTCFG have made
 * them privileged or not, data or instruction (IHI 0070, section 13.5).
 */
function accessBits(ste: Uint32Array, features: Features, privileged: boolean): AccessBits {
  const overrides = features.ATTR_PERMS_OVR === 1;
  const privilege = overrides ? get(ste, 0, Ste.PRIVCFG) : 0;
  const fetches = overrides && get(ste, 0, Ste.INSTCFG) === 3;
  if (privilege === 3 || (privilege !== 2 && privileged)) {
    return {
      read: fetches ? Permission.privilegedExecute : Permission.privilegedRead,
      write: Permission.privilegedWrite,
    };
  }
  return {
    read: fetches ? Permission.unprivilegedExecute : Permission.unprivilegedRead,
    write: Permission.unprivilegedWrite,
  };
}
