/**
 * The driver's side of a virtio-blk device: writes descriptors and rings into guest memory, bytes as
 * virtio 1.2 prints them (sections 2.7.5 to 2.7.8 and 5.2.6), and notifies the device.
 */
import { VirtioBlk, type VirtioBlkOptions } from '../../docs/examples/virtio-blk.js';
import type { VirtqueueLayout } from '../../docs/examples/virtqueue.js';
import { SmmuGuest, STREAM } from './smmu-guest.js';

/** IOVAs of the three parts of the queue, and of a page for indirect tables. */
export const DESCRIPTORS = 0x10_0000n;
export const AVAILABLE = 0x20_0000n;
export const USED = 0x30_0000n;
export const TABLE = 0x40_0000n;
/** Where tests put their buffers; they map what they need. */
export const BUFFERS = 0x50_0000n;
/** Places in the second and third page of them. */
export const DATA = 0x50_1000n;
export const STATUS = 0x50_2000n;

/** Flags of descriptors. */
export const [NEXT, WRITE, INDIRECT] = [1, 2, 4];
/** Types and statuses of requests. */
export const [IN, OUT, FLUSH, GET_ID] = [0, 1, 4, 8];
export const [OK, IOERR, UNSUPP] = [0, 1, 2];

/** A piece of a buffer. */
export interface Piece {
  readonly iova: bigint;
  readonly length: number;
}

/** A descriptor (2.7.5): le64 addr, le32 len, le16 flags, le16 next. */
export function descriptor(addr: bigint, len: number, flags = 0, next = 0): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(16));
  bytes.setBigUint64(0, addr, true);
  bytes.setUint32(8, len, true);
  bytes.setUint16(12, flags, true);
  bytes.setUint16(14, next, true);
  return new Uint8Array(bytes.buffer);
}

/** The header of a request (5.2.6): le32 type, le32 reserved, le64 sector. */
export function header(type: number, sector: number | bigint = 0): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(16));
  bytes.setUint32(0, type, true);
  // Reserved: the device must not care.
  bytes.setUint32(4, 0xdead_beef, true);
  bytes.setBigUint64(8, BigInt(sector), true);
  return new Uint8Array(bytes.buffer);
}

function pagesOf(bytes: number): number {
  return Math.ceil(bytes / 4096);
}

export interface DriverOptions extends VirtioBlkOptions {
  /** Default 8. */
  readonly size?: number;
  /** Where both rings begin; default 0. */
  readonly index?: number;
  readonly sectors?: number;
}

export class VirtioDriver {
  readonly guest = new SmmuGuest();
  readonly device: VirtioBlk;
  /** Bytes that differ from sector to sector. */
  readonly disk: Uint8Array;
  /** What the device has told its transport. */
  readonly told: string[] = [];
  readonly size: number;
  private availableIndex: number;
  private usedIndex: number;

  constructor(options: DriverOptions = {}) {
    const { size = 8, index = 0, sectors = 64 } = options;
    const { guest } = this;
    this.size = size;
    this.availableIndex = this.usedIndex = index;
    this.disk = new Uint8Array(512 * sectors).map((_, i) => (i >> 9) * 7 + i);
    guest.map(DESCRIPTORS, pagesOf(16 * size));
    guest.map(AVAILABLE, pagesOf(6 + 2 * size));
    guest.map(USED, pagesOf(6 + 8 * size));
    guest.map(TABLE);
    // As left by whatever came before.
    guest.write(AVAILABLE + 2n, this.le16(index));
    guest.write(USED + 2n, this.le16(index));
    const transport = {
      interrupt: () => this.told.push('interrupt'),
      needsReset: (error: string) => this.told.push(error),
    };
    this.device = new VirtioBlk(guest.smmu.attach(STREAM), this.disk, transport, options);
    this.device.enableQueue(this.layout({ index }));
  }

  layout(other: Partial<VirtqueueLayout> = {}): VirtqueueLayout {
    return {
      size: this.size,
      descriptors: DESCRIPTORS,
      available: AVAILABLE,
      used: USED,
      ...other,
    };
  }

