import { Event, EventClass } from '../arch/event.js';
import { get } from '../arch/field.js';
import { Register, wordOf } from '../arch/registers.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { Features } from '../registers/features.js';
import { ABORT, type Configurations } from './configuration.js';
import type { Context } from './context.js';
import { Reason } from './reason.js';
import { BYPASS } from './substream.js';
import { Outcome, type Translation } from './translation.js';
import { Walker } from './walk.js';

const { CR0, CR2, GBPA } = Register;

/**
 * Takes a device's access from StreamID to physical address, in the order of checks of IHI 0070,
 * section 7.3: SMMUEN and GBPA, stream table, STE, SubstreamID, CD, stage-1 walk.
 */
export class Transactions {
  /** Walks tables. */
  readonly walker: Walker;
  /** Walks done, faulting ones included. */
  walks = 0;

  /** Finds the CD of a stream. */
  protected readonly configurations: Configurations;
  /** SMMUEN: accesses are translated. */
  isEnabled = false;
  /** GBPA.ABORT: while it is not enabled, accesses abort. */
  globalAbort = false;
  private recordsInvalidStreamId = false;
  private readonly outputLimit: number;

  constructor(memory: GuestMemory, features: Features, configurations: Configurations) {
    this.outputLimit = 2 ** features.OAS;
    this.configurations = configurations;
    this.walker = new Walker(memory);
  }

  /** Takes over CR0, CR2, GBPA and STRTAB_* from a register frame (32-bit words of both pages). */
  configure(frame: Uint32Array): void {
    this.isEnabled = get(frame, wordOf(CR0), CR0.fields.SMMUEN) === 1;
    this.globalAbort = get(frame, wordOf(GBPA), GBPA.fields.ABORT) === 1;
    this.recordsInvalidStreamId = get(frame, wordOf(CR2), CR2.fields.RECINVSID) === 1;
    this.configurations.configure(frame);
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
    result.stall = false;
    if (!this.isEnabled) return this.passGlobally(result);

    const { configurations } = this;
    const event = configurations.find(streamId, substreamId, result);
    if (event > 0) return this.abort(result, event);
    if (event === ABORT) return (result.outcome = Outcome.aborted);
    const { attributes } = configurations;
    result.access = (access & ~attributes.clears) | attributes.sets;
    if (event === BYPASS) return this.pass(result);

    return this.answer(result);
  }

  /** Answers an access for which a context was found, by a walk. */
  protected answer(result: Translation): number {
    const { context } = this.configurations;
    const { inputHigh, inputLow, access } = result;
    this.walks++;
    if (this.walker.walk(context, inputHigh | 0, inputLow | 0, access, result) === 0) {
      return (result.outcome = Outcome.translated);
    }
    return this.fault(context, result);
  }

  /** CD.A, R and S (IHI 0070, section 5.5): a stall is always recorded. */
  protected fault(context: Context, result: Translation): number {
    if (result.event === Event.F_WALK_EABT.id) return this.abort(result, result.event);
    result.recorded = context.records || context.stalls;
    result.stall = context.stalls;
    result.outcome = context.stalls
      ? Outcome.stalled
      : context.aborts
        ? Outcome.aborted
        : Outcome.zeroed;
    return result.outcome;
  }

  /** SMMUEN=0: GBPA decides; nothing is ever recorded. */
  private passGlobally(result: Translation): number {
    result.outcome = Outcome.aborted;
    result.reason = Reason.none;
    if (this.globalAbort) result.reason = Reason.globalAbort;
    else if (inputAddress(result) >= this.outputLimit) result.reason = Reason.globalBypassAddress;
    else return this.pass(result);
    return result.outcome;
  }

  /** No stage translates. */
  private pass(result: Translation): number {
    const address = inputAddress(result);
    if (address >= this.outputLimit) {
      result.reason = Reason.bypassAddress;
      result.class = EventClass.IN;
      return this.abort(result, Event.F_ADDR_SIZE.id);
    }
    result.outcome = Outcome.translated;
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
}

/** The input address as a number: beyond 2^53 rounded, which no comparison with an address size sees. */
function inputAddress(result: Translation): number {
  return result.inputHigh * 0x1_0000_0000 + result.inputLow;
}
