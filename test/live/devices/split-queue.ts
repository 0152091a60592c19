import type { Dma } from './dma.js';
import {
  DESCRIPTOR_BYTES,
  NEXT,
  WRITABLE,
  type Chain,
  type DeviceQueue,
  type Piece,
  type QueueLayout,
} from './queue.js';

/** The rings begin with flags and index, of 16 bits each. */
const INDEX = 2n;
const RING = 4n;
const NO_INTERRUPT = 1;

/** The device's side of a split virtqueue (virtio 1.2, section 2.7). */
export class SplitQueue implements DeviceQueue {
  isBroken = false;
  private readonly dma: Dma;
  private readonly layout: QueueLayout;
  private readonly descriptor = Buffer.alloc(DESCRIPTOR_BYTES);
  private readonly element = Buffer.alloc(8);
  private taken = 0;
  private given = 0;

  constructor(dma: Dma, layout: QueueLayout) {
    this.dma = dma;
    this.layout = layout;
  }

  waiting(): number {
    const { driver: available, size } = this.layout;
    const index = this.dma.load16(available + INDEX);
    const count = (index - this.taken) & 0xffff;
    if (index >= 0 && count <= size) return count;
    this.isBroken = true;
    return 0;
  }

  take(): Chain | undefined {
    const { driver: available, descriptors, size } = this.layout;
    const slot = BigInt(this.taken % size);
    const head = this.dma.load16(available + RING + 2n * slot);
    const pieces: Piece[] = [];
    for (let index = head; ;) {
      const isFound = index >= 0 && index < size && pieces.length < size;
      const at = descriptors + BigInt(DESCRIPTOR_BYTES * index);
      if (!isFound || this.dma.read(at, this.descriptor) < DESCRIPTOR_BYTES) {
        this.isBroken = true;
        return undefined;
      }
      const { descriptor } = this;
      const flags = descriptor.readUInt16LE(12);
      const isWritable = (flags & WRITABLE) !== 0;
      const length = descriptor.readUInt32LE(8);
      pieces.push({ iova: descriptor.readBigUInt64LE(0), length, isWritable });
      if ((flags & NEXT) === 0) break;
      index = descriptor.readUInt16LE(14);
    }
    this.taken = (this.taken + 1) & 0xffff;
    return { id: head, pieces };
  }

  give(chain: Chain, written: number): void {
    const { device: used, size } = this.layout;
    this.element.writeUInt32LE(chain.id, 0);
    this.element.writeUInt32LE(written, 4);
    const slot = BigInt(this.given % size);
    this.given = (this.given + 1) & 0xffff;
    // The index last: once the driver sees it, it reads the element, and may unmap the buffer.
    const isDone =
      this.dma.write(used + RING + 8n * slot, this.element) === this.element.length &&
      this.dma.store16(used + INDEX, this.given) === 0;
    if (!isDone) this.isBroken = true;
  }

  wantsInterrupt(): boolean {
    const flags = this.dma.load16(this.layout.driver);
    if (flags < 0) this.isBroken = true;
    return flags >= 0 && (flags & NO_INTERRUPT) === 0;
  }
}
