/** What a driver did that its queue cannot go on from: it has to reset the device. */
export const QueueError = {
  /** The queue size is no power of two from 1 to 32,768 (2.7). */
  size: 'queue size',
  /** A part of the queue is not aligned (2.7). */
  alignment: 'queue alignment',
  /** The available ring cannot be read. */
  availableFault: 'available ring faults',
  /** More chains are available than the queue has descriptors. */
  availableIndex: 'available index',
  /** The used ring cannot be written. */
  usedFault: 'used ring faults',
  /** A descriptor cannot be read, be it of the queue or of an indirect table. */
  descriptorFault: 'descriptor faults',
  /** The available ring or a descriptor names a descriptor beyond the end of the table. */
  descriptorIndex: 'descriptor index',
  /** A chain visits more descriptors than its table has: it goes round in circles (2.7.5.2). */
  loop: 'loop of descriptors',
  /** A chain has more than 2^32 bytes (2.7.5.2). */
  tooLong: 'chain of more than 2^32 bytes',
  /** A device-readable descriptor comes after a device-writable one (2.7.4.2). */
  order: 'readable after writable',
  /** An indirect table has no descriptors, half a one, or more than `next` can name (2.7.5.3). */
  indirectLength: 'length of indirect table',
  /** A descriptor has both INDIRECT and NEXT (2.7.5.3.1). */
  indirectNext: 'indirect with next',
  /** An indirect table refers to another one (2.7.5.3.1). */
  indirectNested: 'indirect within indirect',
  /** The chain has no room for the answer that every request gets. */
  noAnswer: 'no room for an answer',
  /** The answer cannot be written. */
  answerFault: 'answer faults',
} as const;

/** One of {@link QueueError}. */
export type QueueError = (typeof QueueError)[keyof typeof QueueError];
