import { Exchange, type GuestMemory } from './guest-memory.js';
import { hex } from './hex.js';

/** A range of guest-physical addresses. */
export interface AddressRange {
  /** First byte; a multiple of 4096. */
  readonly base: number;
  /** Bytes; a multiple of 4096. */
  readonly byteLength: number;
}

const PAGE_BYTES = 4096;
const PAGE_WORDS = PAGE_BYTES / 4;

/**
 * Guest memory of single 4 KiB pages anywhere in the address space: captures, tests, and guests of
 * terabytes of which few pages matter. A page that was never added is a hole, unless it lies in a
 * range of zero-filled RAM: there it reads as zeros, and is made when something is written to it.
 */
export class SparseMemory implements GuestMemory {
  private readonly pages = new Map<number, Uint32Array>();
  private readonly zeroFilled: readonly AddressRange[];
  private readonly zeros = new Uint32Array(PAGE_WORDS);
  private lastPage = -1;
  private lastWords: Uint32Array = this.zeros;

  /**
   * @param zeroFilled ranges of RAM that reads as zeros until it is written.
   * @throws RangeError when a range is not made of whole 4 KiB pages below 2^52.
   */
  constructor(zeroFilled: readonly AddressRange[] = []) {
    for (const { base, byteLength } of zeroFilled) {
      for (const value of [base, byteLength]) {
        if (!Number.isSafeInteger(value) || value < 0 || value % PAGE_BYTES !== 0) {
          throw new RangeError(`zeroFilled: ${hex(value)} is not a multiple of 4096 bytes`);
        }
      }
      if (base + byteLength > 2 ** 52) {
        throw new RangeError(
          `zeroFilled: the range ends at ${hex(base + byteLength)}: physical addresses have 52 bits`,
        );
      }
    }
    this.zeroFilled = zeroFilled;
  }

  /** Bytes of the pages that exist. */
  get byteLength(): number {
    return this.pages.size * PAGE_BYTES;
  }

  /** Guest-physical addresses of the pages that exist, ascending. */
  pageAddresses(): number[] {
    return [...this.pages.keys()].sort((a, b) => a - b).map((page) => page * PAGE_BYTES);
  }

  /**
   * Adds the page at `address`, with the given 4096 bytes or zeros; a page that is there already is
   * replaced.
   * @throws RangeError when `address` is not a multiple of 4096 below 2^52, or `bytes` are not 4096.
   */
  addPage(address: number, bytes?: Uint8Array): void {
    if (
      !Number.isSafeInteger(address) ||
      address < 0 ||
      address % PAGE_BYTES ||
      address >= 2 ** 52
    ) {
      throw new RangeError(`address is ${hex(address)}: it must be a multiple of 4096 below 2^52`);
    }
    if (bytes !== undefined && bytes.length !== PAGE_BYTES) {
      throw new RangeError(`bytes has ${bytes.length} bytes: a page has 4096`);
    }
    const words = new Uint32Array(PAGE_WORDS);
    if (bytes !== undefined) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, PAGE_BYTES);
      for (let i = 0; i < PAGE_WORDS; i++) words[i] = view.getUint32(4 * i, true);
    }
    this.pages.set(address / PAGE_BYTES, words);
    this.lastPage = -1;
  }

  /** Makes the page at `address` (a multiple of 4096) a hole again. */
  removePage(address: number): void {
    this.pages.delete(address / PAGE_BYTES);
    this.lastPage = -1;
  }

  load(address: number, into: Uint32Array, at: number, count: number): boolean {
    let done = 0;
    do {
      const next = address + 4 * done;
      const page = Math.floor(next / PAGE_BYTES);
      if (page !== this.lastPage && !this.seek(page)) return false;
      const words = this.lastWords;
      const index = (next % PAGE_BYTES) >>> 2;
      const end = Math.min(count - done, PAGE_WORDS - index);
      for (let i = 0; i < end; i++) into[at + done + i] = words[index + i]!;
      done += end;
    } while (done < count);
    return true;
  }

  load64(high: number, low: number, into: Uint32Array): boolean {
    return this.load((high >>> 0) * 0x1_0000_0000 + (low >>> 0), into, 0, 2);
  }

  store(address: number, from: Uint32Array, at: number, count: number): boolean {
    if (!this.isBacked(address, 4 * count)) return false;
    for (let i = 0; i < count; i++) {
      const next = address + 4 * i;
      this.seekForWrite(Math.floor(next / PAGE_BYTES));
      this.lastWords[(next % PAGE_BYTES) >>> 2] = from[at + i]!;
    }
    return true;
  }

  loadBytes(address: number, into: Uint8Array, at: number, count: number): boolean {
    for (let done = 0; done < count;) {
      const next = address + done;
      const page = Math.floor(next / PAGE_BYTES);
      if (page !== this.lastPage && !this.seek(page)) return false;
      const words = this.lastWords;
      const start = next % PAGE_BYTES;
      const end = Math.min(count - done, PAGE_BYTES - start);
      // Shifts, not a view of the bytes: pages hold words, on big-endian hosts as well.
      for (let i = 0; i < end; i++) {
        const byte = start + i;
        into[at + done + i] = words[byte >>> 2]! >>> (8 * (byte & 3));
      }
      done += end;
    }
    return true;
  }

  storeBytes(address: number, from: Uint8Array, at: number, count: number): boolean {
    if (!this.isBacked(address, count)) return false;
    for (let done = 0; done < count;) {
      const next = address + done;
      this.seekForWrite(Math.floor(next / PAGE_BYTES));
      const words = this.lastWords;
      const start = next % PAGE_BYTES;
      const end = Math.min(count - done, PAGE_BYTES - start);
      for (let i = 0; i < end; i++) {
        const index = (start + i) >>> 2;
        const shift = 8 * ((start + i) & 3);
        words[index] = (words[index]! & ~(0xff << shift)) | (from[at + done + i]! << shift);
      }
      done += end;
    }
    return true;
  }

  compareExchange(address: number, words: Uint32Array, at: number): number {
    const page = Math.floor(address / PAGE_BYTES);
    if (!this.seek(page)) return Exchange.aborted;
    const index = (address % PAGE_BYTES) >>> 2;
    const found = this.lastWords;
    if (found[index] !== words[at] || found[index + 1] !== words[at + 1]) return Exchange.changed;
    this.seekForWrite(page);
    const memory = this.lastWords;
    memory[index] = words[at + 2]!;
    memory[index + 1] = words[at + 3]!;
    return Exchange.swapped;
  }

  /** Whether each page of `count` bytes from `address` is there, or is zeros that a write makes. */
  private isBacked(address: number, count: number): boolean {
    for (let done = 0; done < count; done += PAGE_BYTES - ((address + done) % PAGE_BYTES)) {
      if (!this.seek(Math.floor((address + done) / PAGE_BYTES))) return false;
    }
    return true;
  }

  private seek(page: number): boolean {
    const words = this.pages.get(page) ?? (this.isZeroFilled(page) ? this.zeros : undefined);
    if (words === undefined) return false;
    this.lastPage = page;
    this.lastWords = words;
    return true;
  }

  private seekForWrite(page: number): boolean {
    if (!this.seek(page)) return false;
    if (this.lastWords === this.zeros) {
      this.lastWords = new Uint32Array(PAGE_WORDS);
      this.pages.set(page, this.lastWords);
    }
    return true;
  }

  private isZeroFilled(page: number): boolean {
    const address = page * PAGE_BYTES;
    return this.zeroFilled.some(
      ({ base, byteLength }) => address >= base && address < base + byteLength,
    );
  }
}
