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
    return this.move(iova, into, Access.read);
  }

  /**
   * Writes bytes to guest memory; as {@link read}.
   * @returns the bytes written: `from.length`, or less when the access faults there.
   */
  write(iova: U64, from: Uint8Array): number {
    return this.move(iova, from, Access.write);
  }

  /**
   * Reads pieces of guest memory, one behind the other, into `into`.
   * @returns the bytes read: `into.length` or what the ranges have together, whichever is less; or
   * less when the access faults there.
   * @throws RangeError when a range is none.
   */
  gather(ranges: readonly IovaRange[], into: Uint8Array): number {
    return this.moveRanges(ranges, into, Access.read);
  }

  /**
   * Writes `from` to pieces of guest memory, one behind the other.
   * @returns the bytes written, as {@link gather}.
   * @throws RangeError when a range is none.
   */
  scatter(from: Uint8Array, ranges: readonly IovaRange[]): number {
    return this.moveRanges(ranges, from, Access.write);
  }

  /** Moves all of `bytes`: into it for a read, out of it for a write. Returns how many got through. */
  private move(iova: U64, bytes: Uint8Array, access: number): number {
    const { length } = bytes;
    if (!isWithinPage(iova, length)) {
      this.begin(iova);
      return this.moveOn(bytes, 0, length, access);
    }
    const address = this.translate(iova, access);
    if (address >= 0) {
      if (this.transfer(address, bytes, 0, length, access)) return length;
      this.begin(iova);
      this.fail(access, Reason.noMemory);
      return 0;
    }
    if (address === -Outcome.aborted) return 0;
    if (access === Access.read) bytes.fill(0);
    return length;
  }

  private moveRanges(ranges: readonly IovaRange[], bytes: Uint8Array, access: number): number {
    this.checkRanges(ranges);
    let done = 0;
    for (const { iova, length } of ranges) {
      const wanted = Math.min(length, bytes.length - done);
      this.begin(iova);
      const moved = this.moveOn(bytes, done, wanted, access);
      done += moved;
      if (moved < wanted || done === bytes.length) break;
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

  /** Goes on with an access that has begun, for `length` bytes from `bytes[at]`. */
  private moveOn(bytes: Uint8Array, at: number, length: number, access: number): number {
    for (let done = 0; done < length;) {
      const address = this.locate(access);
      if (address === -Outcome.aborted) return done;
      let count = Math.min(this.pieceAt(address), length - done);
      if (address < 0) {
        if (access === Access.read) bytes.fill(0, at + done, at + done + count);
      } else if (!this.transfer(address, bytes, at + done, count, access)) {
        count = Math.min(count, this.restOfPage());
        if (!this.transfer(address, bytes, at + done, count, access)) {
          this.fail(access, Reason.noMemory);
          return done;
        }
      }
      done += count;
      this.advance(count);
    }
    return length;
  }

  private transfer(
    address: number,
    bytes: Uint8Array,
    at: number,
    count: number,
    access: number,
  ): boolean {
    const { memory } = this.host;
    return access === Access.read
      ? memory.loadBytes(address, bytes, at, count)
      : memory.storeBytes(address, bytes, at, count);
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
