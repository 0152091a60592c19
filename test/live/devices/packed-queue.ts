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

const AVAILABLE = 1 << 7;
const USED = 1 << 15;
/** Where the flags of a descriptor are. */
const FLAGS = 14;
/** Of the driver's area: it wants no interrupts. */
const DISABLE = 1;

/** The device's side of a packed virtqueue (virtio 1.2, section 2.8), which gives buffers back in order. */
export class PackedQueue implements DeviceQueue {
  isBroken = false;
  private readonly dma: Dma;
  private readonly layout: QueueLayout;
  private readonly descriptor = Buffer.alloc(DESCRIPTOR_BYTES);
  /** Where buffers are taken, and given back; each with the wrap counter there. */
  private readonly taking = { slot: 0, wrap: true };
  private readonly giving = { slot: 0, wrap: true };

  constructor(dma: Dma, layout: QueueLayout) {
    this.dma = dma;
    this.layout = layout;
  }

  waiting(): number {
    const { slot, wrap } = this.taking;
    const flags = this.dma.load16(this.at(slot) + BigInt(FLAGS));
    if (flags < 0) this.isBroken = true;
    const isAvailable = ((flags & AVAILABLE) !== 0) === wrap && ((flags & USED) !== 0) !== wrap;
    return flags >= 0 && isAvailable ? 1 : 0;
  }

  take(): Chain | undefined {
    const pieces: Piece[] = [];
    const { descriptor, taking } = this;
    for (;;) {
      const isRead = this.dma.read(this.at(taking.slot), descriptor) === DESCRIPTOR_BYTES;
      if (!isRead || pieces.length === this.layout.size) {
        this.isBroken = true;
        return undefined;
      }
      const flags = descriptor.readUInt16LE(FLAGS);
      const iova = descriptor.readBigUInt64LE(0);
      const length = descriptor.readUInt32LE(8);
      pieces.push({ iova, length, isWritable: (flags & WRITABLE) !== 0 });
      this.advance(taking, 1);
      // The last descriptor of a buffer says what it is known by.
      if ((flags & NEXT) === 0) return { id: descriptor.readUInt16LE(12), pieces };
    }
  }

  give(chain: Chain, written: number): void {
    const { dma, giving } = this;
    const at = this.at(giving.slot);
    const lengthAndId = Buffer.alloc(6);
    lengthAndId.writeUInt32LE(written, 0);
    lengthAndId.writeUInt16LE(chain.id, 4);
    const flags = (giving.wrap ? AVAILABLE | USED : 0) | (written > 0 ? WRITABLE : 0);
    // The flags last, in one store: they make the driver look at the rest.
    const isDone =
      dma.write(at + 8n, lengthAndId) === lengthAndId.length &&
      dma.store16(at + BigInt(FLAGS), flags) === 0;
    if (!isDone) this.isBroken = true;
    this.advance(giving, chain.pieces.length);
  }

  wantsInterrupt(): boolean {
    const flags = this.dma.load16(this.layout.driver + 2n);
    if (flags < 0) this.isBroken = true;
    return flags >= 0 && (flags & 3) !== DISABLE;
  }

  private at(slot: number): bigint {
    return this.layout.descriptors + BigInt(DESCRIPTOR_BYTES * slot);
  }

  private advance(place: { slot: number; wrap: boolean }, count: number): void {
    place.slot += count;
    if (place.slot < this.layout.size) return;
    place.slot -= this.layout.size;
    place.wrap = !place.wrap;
  }
}
