/** What a reader tells: the words of an event, or a number of lost ones. */
export type Told = number[] | number;

/** A normal record: flags 0, the sequence number, 32 bytes of event; words that are not given are 0. */
export function eventBytes(sequence: number, words: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(40));
  view.setUint32(4, sequence, true);
  for (const [i, word] of words.entries()) view.setUint32(8 + 4 * i, word, true);
  return new Uint8Array(view.buffer);
}

/** A LOST_EVENTS header: flags 1, the sequence number of the latest lost event, and nothing more. */
export function lostBytes(sequence: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  view.setUint32(0, 1, true);
  view.setUint32(4, sequence, true);
  return new Uint8Array(view.buffer);
}

/** The kernel's end of a vEVENTQ, after the words of section 5 of the specification. */
export class VeventqModel {
  /** What each read gave. */
  readonly reads: Uint8Array[] = [];
  /** What became of the events, in order: its words, or how many in a row were lost. */
  readonly happened: Told[] = [];
  private readonly depth: number;
  private readonly queue: Uint8Array[] = [];
  private sequence: number;

  /**
   * @param depth events that the queue holds.
   * @param first sequence number of the first event.
   */
  constructor(depth: number, first: number) {
    this.depth = depth;
    this.sequence = first;
  }

  /** A device makes an event of 8 words. */
  event(words: number[]): void {
    const isFull = this.queue.filter((record) => record.length === 40).length === this.depth;
    // The header at the tail is dropped for an event, and for a header with a later number.
    if (this.queue.at(-1)?.length === 8) this.queue.pop();
    this.queue.push(isFull ? lostBytes(this.sequence) : eventBytes(this.sequence, words));
    this.sequence = this.sequence === 0x7fff_ffff ? 0 : this.sequence + 1;
    const last = this.happened.at(-1);
    if (!isFull) this.happened.push(words);
    else if (typeof last === 'number') this.happened[this.happened.length - 1] = last + 1;
    else this.happened.push(1);
  }

  /**
   * Reads the records that fit `room` bytes.
   * @returns their bytes.
   */
  read(room: number): number {
    const read: number[] = [];
    while (this.queue.length > 0 && read.length + this.queue[0]!.length <= room) {
      read.push(...this.queue.shift()!);
    }
    this.reads.push(Uint8Array.from(read));
    return read.length;
  }
}
