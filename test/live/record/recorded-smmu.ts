import {
  FRAME_BYTES,
  Outcome,
  Register,
  Smmu,
  type SmmuOptions,
  type SmmuState,
  type StreamHandle,
  type Translation,
  type U64,
} from 'vsmmu';
import { hex, type Journal, type Line } from './journal.js';
import { recordHandle } from './recorded-handle.js';

type Answered = NonNullable<Parameters<Smmu['translate']>[6]>;

const { EVENTQ_PROD, EVENTQ_CONS, PRIQ_PROD, PRIQ_CONS } = Register;
const AMBIGUOUS: ReadonlySet<number> = new Set(
  [EVENTQ_PROD, EVENTQ_CONS, PRIQ_PROD, PRIQ_CONS].map(({ offset }) => offset - FRAME_BYTES / 2),
);

/** What a {@link RecordedSmmu} needs of its recorder. */
export interface Recording {
  readonly journal: Journal;
  /** Reads of registers are those of the guest. */
  readonly readsAreTheGuests: boolean;
  /** A register is about to be written. */
  beforeWrite(offset: number, value: U64): void;
}

/** A vSMMU with a journal of everything that is asked of it. */
export class RecordedSmmu extends Smmu {
  private readonly recording: Recording;
  private readonly journal: Journal;

  /** @param options with memory and interrupts that the journal has a part in. */
  constructor(options: SmmuOptions, recording: Recording) {
    super(options);
    this.recording = recording;
    this.journal = recording.journal;
  }

  override readRegister(offset: number, size: number): U64 {
    const read = () => super.readRegister(offset, size);
    if (!this.recording.readsAreTheGuests || !isAccess(offset, size)) return read();
    return this.journal.call({ kind: 'read', offset: hex(offset), size }, read, (line, value) => {
      line.value = hex(value);
    });
  }

  override writeRegister(offset: number, size: number, value: U64): void {
    const write = () => {
      super.writeRegister(offset, size, value);
    };
    if (!isAccess(offset, size)) {
      write();
      return;
    }
    this.recording.beforeWrite(offset, value);
    const line: Line = { kind: 'mmio', offset: hex(offset), value: hex(value), size };
    // Other traces mean registers of page 1 by these.
    if (AMBIGUOUS.has(offset)) line.page = 0;
    this.journal.call(line, write, () => undefined);
  }

  override drain(budget: number): boolean {
    const drain = () => super.drain(budget);
    return this.journal.call({ kind: 'drain', budget }, drain, (line, more) => {
      line.more = more;
    });
  }

  override translate(
    streamId: number,
    substreamId: number,
    inputHigh: number,
    inputLow: number,
    access: number,
    result: Translation,
    answered?: Answered,
  ): number {
    const { journal } = this;
    const line: Line = { kind: 'access', streamId };
    if (substreamId >= 0) line.substreamId = substreamId;
    line.iova = hex((inputHigh >>> 0) * 2 ** 32, inputLow >>> 0);
    line.access = access;
    if (answered !== undefined) line.waits = 1;
    const late: Answered = (answer) => {
      const entry: Line = { kind: 'answer', stag: answer.stag };
      addAnswer(entry, answer);
      journal.outcome(entry, () => answered?.(answer));
    };
    const listener = answered === undefined ? undefined : late;
    const translate = () =>
      super.translate(streamId, substreamId, inputHigh, inputLow, access, result, listener);
    return journal.call(line, translate, () => {
      addAnswer(line, result);
    });
  }

  override adopt(stag: number, answered: Answered): void {
    const { journal } = this;
    const late: Answered = (answer) => {
      const entry: Line = { kind: 'answer', stag: answer.stag };
      addAnswer(entry, answer);
      journal.outcome(entry, () => {
        answered(answer);
      });
    };
    const adopt = () => {
      super.adopt(stag, late);
    };
    journal.call({ kind: 'adopt', stag }, adopt, () => undefined);
  }

  override attach(streamId: number): StreamHandle {
    return recordHandle(super.attach(streamId), this.journal);
  }

  override reset(): void {
    const reset = () => {
      super.reset();
    };
    this.journal.call({ kind: 'reset' }, reset, () => undefined);
  }

  override save(): SmmuState {
    return this.journal.call(
      { kind: 'save' },
      () => super.save(),
      () => undefined,
    );
  }

  override restore(state: SmmuState): void {
    const restore = () => {
      super.restore(state);
    };
    this.journal.call({ kind: 'restore' }, restore, () => undefined);
  }
}

function addAnswer(line: Line, answer: Translation): void {
  if (answer.outcome === Outcome.translated) {
    line.pa = hex(answer.outputAddress);
    if (answer.bypassed) line.bypassed = 1;
    else {
      line.permissions = answer.permissions;
      line.attribute = answer.attribute;
      line.shareability = answer.shareability;
    }
    return;
  }
  line.outcome = answer.outcome;
  line.event = answer.event;
  if (answer.outcome === Outcome.stalled) line.stag = answer.stag;
}

/** Others are no accesses of registers: the vSMMU ignores them. */
function isAccess(offset: number, size: number): boolean {
  const isSized = size === 4 || size === 8;
  return isSized && offset >= 0 && offset % size === 0 && offset + size <= FRAME_BYTES;
}