  /** Writes descriptors to `table`, one behind the other. */
  put(table: bigint, ...descriptors: readonly Uint8Array[]): void {
    descriptors.forEach((bytes, i) => {
      this.guest.write(table + 16n * BigInt(i), bytes);
    });
  }

  /** A chain of the pieces, from descriptor 0 of `table` on: first those to read, then those to write. */
  chain(table: bigint, readable: readonly Piece[], writable: readonly Piece[]): number {
    const pieces = [...readable, ...writable];
    pieces.forEach(({ iova, length }, i) => {
      const next = i + 1 < pieces.length ? NEXT : 0;
      const write = i >= readable.length ? WRITE : 0;
      this.put(table + 16n * BigInt(i), descriptor(iova, length, next | write, i + 1));
    });
    return pieces.length;
  }

  /** Puts chains into the available ring. */
  offer(...heads: readonly number[]): void {
    for (const head of heads) {
      const slot = BigInt(this.availableIndex % this.size);
      this.guest.write(AVAILABLE + 4n + 2n * slot, this.le16(head));
      this.availableIndex = (this.availableIndex + 1) & 0xffff;
    }
    this.guest.write(AVAILABLE + 2n, this.le16(this.availableIndex));
  }

  /** Notifies the device. @returns what it says: whether requests are left. */
  notify(budget = 1000): boolean {
    return this.device.process(budget);
  }

  /** The elements of the used ring since the last call. */
  used(): [id: number, len: number][] {
    const index = this.get16(USED + 2n);
    const elements: [number, number][] = [];
    for (; this.usedIndex !== index; this.usedIndex = (this.usedIndex + 1) & 0xffff) {
      const slot = BigInt(this.usedIndex % this.size);
      const element = new DataView(this.guest.read(USED + 4n + 8n * slot, 8).buffer);
      elements.push([element.getUint32(0, true), element.getUint32(4, true)]);
    }
    return elements;
  }

  /**
   * One request with its header at {@link BUFFERS}, its data at {@link DATA}, and its status, which is
   * 0xff before, at {@link STATUS}.
   * @returns the status, and `len` of the used element.
   */
  request(
    type: number,
    sector: number | bigint,
    toDevice: Uint8Array,
    fromDevice: number,
  ): [status: number, len: number] {
    this.guest.write(BUFFERS, header(type, sector));
    this.guest.write(DATA, toDevice);
    this.guest.write(STATUS, Uint8Array.of(0xff));
    const readable = [{ iova: BUFFERS, length: 16 }];
    const writable = [{ iova: STATUS, length: 1 }];
    if (toDevice.length > 0) readable.push({ iova: DATA, length: toDevice.length });
    if (fromDevice > 0) writable.unshift({ iova: DATA, length: fromDevice });
    this.chain(DESCRIPTORS, readable, writable);
    this.offer(0);
    this.notify();
    const [element] = this.used();
    if (element === undefined) throw new Error(`not served: ${this.told.join()}`);
    return [this.guest.read(STATUS, 1)[0]!, element[1]];
  }

  get16(iova: bigint): number {
    const [low, high] = this.guest.read(iova, 2);
    return low! | (high! << 8);
  }

  private le16(value: number): Uint8Array {
    return Uint8Array.of(value, value >> 8);
  }
}

/** A driver with `pages` pages from {@link BUFFERS} on. */
export function driverWithBuffers(options: DriverOptions = {}, pages = 3): VirtioDriver {
  const driver = new VirtioDriver(options);
  driver.guest.map(BUFFERS, pages);
  return driver;
}

/** The same with a FLUSH: {@link flushHeader} and {@link flushStatus} make a chain of it. */
export function flushingDriver(options: DriverOptions = {}): VirtioDriver {
  const driver = driverWithBuffers(options);
  driver.guest.write(BUFFERS, header(FLUSH));
  driver.guest.write(STATUS, Uint8Array.of(0xff));
  return driver;
}

export const flushHeader = (next: number): Uint8Array => descriptor(BUFFERS, 16, NEXT, next);
export const flushStatus = descriptor(STATUS, 1, WRITE);

/** Bytes that are not those of the disk. */
export function noise(length: number): Uint8Array {
  return new Uint8Array(length).map((_, i) => 31 * i + (i >> 8) + 5);
}
