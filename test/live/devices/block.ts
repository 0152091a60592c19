import type { Disk } from './disk.js';
import type { Dma } from './dma.js';
import type { VirtioFunction } from './function.js';
import type { Chain, Piece } from './queue.js';

const SECTOR_BYTES = 512;
const HEADER_BYTES = 16;
const ID_BYTES = 20;
const Request = { IN: 0, OUT: 1, FLUSH: 4, GET_ID: 8 } as const;
const Status = { OK: 0, IOERR: 1, UNSUPP: 2 } as const;
const Feature = { SIZE_MAX: 1 << 1, SEG_MAX: 1 << 2, FLUSH: 1 << 9 } as const;
const SIZE_MAX = 65_536;
const SEG_MAX = 62;

/** virtio-blk (virtio 1.2, section 5.2). */
export class Block implements VirtioFunction {
  readonly type = 2;
  readonly features: number;
  readonly configuration = Buffer.alloc(0x40);
  /** Requests that did what they should, by type. */
  readonly requests = { reads: 0, writes: 0, flushes: 0 };
  /** Requests that failed. */
  failures = 0;
  /** Most pieces of data that a request had. */
  mostPieces = 0;
  /** Called with the next request before it is served, and then forgotten. */
  once: ((dma: Dma, chain: Chain) => void) | undefined;
  private readonly disk: Disk;
  private readonly id = Buffer.alloc(ID_BYTES);
  private readonly header = Buffer.alloc(HEADER_BYTES);

  /** @param isSegmented takes requests of several pieces of data. */
  constructor(disk: Disk, id: string, isSegmented: boolean) {
    this.disk = disk;
    this.features = Feature.SIZE_MAX | Feature.FLUSH | (isSegmented ? Feature.SEG_MAX : 0);
    this.id.write(id, 'latin1');
    this.configuration.writeBigUInt64LE(BigInt(disk.bytes / SECTOR_BYTES), 0);
    this.configuration.writeUInt32LE(SIZE_MAX, 8);
    this.configuration.writeUInt32LE(SEG_MAX, 12);
  }

  serve(dma: Dma, chain: Chain): number {
    const { pieces } = chain;
    const status = pieces[pieces.length - 1];
    const [header] = pieces;
    if (header === undefined || status?.isWritable !== true) return 0;
    const data = pieces.slice(1, -1);
    const { once } = this;
    this.once = undefined;
    once?.(dma, chain);
    this.mostPieces = Math.max(this.mostPieces, data.length);
    const isRead =
      header.length >= HEADER_BYTES && dma.read(header.iova, this.header) === HEADER_BYTES;
    const answer = isRead ? this.execute(dma, data) : Status.IOERR;
    if (answer !== Status.OK) this.failures++;
    const written = data.reduce((sum, piece) => sum + (piece.isWritable ? piece.length : 0), 0);
    return dma.write(status.iova, Uint8Array.of(answer)) === 1 ? written + 1 : written;
  }

  private execute(dma: Dma, data: readonly Piece[]): number {
    const start = Number(this.header.readBigUInt64LE(8)) * SECTOR_BYTES;
    const length = data.reduce((sum, piece) => sum + piece.length, 0);
    switch (this.header.readUInt32LE(0)) {
      case Request.IN:
        this.requests.reads++;
        return this.move(dma, data, start, length, true);
      case Request.OUT:
        this.requests.writes++;
        return this.move(dma, data, start, length, false);
      case Request.FLUSH:
        this.requests.flushes++;
        this.disk.flush();
        return Status.OK;
      case Request.GET_ID:
        return dma.write(data[0]?.iova ?? 0n, this.id) === ID_BYTES ? Status.OK : Status.IOERR;
      default:
        return Status.UNSUPP;
    }
  }

  private move(
    dma: Dma,
    data: readonly Piece[],
    start: number,
    length: number,
    toGuest: boolean,
  ): number {
    if (length % SECTOR_BYTES !== 0 || start + length > this.disk.bytes) return Status.IOERR;
    let at = start;
    for (const piece of data) {
      const bytes = Buffer.allocUnsafe(piece.length);
      if (toGuest) {
        this.disk.read(at, bytes);
        if (dma.write(piece.iova, bytes) < piece.length) return Status.IOERR;
      } else {
        if (dma.read(piece.iova, bytes) < piece.length) return Status.IOERR;
        this.disk.write(at, bytes);
      }
      at += piece.length;
    }
    return Status.OK;
  }
}
