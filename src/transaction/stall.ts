import { eventOf } from './fault.js';
import { Translation } from './translation.js';

/** Receives the answer to an access that stalled: any outcome but stalled. The object is the listener's. */
export type StallListener = (answer: Translation) => void;

/** An access that waits for the guest's decision (IHI 0070, section 3.12.2). */
export class StalledAccess {
  /** Names it to the guest, with the StreamID. */
  readonly stag: number;
  readonly streamId: number;
  /** -1 without SubstreamID. */
  readonly substreamId: number;
  readonly inputHigh: number;
  readonly inputLow: number;
  /** Access bits as the device made them. */
  readonly access: number;
  /** A {@link Reason}; none after a restore. */
  readonly reason: number;
  /** The event record, 8 words; what the guest is told once the event queue takes it. */
  readonly record: Uint32Array;
  /** Whether the record is in the event queue. */
  recorded = false;
  /** Who gets the answer; nobody yet after a restore. */
  answered: StallListener | undefined;

  constructor(
    stag: number,
    fault: Translation,
    access: number,
    record: Uint32Array,
    answered: StallListener | undefined,
  ) {
    this.stag = stag;
    this.streamId = fault.streamId;
    this.substreamId = fault.substreamId;
    this.inputHigh = fault.inputHigh;
    this.inputLow = fault.inputLow;
    this.access = access;
    this.reason = fault.reason;
    this.record = record;
    this.answered = answered;
  }

  /** Gives the device its answer: an {@link Outcome} that ends the access. */
  answer(outcome: number): void {
    if (this.answered === undefined) return;
    const result = new Translation();
    result.outcome = outcome;
    result.event = eventOf(this.record, 0);
    result.recorded = this.recorded;
    result.stag = this.stag;
    result.reason = this.reason;
    result.streamId = this.streamId;
    result.substreamId = this.substreamId;
    result.inputHigh = this.inputHigh;
    result.inputLow = this.inputLow;
    result.access = this.access;
    this.answered(result);
  }
}

/** The listener of an access whose device a restore has not brought back yet: the answer is lost. */
export function nobody(): void {
  // Nothing waits for it.
}

/** The stalled accesses of a vSMMU, at most IDR5.STALL_MAX of them. */
export class StallTable {
  /** Oldest first. */
  readonly accesses = new Map<number, StalledAccess>();
  /** The STAG that was given last. */
  lastStag = 0;
  private readonly limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** No further access can stall. */
  get isFull(): boolean {
    return this.accesses.size >= this.limit;
  }

  /** A STAG that no stalled access has. There must be room. */
  nextStag(): number {
    do this.lastStag = (this.lastStag + 1) & 0xffff;
    while (this.accesses.has(this.lastStag));
    return this.lastStag;
  }

  /** Takes out and returns the access `stag` of a stream, if there is one. */
  take(streamId: number, stag: number): StalledAccess | undefined {
    const access = this.accesses.get(stag);
    if (access?.streamId !== streamId) return undefined;
    this.accesses.delete(stag);
    return access;
  }

  /** Takes out the accesses of a stream, or all of them, oldest first. */
  takeAll(streamId?: number): StalledAccess[] {
    const taken: StalledAccess[] = [];
    for (const access of this.accesses.values()) {
      if (streamId === undefined || access.streamId === streamId) taken.push(access);
    }
    for (const { stag } of taken) this.accesses.delete(stag);
    return taken;
  }
}
