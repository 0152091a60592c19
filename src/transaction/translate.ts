import { Event, EventClass } from '../arch/event.js';
import { get } from '../arch/field.js';
import { Register, wordOf } from '../arch/registers.js';
import { Ste } from '../arch/ste.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { Features } from '../registers/features.js';
import { Context } from './context.js';
import { Access } from './permissions.js';
import { Reason } from './reason.js';
import { StreamTable } from './stream.js';
import { BYPASS, SubstreamTable } from './substream.js';
import { Outcome, type Translation } from './translation.js';
import { Walker } from './walk.js';

const { CR0, CR2, GBPA } = Register;

/**
 * Takes a device's access from StreamID to physical address, in the order of checks of IHI 0070,
 * section 7.3: SMMUEN and GBPA, stream table, STE, SubstreamID, CD, stage-1 walk. Nothing is
 * cached here: each call reads the guest's structures anew.
 */
export class Translator {
  /** Finds STEs. */
  readonly streams: StreamTable;
  /** Finds CDs. */
  readonly substreams: SubstreamTable;
  /** Walks tables. */
  readonly walker: Walker;
  /** The CD that the last translation used, decoded. */
  readonly context = new Context();
  /** What the SMMU can do. */
  readonly features: Features;

  private enabled = false;
  private globalAbort = false;
  private recordsInvalidStreamId = false;
  private readonly outputLimit: number;

  /** @param features must be ones that the library implements: see {@link implementedFeatures}. */
  constructor(memory: GuestMemory, features: Features) {
    this.features = features;
    this.outputLimit = 2 ** features.OAS;
    this.streams = new StreamTable(memory, features);
    this.substreams = new SubstreamTable(memory, features);
    this.walker = new Walker(memory);
  }

  /** Takes over CR0, CR2, GBPA and STRTAB_* from a register frame (32-bit words of both pages). */
  configure(frame: Uint32Array): void {
    this.enabled = get(frame, wordOf(CR0), CR0.fields.SMMUEN) === 1;
    this.globalAbort = get(frame, wordOf(GBPA), GBPA.fields.ABORT) === 1;
    this.recordsInvalidStreamId = get(frame, wordOf(CR2), CR2.fields.RECINVSID) === 1;
    this.streams.configure(frame);
  }

  /**
   * Translates one access into `result`.
   * @param streamId StreamID of the device, below 2^32.
   * @param substreamId SubstreamID (PASID) of the access, or -1 without one.
   * @param inputHigh bits 63:32 of the address that the device presents.
   * @param inputLow bits 31:0 of it.
   * @param access {@link Access} bits.
   * @returns an {@link Outcome}, which `result` has as well.
   */
  translate(
    streamId: number,
    substreamId: number,
    inputHigh: number,
    inputLow: number,
    access: number,
    result: Translation,
  ): number {
    result.streamId = streamId;
    result.substreamId = substreamId;
    result.inputHigh = inputHigh >>> 0;
    result.inputLow = inputLow >>> 0;
    result.access = access;
    result.event = 0;
    result.recorded = false;
    if (!this.enabled) return this.passGlobally(result);

    const event = this.resolve(streamId, substreamId, result);
    if (event === BYPASS) {
      result.access = this.override(access);
      return this.pass(result, result.reason);
    }
    if (event !== 0) return this.abort(result, event);
    if (result.reason === Reason.configAbort) return result.outcome;

    result.access = this.override(access);
    const { context } = this;
    if (this.walker.walk(context, inputHigh, inputLow, result.access, result) === 0) {
      return (result.outcome = Outcome.translated);
    }
    if (result.event === Event.F_WALK_EABT.id) return this.abort(result, result.event);
    // CD.A, R and S (IHI 0070, section 5.5): a stall is always recorded.
    result.recorded = context.records || context.stalls;
    result.outcome = context.stalls
      ? Outcome.stalled
      : context.aborts
        ? Outcome.aborted
        : Outcome.zeroed;
    return result.outcome;
  }

  /**
   * Finds the CD of a stream, without an access: into {@link context} and
   * {@link SubstreamTable.cd}, by way of {@link StreamTable.ste}.
   * @returns 0 with a context, {@link BYPASS} when the stream bypasses stage 1, the number of an
   * event, or 0 with reason `configAbort` and the outcome aborted when STE.Config says abort.
   */
  resolve(streamId: number, substreamId: number, result: Translation): number {
    const { streams, substreams, features } = this;
    result.reason = Reason.none;
    let event = streams.fetch(streamId, result);
    if (event !== 0) return event;
    if ((get(streams.ste, 0, Ste.Config) & 0b100) === 0) {
      result.outcome = Outcome.aborted;
      result.reason = Reason.configAbort;
      return 0;
    }
    event = substreams.select(streams.ste, substreamId, result);
    if (event !== 0) return event;
    event = substreams.fetch(streams.ste, substreams.index, result);
    if (event === 0) this.context.decode(substreams.cd, 0, features);
    return event;
  }

  /** SMMUEN=0: GBPA decides; nothing is ever recorded. */
  private passGlobally(result: Translation): number {
    result.outcome = Outcome.aborted;
    if (this.globalAbort) result.reason = Reason.globalAbort;
    else if (inputAddress(result) >= this.outputLimit) result.reason = Reason.globalBypassAddress;
    else return this.pass(result, Reason.none);
    return result.outcome;
  }

  /** No stage translates. */
  private pass(result: Translation, reason: number): number {
    const address = inputAddress(result);
    if (address >= this.outputLimit) {
      result.reason = Reason.bypassAddress;
      result.class = EventClass.IN;
      return this.abort(result, Event.F_ADDR_SIZE.id);
    }
    result.outcome = Outcome.translated;
    result.reason = reason;
    result.bypassed = true;
    result.outputAddress = address;
    return result.outcome;
  }

  private abort(result: Translation, event: number): number {
    result.event = event;
    result.outcome = Outcome.aborted;
    result.recorded = event !== Event.C_BAD_STREAMID.id || this.recordsInvalidStreamId;
    return result.outcome;
  }

  /** Applies STE.PRIVCFG and STE.INSTCFG, where the SMMU has them (IHI 0070, section 13.5). */
  private override(access: number): number {
    if (this.features.ATTR_PERMS_OVR === 0) return access;
    const { ste } = this.streams;
    const privilege = get(ste, 0, Ste.PRIVCFG);
    if (privilege === 2) access &= ~Access.privileged;
    if (privilege === 3) access |= Access.privileged;
    const instruction = get(ste, 0, Ste.INSTCFG);
    if (instruction === 2) access &= ~Access.instruction;
    if (instruction === 3) access |= Access.instruction;
    return access;
  }
}

/** The input address as a number: beyond 2^53 rounded, which no comparison with an address size sees. */
function inputAddress(result: Translation): number {
  return result.inputHigh * 0x1_0000_0000 + result.inputLow;
}
