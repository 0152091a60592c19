/**
 * What a virtio-blk device should do, worked out byte by byte: a second opinion, which shares nothing
 * with the example. The guest's pages and their rights are in it as well.
 */
import { faultRecord } from './smmu-guest.js';
import { BUFFERS } from './virtio-driver.js';

/** What the device may do with a page. */
export type Rights = 'write' | 'read' | 'none';

/** A page of guest memory, as the model has it. */
export interface Page {
  rights: Rights;
  readonly bytes: Uint8Array;
}

/** What requests should do, worked out byte by byte. */
export class DiskModel {
  readonly disk: Uint8Array;
  /** By number, from {@link BUFFERS} on. */
  readonly pages: Page[] = [];
  /** Event records that are due. */
  events: bigint[][] = [];

  private readonly id: Uint8Array;

  constructor(disk: Uint8Array, id: string) {
    this.disk = disk.slice();
    this.id = new Uint8Array(20);
    this.id.set(Buffer.from(id, 'latin1'));
  }

  /** @returns status and used length; status -1 when there is no way to tell it. */
  serve(type: number, sector: number, readable: bigint[], writable: bigint[]): [number, number] {
    const answer = writable.pop()!;
    const [status, written] = this.status(type, sector, readable, writable);
    if (this.store([answer], Uint8Array.of(status)) === 0) return [-1, 0];
    return [status, written < writable.length ? written : written + 1];
  }

  private status(type: number, sector: number, from: bigint[], to: bigint[]): [number, number] {
    const head = from.splice(0, 16);
    if (this.load(head).length < 16) return [1, 0];
    if (type === 4) return [0, 0];
    const at = 512 * sector;
    if (type === 0) {
      if (to.length % 512 !== 0 || at + to.length > this.disk.length) return [1, 0];
      const written = this.store(to, this.disk.subarray(at));
      return [written === to.length ? 0 : 1, written];
    }
    if (type === 1) {
      if (from.length % 512 !== 0 || at + from.length > this.disk.length) return [1, 0];
      const read = this.load(from);
      this.disk.set(read, at);
      return [read.length === from.length ? 0 : 1, 0];
    }
    if (type === 8) {
      const room = to.slice(0, 20);
      const written = this.store(room, this.id);
      return [written === room.length ? 0 : 1, written];
    }
    return [2, 0];
  }

  /** Bytes until the first one that may not be read. */
  private load(from: readonly bigint[]): number[] {
    const found: number[] = [];
    for (const iova of from) {
      const page = this.page(iova);
      if (page.rights === 'none') {
        this.events.push(faultRecord(0x10, 'read', iova));
        break;
      }
      found.push(page.bytes[Number(iova & 0xfffn)]!);
    }
    return found;
  }

  /** Writes until the first byte that may not be written, and says how many there were. */
  private store(to: readonly bigint[], values: Uint8Array): number {
    for (const [i, iova] of to.entries()) {
      const page = this.page(iova);
      if (page.rights !== 'write') {
        this.events.push(faultRecord(page.rights === 'read' ? 0x13 : 0x10, 'write', iova));
        return i;
      }
      page.bytes[Number(iova & 0xfffn)] = values[i]!;
    }
    return to.length;
  }

  /** The page that `iova` lies in. */
  page(iova: bigint): Page {
    return this.pages[Number((iova - BUFFERS) >> 12n)]!;
  }
}
