import type { GuestMemory } from '../../src/memory/guest-memory.js';

/** What was read: guest-physical address and bytes. */
export interface Read {
  readonly address: number;
  readonly bytes: number;
}

/** Passes accesses on to {@link inner}, and remembers the reads of words. */
export class WatchedMemory implements GuestMemory {
  /** What is read and written. */
  inner!: GuestMemory;
  reads: Read[] = [];
  /** Called before each read. */
  onRead: (read: Read) => void = () => undefined;
  holds?: (address: number, words: Uint32Array, at: number, count: number) => boolean;

  /** @param compares it can compare words without a copy. */
  constructor(compares = false) {
    if (!compares) return;
    this.holds = (address, words, at, count) => {
      this.note(address, 4 * count);
      const read = new Uint32Array(count);
      if (!this.inner.load(address, read, 0, count)) return false;
      return read.every((word, i) => word === words[at + i]);
    };
  }

  /** Bytes of reads that touch `[from, to)`. */
  bytesIn(from: number, to: number): number {
    let sum = 0;
    for (const { address, bytes } of this.reads) {
      if (address < to && address + bytes > from) sum += bytes;
    }
    return sum;
  }

  /** Times that the first descriptor, or the whole, of the page at `address` was read. */
  readsOf(address: number): number {
    return this.reads.filter((read) => read.address >= address && read.address < address + 4096)
      .length;
  }

  clear(): void {
    this.reads = [];
  }

  load(address: number, into: Uint32Array, at: number, count: number): boolean {
    this.note(address, 4 * count);
    return this.inner.load(address, into, at, count);
  }

  load64(high: number, low: number, into: Uint32Array): boolean {
    this.note((high >>> 0) * 0x1_0000_0000 + (low >>> 0), 8);
    return this.inner.load64(high, low, into);
  }

  store(address: number, from: Uint32Array, at: number, count: number): boolean {
    return this.inner.store(address, from, at, count);
  }

  loadBytes(address: number, into: Uint8Array, at: number, count: number): boolean {
    return this.inner.loadBytes(address, into, at, count);
  }

  storeBytes(address: number, from: Uint8Array, at: number, count: number): boolean {
    return this.inner.storeBytes(address, from, at, count);
  }

  compareExchange(address: number, words: Uint32Array, at: number): number {
    return this.inner.compareExchange(address, words, at);
  }

  private note(address: number, bytes: number): void {
    const read: Read = { address, bytes };
    this.onRead(read);
    this.reads.push(read);
  }
}
