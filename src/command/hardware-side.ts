/** The command, or flush, cannot be done yet: it is tried again when the queue is resumed. */
export const WAITS = -1;
/** The command is done, but must not be consumed before the hardware has it: until a flush. */
export const HELD = -2;
/** What comes of the command, or flush, is said later: by `CommandQueue.answer`. */
export const PENDING = -3;

/**
 * What commands reach of passthrough devices. Commands that can be forwarded are gathered, and sent by
 * {@link flush}; until then the queue does not consume them. Results are a `Cerror`, {@link HELD},
 * {@link PENDING} or {@link WAITS}.
 */
export interface HardwareSide {
  /** Which of the held commands a flush that failed ended at, counted from 0: the first that was not taken. */
  readonly stoppedAt: number;
  /** Whether the StreamID in a command is that of a passthrough device. */
  owns(words: Uint32Array): boolean;
  /** A TLBI. @param ordinal how many commands are held before it. */
  takeTlbi(words: Uint32Array, opcode: number, ordinal: number): number;
  /** CFGI_CD, CFGI_CD_ALL or ATC_INV. @param ordinal how many commands are held before it. */
  takeStream(words: Uint32Array, opcode: number, ordinal: number): number;
  /** Sends what was gathered. */
  flush(): number;
  /** CFGI_STE, CFGI_STE_RANGE: the STEs of `first` to `last` may have changed. */
  configure(first: number, last: number): number;
  /** CMD_SYNC, after a flush. */
  synchronize(): number;
  /** What was gathered is given up, and so is what was asked and is not answered yet. */
  cancel(): void;
}
