/** Where the driver has put a virtqueue (virtio 1.2, sections 2.7 and 2.8). */
export interface QueueLayout {
  readonly size: number;
  /** Descriptor area: descriptors, of a packed queue its ring. */
  readonly descriptors: bigint;
  /** Driver area: the available ring, or the driver's wishes about interrupts. */
  readonly driver: bigint;
  /** Device area: the used ring, or the device's wishes about notifications. */
  readonly device: bigint;
}

/** A piece of a buffer. */
export interface Piece {
  readonly iova: bigint;
  readonly length: number;
  /** Whether the device writes it. */
  readonly isWritable: boolean;
}

/** A buffer that the driver has made available. */
export interface Chain {
  /** What the driver knows it by. */
  readonly id: number;
  readonly pieces: readonly Piece[];
}

/** The device's side of a virtqueue: all of it lies at IOVAs. */
export interface DeviceQueue {
  /** An access to the queue itself faulted, or it makes no sense: it cannot go on. */
  readonly isBroken: boolean;
  /** How many buffers wait, as far as one look can tell; 0 when the queue is broken. */
  waiting(): number;
  /** The next buffer, which there must be; `undefined` when the queue is broken. */
  take(): Chain | undefined;
  /** Gives a buffer back, of which `written` bytes were written. */
  give(chain: Chain, written: number): void;
  /** Whether the driver wants an interrupt. */
  wantsInterrupt(): boolean;
}

/** Bytes of a descriptor, of either kind of queue. */
export const DESCRIPTOR_BYTES = 16;
/** Flags of a descriptor, of either kind of queue. */
export const NEXT = 1;
export const WRITABLE = 2;
