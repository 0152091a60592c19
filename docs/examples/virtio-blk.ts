import type { StreamHandle } from 'vsmmu';
import type { Chain } from './descriptor-chain.js';
import { skip } from './iova.js';
import { QueueError } from './queue-error.js';
import { Virtqueue, type VirtqueueLayout } from './virtqueue.js';

/** Type of a request (virtio 1.2, section 5.2.6). */
export const RequestType = { IN: 0, OUT: 1, FLUSH: 4, GET_ID: 8 } as const;
/** Status of a request (virtio 1.2, section 5.2.6). */
export const Status = { OK: 0, IOERR: 1, UNSUPP: 2 } as const;

/** How the device reaches its driver: virtio-mmio or virtio-pci. */
export interface Transport {
  /** Sends a used buffer notification. */
  interrupt(): void;
  /** Sets DEVICE_NEEDS_RESET, and sends a configuration change notification (2.1.2). */
  needsReset(error: QueueError): void;
}

/** What may differ from disk to disk. */
export interface VirtioBlkOptions {
  /** Answer to GET_ID: up to 20 ASCII characters. */
  readonly id?: string;
  /** Offers VIRTIO_BLK_F_RO, and refuses to write. */
  readonly readOnly?: boolean;
}

/** How a request has ended. */
interface Result {
  readonly status: number;
  /** Bytes of data given to the driver, from the first one on. */
  readonly written: number;
}

const SECTOR_BYTES = 512;
const HEADER_BYTES = 16;
const ID_BYTES = 20;
const STATUS_BYTES = 1;

const failed: Result = { status: Status.IOERR, written: 0 };

/**
 * A virtio block device (virtio 1.2, section 5.2) on a disk in memory, behind an SMMU: all that it reads
 * and writes of the guest goes through a handle.
 */
export class VirtioBlk {
  private readonly handle: StreamHandle;
  private readonly disk: Uint8Array;
  private readonly transport: Transport;
  private readonly id = new Uint8Array(ID_BYTES);
  private readonly readOnly: boolean;
  private readonly header = new Uint8Array(HEADER_BYTES);
  private readonly headerView = new DataView(this.header.buffer);
  private readonly statusByte = new Uint8Array(STATUS_BYTES);
  private queue: Virtqueue | undefined;

  /**
   * @param handle what `Smmu.attach` gave for the device's StreamID.
   * @throws RangeError when `disk` does not consist of sectors, or the id is too long.
   */
  constructor(
    handle: StreamHandle,
    disk: Uint8Array,
    transport: Transport,
    options: VirtioBlkOptions = {},
  ) {
    const { id = '', readOnly = false } = options;
    if (disk.length % SECTOR_BYTES !== 0) {
      throw new RangeError(`disk has ${disk.length} bytes: it must be a multiple of 512`);
    }
    if (id.length > ID_BYTES) throw new RangeError(`id is ${id}: it may have 20 characters`);
    this.handle = handle;
    this.disk = disk;
    this.transport = transport;
    this.readOnly = readOnly;
    for (let i = 0; i < id.length; i++) this.id[i] = id.charCodeAt(i);
  }

  /** `capacity` of the configuration space: 512-byte sectors. */
  get capacity(): number {
    return this.disk.length / SECTOR_BYTES;
  }

  /** The driver has enabled the queue. */
  enableQueue(layout: VirtqueueLayout): void {
    this.queue = new Virtqueue(this.handle, layout);
    this.dropIfBroken(this.queue);
  }

  /** The driver has reset the device. */
  reset(): void {
    this.queue = undefined;
  }

  /**
   * Serves requests: the driver has notified the queue.
   * @param budget requests to serve at most, so that the driver cannot keep the VMM busy for ever.
   * @returns whether there are more: call again some time later.
   */
  process(budget: number): boolean {
    const { queue } = this;
    if (queue === undefined) return false;
    queue.askForNotifications(false);
    let served = 0;
    while (served < budget) {
      const chain = queue.pop();
      if (chain === undefined) break;
      this.serve(queue, chain);
      served++;
    }
    queue.askForNotifications(true);
    // After it: for a request that came in between, the driver has not notified.
    const more = queue.pending() > 0;
    const interrupt = served > 0 && queue.wantsInterrupt();
    // In the end: either may call back, even into reset().
    this.dropIfBroken(queue);
    if (interrupt) this.transport.interrupt();
    return more;
  }

  /** A queue that makes no sense is not served any more, until the driver resets the device. */
  private dropIfBroken({ error }: Virtqueue): void {
    if (error === undefined) return;
    this.queue = undefined;
    this.transport.needsReset(error);
  }

  /** Serves one request: its status is the last byte of the writable part, data is what comes before. */
  private serve(queue: Virtqueue, chain: Chain): void {
    const dataBytes = chain.writableBytes - STATUS_BYTES;
    if (dataBytes < 0) {
      queue.fail(QueueError.noAnswer);
      return;
    }
    const { status, written } = this.execute(chain, dataBytes);
    this.statusByte[0] = status;
    if (this.handle.scatter(this.statusByte, skip(chain.writable, dataBytes)) < STATUS_BYTES) {
      queue.fail(QueueError.answerFault);
      return;
    }
    // What lies behind a gap does not count (2.7.8.2), not even the status.
    queue.push(chain, written === dataBytes ? written + STATUS_BYTES : written);
  }

  private execute(chain: Chain, dataBytes: number): Result {
    const { handle, header, headerView } = this;
    if (handle.gather(chain.readable, header) < HEADER_BYTES) return failed;
    // Sectors beyond 2^53 are rounded, to others that no disk has either.
    const sector = Number(headerView.getBigUint64(8, true));
    switch (headerView.getUint32(0, true)) {
      case RequestType.IN:
        return this.give(chain, dataBytes, this.sectors(sector, dataBytes));
      case RequestType.OUT:
        return this.take(chain, this.sectors(sector, chain.readableBytes - HEADER_BYTES));
      case RequestType.FLUSH:
        // What has been written is where it stays.
        return { status: Status.OK, written: 0 };
      case RequestType.GET_ID:
        return this.give(chain, dataBytes, this.id);
      default:
        return { status: Status.UNSUPP, written: 0 };
    }
  }

  /** Writes data into the guest, as much as there is room for before the status. */
  private give(chain: Chain, dataBytes: number, data: Uint8Array | undefined): Result {
    if (data === undefined) return failed;
    const bytes = Math.min(data.length, dataBytes);
    const written = this.handle.scatter(data.subarray(0, bytes), chain.writable);
    return { status: written === bytes ? Status.OK : Status.IOERR, written };
  }

  /** Reads data from the guest into the disk; one that faults on the way leaves the first part there. */
  private take(chain: Chain, sectors: Uint8Array | undefined): Result {
    if (sectors === undefined || this.readOnly) return failed;
    const read = this.handle.gather(skip(chain.readable, HEADER_BYTES), sectors);
    return { status: read === sectors.length ? Status.OK : Status.IOERR, written: 0 };
  }

  /** A piece of the disk; `undefined` when it does not consist of sectors of the disk. */
  private sectors(first: number, bytes: number): Uint8Array | undefined {
    const start = first * SECTOR_BYTES;
    if (bytes % SECTOR_BYTES !== 0 || start + bytes > this.disk.length) return undefined;
    return this.disk.subarray(start, start + bytes);
  }
}
