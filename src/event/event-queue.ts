import { Event, EVENT_BYTES, EventID } from '../arch/event.js';
import { get, set } from '../arch/field.js';
import { Register, wordOf } from '../arch/registers.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { Features } from '../registers/features.js';
import { QueueGeometry } from '../registers/queue-geometry.js';
import type { GlobalErrors } from './global-error.js';
import type { InterruptSender } from './interrupts.js';

const { CR0, IRQ_CTRL, EVENTQ_BASE, EVENTQ_PROD, EVENTQ_CONS, GERROR } = Register;
const prod = wordOf(EVENTQ_PROD);
const cons = wordOf(EVENTQ_CONS);

/** What became of an event record. */
export const Recorded = {
  /** It is in the queue. */
  written: 0,
  /** An equal record is in the queue already, and the stream allows merging. */
  merged: 1,
  /** The queue is full; the guest learns it by OVFLG. */
  overflowed: 2,
  /** The queue is off, or waits for the acknowledgement of an abort. */
  discarded: 3,
  /** The queue is not backed by memory: EVENTQ_ABT_ERR. */
  aborted: 4,
} as const;

/** Events in whose records bits 11:0 of InputAddr do not tell two apart (IHI 0070, section 7.3.1). */
const PAGE_EVENTS: ReadonlySet<number> = new Set([
  Event.F_TRANSL_FORBIDDEN.id,
  Event.F_WALK_EABT.id,
  Event.F_TRANSLATION.id,
  Event.F_ADDR_SIZE.id,
  Event.F_ACCESS.id,
  Event.F_PERMISSION.id,
]);

/** The event queue: an output queue in guest memory (IHI 0070, sections 3.5 and 7.2). */
export class EventQueue {
  /** The record written last, and whether it is still unread: what a new one may be merged with. */
  readonly last = new Uint32Array(EVENT_BYTES / 4);
  /** PROD after {@link last}; -1 when there is no record to merge with. */
  lastIndex = -1;

  private readonly memory: GuestMemory;
  private readonly frame: Uint32Array;
  private readonly geometry: QueueGeometry;
  private readonly errors: GlobalErrors;
  private readonly sender: InterruptSender;

  constructor(
    memory: GuestMemory,
    frame: Uint32Array,
    features: Features,
    errors: GlobalErrors,
    sender: InterruptSender,
  ) {
    this.memory = memory;
    this.frame = frame;
    const { EVENTQS, OAS } = features;
    this.geometry = new QueueGeometry(frame, EVENTQ_BASE, EVENT_BYTES, EVENTQS, OAS);
    this.errors = errors;
    this.sender = sender;
  }

  /**
   * Takes over EVENTQ_BASE and EVENTQ_PROD: what was recorded before is forgotten. Index bits of PROD
   * beyond the queue's size read as 0.
   */
  configure(): void {
    this.lastIndex = -1;
    this.geometry.configure();
    set(this.frame, prod, EVENTQ_PROD.fields.WR, this.frame[prod]! & this.geometry.wrap);
  }

  /** Whether a record could be written now: on, not full, no abort waiting. */
  get isWritable(): boolean {
    return this.isOn && !this.isFull;
  }

  /**
   * Records the event in the 8 `words`.
   * @param mergeable the stream allows merging, and nothing stalls.
   * @returns a {@link Recorded}.
   */
  record(words: Uint32Array, mergeable: boolean): number {
    if (!this.isOn) return Recorded.discarded;
    if (mergeable && this.isRepetition(words)) return Recorded.merged;
    const { frame } = this;
    if (this.isFull) {
      this.overflow();
      return Recorded.overflowed;
    }
    const { wrap } = this.geometry;
    const write = frame[prod]! & wrap;
    const wasEmpty = write === (frame[cons]! & wrap);
    if (!this.memory.store(this.geometry.entry(write), words, 0, EVENT_BYTES / 4)) {
      this.errors.activate(GERROR.fields.EVENTQ_ABT_ERR);
      return Recorded.aborted;
    }
    const next = (write + 1) & wrap;
    set(frame, prod, EVENTQ_PROD.fields.WR, next);
    this.last.set(words);
    this.lastIndex = next;
    if (wasEmpty && get(frame, wordOf(IRQ_CTRL), IRQ_CTRL.fields.EVENTQ_IRQEN) === 1) {
      if (!this.sender.raise('eventq')) this.errors.activate(GERROR.fields.MSI_EVENTQ_ABT_ERR);
    }
    return Recorded.written;
  }

  /** A record is lost: the guest learns it by OVFLG, once until it acknowledges that. */
  overflow(): void {
    const { frame } = this;
    if (!this.isOn) return;
    const overflow = get(frame, prod, EVENTQ_PROD.fields.OVFLG);
    if (overflow !== get(frame, cons, EVENTQ_CONS.fields.OVACKFLG)) return;
    set(frame, prod, EVENTQ_PROD.fields.OVFLG, overflow ^ 1);
  }

  private get isOn(): boolean {
    return (
      get(this.frame, wordOf(CR0), CR0.fields.EVENTQEN) === 1 &&
      !this.errors.isActive(GERROR.fields.EVENTQ_ABT_ERR)
    );
  }

  /** Same index, other wrap. */
  private get isFull(): boolean {
    const { wrap } = this.geometry;
    return ((this.frame[prod]! ^ this.frame[cons]!) & wrap) === (wrap + 1) / 2;
  }

  /** Whether `words` say what the last record said, and the guest has not read that yet. */
  private isRepetition(words: Uint32Array): boolean {
    const { last } = this;
    const { wrap } = this.geometry;
    if (this.lastIndex < 0 || (this.frame[prod]! & wrap) !== this.lastIndex) return false;
    if ((this.frame[cons]! & wrap) === this.lastIndex) return false;
    const ignored = PAGE_EVENTS.has(get(words, 0, EventID)) ? 0xfff : 0;
    for (let i = 0; i < EVENT_BYTES / 4; i++) {
      const difference = words[i]! ^ last[i]!;
      if ((i === 4 ? difference & ~ignored : difference) !== 0) return false;
    }
    return true;
  }
}
