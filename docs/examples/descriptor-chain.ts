import type { IovaRange, StreamHandle, U64 } from 'vsmmu';
import { getU64, plus } from './iova.js';
import { QueueError } from './queue-error.js';

/** A buffer that the driver has made available: the pieces of its two parts, in order. */
export interface Chain {
  /** Index of the first descriptor; the used ring names the buffer by it. */
  readonly head: number;
  /** What the device reads. */
  readonly readable: readonly IovaRange[];
  readonly readableBytes: number;
  /** What the device writes. */
  readonly writable: readonly IovaRange[];
  readonly writableBytes: number;
}

const DESCRIPTOR_BYTES = 16;
/** `flags` of a descriptor (virtio 1.2, section 2.7.5). */
const Flag = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const;
/** An indirect table may be longer than the queue, but not than a `next` of 16 bits can name. */
const MAX_TABLE_BYTES = DESCRIPTOR_BYTES * 0x1_0000;
const MAX_CHAIN_BYTES = 2 ** 32;

/** Reads descriptor chains from guest memory. */
export class ChainReader {
  private readonly handle: StreamHandle;
  private readonly descriptor = new Uint8Array(DESCRIPTOR_BYTES);
  private readonly view = new DataView(this.descriptor.buffer);

  constructor(handle: StreamHandle) {
    this.handle = handle;
  }

  /**
   * Follows the chain that begins at descriptor `head` of the queue's table of `size` descriptors. Each
   * descriptor is read once: what the driver changes afterwards changes nothing.
   */
  read(table: U64, size: number, head: number): Chain | QueueError {
    const { handle, descriptor, view } = this;
    const readable: IovaRange[] = [];
    const writable: IovaRange[] = [];
    let readableBytes = 0;
    let writableBytes = 0;
    let isIndirect = false;
    let entries = size;
    let left = size;
    let index = head;
    for (;;) {
      if (index >= entries) return QueueError.descriptorIndex;
      if (left-- === 0) return QueueError.loop;
      const at = plus(table, DESCRIPTOR_BYTES * index);
      if (handle.read(at, descriptor) < DESCRIPTOR_BYTES) return QueueError.descriptorFault;
      const iova = getU64(view, 0);
      const length = view.getUint32(8, true);
      const flags = view.getUint16(12, true);
      const hasNext = (flags & Flag.NEXT) !== 0;

      if ((flags & Flag.INDIRECT) !== 0) {
        if (isIndirect) return QueueError.indirectNested;
        if (hasNext) return QueueError.indirectNext;
        if (length === 0 || length % DESCRIPTOR_BYTES !== 0 || length > MAX_TABLE_BYTES) {
          return QueueError.indirectLength;
        }
        // The chain goes on at descriptor 0 of the table.
        isIndirect = true;
        table = iova;
        entries = left = length / DESCRIPTOR_BYTES;
        index = 0;
        continue;
      }

      if ((flags & Flag.WRITE) !== 0) {
        writable.push({ iova, length });
        writableBytes += length;
      } else {
        if (writable.length > 0) return QueueError.order;
        readable.push({ iova, length });
        readableBytes += length;
      }
      if (readableBytes + writableBytes > MAX_CHAIN_BYTES) return QueueError.tooLong;
      if (!hasNext) return { head, readable, readableBytes, writable, writableBytes };
      index = view.getUint16(14, true);
    }
  }
}
