import type { GuestLog } from '../log.js';
import type { Features } from '../registers/features.js';
import type { ConfigurationCache } from '../transaction/configuration-cache.js';
import { eventOf, writeEvent } from '../transaction/fault.js';
import { StalledAccess, type StallListener, type StallTable } from '../transaction/stall.js';
import { Outcome, type Translation } from '../transaction/translation.js';
import { Recorded, type EventQueue } from './event-queue.js';

/** What becomes of a fault: an event record, a stalled access, or a line in the log only. */
export class FaultRecorder {
  /** Faults by event number and by what became of the record: index `8*event + Recorded`. */
  readonly counts = new Float64Array(256 * 8);

  private readonly outputBits: number;
  private readonly configurations: ConfigurationCache;
  private readonly events: EventQueue;
  private readonly stalls: StallTable;
  private readonly log: GuestLog;
  private readonly record = new Uint32Array(8);

  constructor(
    features: Features,
    configurations: ConfigurationCache,
    events: EventQueue,
    stalls: StallTable,
    log: GuestLog,
  ) {
    this.outputBits = features.OAS;
    this.configurations = configurations;
    this.events = events;
    this.stalls = stalls;
    this.log = log;
  }

  /**
   * Records a fault: in the event queue, or in the table of stalls and, when there is room, in the queue.
   * @param access {@link Access} bits as the device made them.
   * @param answered gets the answer if the access stalls; without it what would stall aborts.
   * @returns the outcome for the device.
   */
  take(result: Translation, access: number, answered?: StallListener): number {
    if (result.outcome === Outcome.stalled) {
      if (answered !== undefined && !this.stalls.isFull)
        return this.stall(result, access, answered);
      result.outcome = Outcome.aborted;
      result.stall = false;
    }
    if (this.log.isOn) this.logFault(result);
    const { outcome } = result;
    if (!result.recorded) return outcome;
    writeEvent(this.record, 0, result, this.outputBits);
    // Who handles the interrupt may translate, into the same result.
    this.send(this.record, this.configurations.mergesEvents(result.streamId));
    return outcome;
  }

  /** Records what hardware has recorded, 8 words, as it is. */
  forward(record: Uint32Array): void {
    this.send(record, false);
  }

  private stall(result: Translation, access: number, answered: StallListener): number {
    result.stag = this.stalls.nextStag();
    const record = new Uint32Array(8);
    writeEvent(record, 0, result, this.outputBits);
    const stalled = new StalledAccess(result.stag, result, access, record, answered);
    this.stalls.accesses.set(stalled.stag, stalled);
    this.recordHeldStalls();
    return Outcome.stalled;
  }

  /** Tells the guest of stalls that it was not told of yet, in order, as far as the queue takes them. */
  recordHeldStalls(): void {
    for (const access of this.stalls.accesses.values()) {
      if (access.recorded) continue;
      if (!this.events.isWritable) return;
      // Before the interrupt: its handler may make room, and what is held would be sent again.
      access.recorded = true;
      if (this.send(access.record, false) !== Recorded.written) access.recorded = false;
    }
  }

  private send(record: Uint32Array, mergeable: boolean): number {
    // Before the record is sent: an interrupt may bring the next one into the same words.
    const event = eventOf(record, 0);
    const became = this.events.record(record, mergeable);
    const index = 8 * event + became;
    this.counts[index] = this.counts[index]! + 1;
    return became;
  }

  private logFault(result: Translation): void {
    const { streamId, substreamId, event, inputHigh, inputLow, access, reason } = result;
    const details = { streamId, substreamId, event, inputHigh, inputLow, access, reason };
    this.log.warn('a device access faulted', details);
  }
}
