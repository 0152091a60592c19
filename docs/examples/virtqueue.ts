import type { StreamHandle, U64 } from 'vsmmu';
import { ChainReader, type Chain } from './descriptor-chain.js';
import { isAligned, plus } from './iova.js';
import { QueueError } from './queue-error.js';

/** Where the driver has put a queue, as it told the transport. */
export interface VirtqueueLayout {
  /** Descriptors: a power of two up to 32,768. */
  readonly size: number;
  /** IOVA of the descriptor table (Descriptor Area). */
  readonly descriptors: U64;
  /** IOVA of the available ring (Driver Area). */
  readonly available: U64;
  /** IOVA of the used ring (Device Area). */
  readonly used: U64;
  /** Where both rings go on: 0, unless the device has been restored. */
  readonly index?: number;
}

const MAX_SIZE = 32_768;
/** `flags` of the available ring: the driver wants no interrupts (virtio 1.2, section 2.7.7). */
const NO_INTERRUPT = 1;
/** `flags` of the used ring: the device wants no notifications (virtio 1.2, section 2.7.10). */
const NO_NOTIFY = 1;

/** Both rings begin with `flags` and `idx`, 16 bits each; then come the entries. */
const IDX = 2;
const RING = 4;

/**
 * The device's side of a split virtqueue (virtio 1.2, section 2.7) with VIRTIO_F_ACCESS_PLATFORM: each
 * address in it is an IOVA, and the SMMU translates it. Nothing that the driver does throws: a queue
 * that makes no sense has an {@link error}, and does nothing any more.
 */
export class Virtqueue {
  private readonly handle: StreamHandle;
  private readonly layout: VirtqueueLayout;
  private readonly chains: ChainReader;
  private readonly element = new Uint8Array(8);
  private readonly elementView = new DataView(this.element.buffer);
  private nextAvailable: number;
  private nextUsed: number;
  private failure: QueueError | undefined;

  constructor(handle: StreamHandle, layout: VirtqueueLayout) {
    this.handle = handle;
    this.layout = layout;
    this.chains = new ChainReader(handle);
    this.nextAvailable = this.nextUsed = layout.index ?? 0;
    const { size, descriptors, available, used } = layout;
    if (size < 1 || size > MAX_SIZE || (size & (size - 1)) !== 0) {
      this.fail(QueueError.size);
    } else if (!isAligned(descriptors, 16) || !isAligned(available, 2) || !isAligned(used, 4)) {
      this.fail(QueueError.alignment);
    }
  }

  /** Why the queue needs a reset; `undefined` while all is well. */
  get error(): QueueError | undefined {
    return this.failure;
  }

  /** The queue needs a reset from now on. */
  fail(error: QueueError): void {
    this.failure ??= error;
  }

  /** How many chains the driver has made available that {@link pop} has not given yet. */
  pending(): number {
    if (this.failure !== undefined) return 0;
    const { available, size } = this.layout;
    const index = this.handle.load16(plus(available, IDX));
    // The index counts on from 0xffff to 0.
    const count = (index - this.nextAvailable) & 0xffff;
    if (index >= 0 && count <= size) return count;
    this.fail(index < 0 ? QueueError.availableFault : QueueError.availableIndex);
    return 0;
  }

  /** The next chain; `undefined` when there is none. */
  pop(): Chain | undefined {
    if (this.pending() === 0) return undefined;
    const { available, descriptors, size } = this.layout;
    const slot = this.nextAvailable % size;
    const head = this.handle.load16(plus(available, RING + 2 * slot));
    const chain = head < 0 ? QueueError.availableFault : this.chains.read(descriptors, size, head);
    if (typeof chain === 'string') {
      this.fail(chain);
      return undefined;
    }
    this.nextAvailable = (this.nextAvailable + 1) & 0xffff;
    return chain;
  }

  /**
   * Gives a chain back to the driver.
   * @param written bytes at the beginning of its writable part that have been written, or fewer.
   */
  push(chain: Chain, written: number): void {
    if (this.failure !== undefined) return;
    const { handle, element, elementView } = this;
    const { used, size } = this.layout;
    const slot = this.nextUsed % size;
    elementView.setUint32(0, chain.head, true);
    elementView.setUint32(4, written, true);
    this.nextUsed = (this.nextUsed + 1) & 0xffff;
    // The index last: once the driver sees it, it reads the element.
    const isStored =
      handle.write(plus(used, RING + 8 * slot), element) === element.length &&
      handle.store16(plus(used, IDX), this.nextUsed) === 0;
    if (!isStored) this.fail(QueueError.usedFault);
  }

  /** Whether the driver wants an interrupt for the chains that it gets back (2.7.7). */
  wantsInterrupt(): boolean {
    if (this.failure !== undefined) return false;
    const flags = this.handle.load16(this.layout.available);
    if (flags < 0) this.fail(QueueError.availableFault);
    return flags >= 0 && (flags & NO_INTERRUPT) === 0;
  }

  /** Tells the driver whether to notify the device of chains that it makes available (2.7.10). */
  askForNotifications(wanted: boolean): void {
    if (this.failure !== undefined) return;
    const stored = this.handle.store16(this.layout.used, wanted ? 0 : NO_NOTIFY);
    if (stored < 0) this.fail(QueueError.usedFault);
  }
}
