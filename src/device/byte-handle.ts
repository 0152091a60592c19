import type { U64 } from '../memory/u64.js';
import { Access } from '../transaction/permissions.js';
import { Reason } from '../transaction/reason.js';
import { Outcome } from '../transaction/translation.js';
import { DmaHandle } from './dma-handle.js';
import { checkLength } from './translating-handle.js';

/** A piece of a device's address space. */
export interface IovaRange {
  /** First address: a number below 2^53, or a bigint below 2^64. */
  readonly iova: U64;
  /** Bytes. */
  readonly length: number;
}

const PAGE = 4096;

/** What a device holds to read and write bytes, besides accesses that take time. */
export class ByteHandle extends DmaHandle {
  /**
   * Reads bytes of guest memory.
   * @param iova a number below 2^53, or a bigint below 2^64.
   * @param into gets the bytes, all of it.
   * @returns the bytes read: `into.length`, or less when the access faults there.
   * @throws RangeError when `iova` is out of range.
   * @throws Error when the handle is detached.
   */
  read(iova: U64, into: Uint8Array): number {
    const { length } = into;
    if (isWithinPage(iova, length)) {
      const address = this.translate(iova, Access.read);
      if (address >= 0 && this.host.memory.loadBytes(address, into, 0, length)) return length;
      if (!this.isIgnored(iova, address, Access.read)) return 0;
      into.fill(0);
      return length;
    }
    this.begin(iova);
    return this.readOn(into, 0, length);
  }

  /**
   * Writes bytes to guest memory; as {@link read}.
   * @returns the bytes written: `from.length`, or less when the access faults there.
   */
  write(iova: U64, from: Uint8Array): number {
    const { length } = from;
    if (isWithinPage(iova, length)) {
      const address = this.translate(iova, Access.write);
      if (address >= 0 && this.host.memory.storeBytes(address, from, 0, length)) return length;
      return this.isIgnored(iova, address, Access.write) ? length : 0;
    }
    this.begin(iova);
    return this.writeOn(from, 0, length);
  }

  /**
   * Reads pieces of guest memory, one behind the other, into `into`.
   * @returns the bytes read: `into.length` or what the ranges have together, whichever is less; or
   * less when the access faults there.
   * @throws RangeError when a range is none.
   */
  gather(ranges: readonly IovaRange[], into: Uint8Array): number {
    this.checkRanges(ranges);
    let done = 0;
    for (const { iova, length } of ranges) {
      const bytes = Math.min(length, into.length - done);
      this.begin(iova);
      const read = this.readOn(into, done, bytes);
      done += read;
      if (read < bytes || done === into.length) break;
    }
    return done;
  }

  /**
   * Writes `from` to pieces of guest memory, one behind the other.
   * @returns the bytes written, as {@link gather}.
   * @throws RangeError when a range is none.
   */
  scatter(from: Uint8Array, ranges: readonly IovaRange[]): number {
    this.checkRanges(ranges);
    let done = 0;
    for (const { iova, length } of ranges) {
      const bytes = Math.min(length, from.length - done);
      this.begin(iova);
      const written = this.writeOn(from, done, bytes);
      done += written;
      if (written < bytes || done === from.length) break;
    }
    return done;
  }

  /** @throws before anything is moved. */
  private checkRanges(ranges: readonly IovaRange[]): void {
    this.begin(0);
    for (const { iova, length } of ranges) {
      this.begin(iova);
      checkLength(length);
    }
  }

  /** Whether an access within a page, that did not get through, reads as zeros and ignores writes. */
  private isIgnored(iova: U64, address: number, access: number): boolean {
    if (address >= 0) {
      this.begin(iova);
      this.fail(access, Reason.noMemory);
    }
    return address === -Outcome.zeroed;
  }

  private readOn(into: Uint8Array, at: number, length: number): number {
    const { memory } = this.host;
    for (let done = 0; done < length;) {
      const address = this.locate(Access.read);
      if (address === -Outcome.aborted) return done;
      let bytes = Math.min(this.pieceAt(address), length - done);
      if (address < 0) {
        into.fill(0, at + done, at + done + bytes);
      } else if (!memory.loadBytes(address, into, at + done, bytes)) {
        bytes = Math.min(bytes, this.restOfPage());
        if (!memory.loadBytes(address, into, at + done, bytes)) {
          this.fail(Access.read, Reason.noMemory);
          return done;
        }
      }
      done += bytes;
      this.advance(bytes);
    }
    return length;
  }

  private writeOn(from: Uint8Array, at: number, length: number): number {
    const { memory } = this.host;
    for (let done = 0; done < length;) {
      const address = this.locate(Access.write);
      if (address === -Outcome.aborted) return done;
      let bytes = Math.min(this.pieceAt(address), length - done);
      if (address >= 0 && !memory.storeBytes(address, from, at + done, bytes)) {
        bytes = Math.min(bytes, this.restOfPage());
        if (!memory.storeBytes(address, from, at + done, bytes)) {
          this.fail(Access.write, Reason.noMemory);
          return done;
        }
      }
      done += bytes;
      this.advance(bytes);
    }
    return length;
  }

  /** Bytes that go the way of the address just located: zeros are given page by page. */
  protected pieceAt(address: number): number {
    return address < 0 ? this.restOfPage() : this.reach[0]!;
  }

  private restOfPage(): number {
    return PAGE - (this.low & (PAGE - 1));
  }
}

/** Whether an access needs no more than one translation. Bigints take the long way. */
export function isWithinPage(iova: U64, length: number): iova is number {
  return typeof iova === 'number' && length > 0 && (iova & (PAGE - 1)) + length <= PAGE;
}
