import { readFields, type ByteLayout } from '../memory/byte-layout.js';
import { hex } from '../memory/hex.js';

/** Flags of a record's header. */
export const VeventFlag = {
  /** Events were lost, and this header stands for them: no event follows it. */
  LOST_EVENTS: 1,
} as const;

/** `struct iommufd_vevent_header`: what each record begins with. */
export const VeventHeader = {
  flags: [0, 4],
  sequence: [4, 4],
} as const satisfies ByteLayout;

/** Bytes of a header. */
const HEADER_BYTES = 8;

/** Bytes of a header and `struct iommu_vevent_arm_smmuv3`: the event record of the hardware. */
const RECORD_BYTES = 40;

/** Sequence numbers are counted modulo 2^31. */
const SEQUENCE_MASK = 0x7fff_ffff;

/** What a {@link VeventReader} tells, in the order of the records. */
export interface VeventHandlers {
  /**
   * An event of a device.
   * @param words the event record as the architecture has it, bits 31:0 first, with the guest's
   * StreamID; 8 words, used again for the next event.
   */
  event(words: Uint32Array): void;

  /**
   * Events were lost between those before and those after this call.
   * @param count how many, 1 or more (and modulo 2^31: the numbers tell no more).
   */
  lost(count: number): void;
}

/**
 * Reads what read(2) gives of the file descriptor of a vEVENTQ of type ARM_SMMUV3: hardware's events
 * for the guest (`linux/iommufd.h`, `struct iommufd_vevent_header`).
 *
 * Lost events are found by the sequence numbers, which count every event, lost ones too: what is
 * missing between two headers that follow one another was lost. A header with
 * {@link VeventFlag.LOST_EVENTS} has the number of the latest lost event, so that one is lost as well,
 * and is not missing any more when the next header comes: a loss is told once, whether the kernel still
 * had such a header in its queue or had dropped it for an event that followed.
 *
 * The first header only says where the count begins. A reader cannot know whether it is the first of
 * its queue (another process may have read before it), so the number of a first event is no loss; a
 * first header with LOST_EVENTS is one lost event, which is the least that it can mean.
 */
export class VeventReader {
  private readonly handlers: VeventHandlers;
  /** The record that is under way: all that is ever kept. */
  private readonly record = new Uint8Array(RECORD_BYTES);
  private readonly view = new DataView(this.record.buffer);
  private readonly words = new Uint32Array(8);
  /** Bytes of it that have come. */
  private held = 0;
  /** Sequence number of the header before; `undefined` before the first one. */
  private sequence: number | undefined;
  /** A push is under way, or ended with an error. */
  private isReading = false;

  constructor(handlers: VeventHandlers) {
    this.handlers = handlers;
  }

  /**
   * Takes the next bytes of the stream, and calls the handlers for each record that ends in them. Records
   * may be cut anywhere between two calls; what is there of the last one is kept. read(2) itself gives
   * whole records only, and needs room for 40 bytes.
   *
   * An error ends the reader, since what follows in `bytes` has not been read: it then refuses all
   * further bytes. A new reader can go on with the bytes of the next read(2), which begin with a record.
   *
   * @param bytes none, one or more; not used after the call.
   * @throws TypeError when `bytes` is no Uint8Array; that does not end the reader.
   * @throws Error when a header has a flag that this version does not know, so that nobody can tell what
   * follows it. Events before it have been told.
   * @throws Error when the reader has ended, or is called by one of its own handlers.
   * @throws what a handler throws.
   */
  push(bytes: Uint8Array): void {
    if (!(bytes instanceof Uint8Array)) {
      throw new TypeError(`bytes is a ${typeof bytes}: give a Uint8Array of what was read`);
    }
    if (this.isReading) {
      throw new Error(
        'This VeventReader has not read its last bytes to the end: ' +
          'make a new one, and give it the bytes of the next read',
      );
    }
    this.isReading = true;
    for (const byte of bytes) {
      this.record[this.held++] = byte;
      if (this.held === HEADER_BYTES) this.takeHeader();
      else if (this.held === RECORD_BYTES) this.takeEvent();
    }
    this.isReading = false;
  }

  private takeHeader(): void {
    const { flags, sequence } = readFields(this.record, 0, VeventHeader);
    if ((flags & ~VeventFlag.LOST_EVENTS) !== 0) {
      throw new Error(
        `The header of event ${hex(sequence)} has flags ${hex(flags)}: ` +
          'only LOST_EVENTS, 0x1, is known, and not what follows the others',
      );
    }
    const isLost = flags === VeventFlag.LOST_EVENTS;
    const before = this.sequence ?? sequence - 1;
    const missing = (sequence - before - 1) & SEQUENCE_MASK;
    const lost = isLost ? missing + 1 : missing;
    this.sequence = sequence;
    if (isLost) this.held = 0;
    if (lost > 0) this.handlers.lost(lost);
  }

  private takeEvent(): void {
    for (let i = 0; i < 8; i++) {
      this.words[i] = this.view.getUint32(HEADER_BYTES + 4 * i, true);
    }
    this.held = 0;
    this.handlers.event(this.words);
  }
}
