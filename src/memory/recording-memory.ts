import type { GuestMemory } from './guest-memory.js';

/** One read or update that a {@link RecordingMemory} saw. */
export interface Fetch {
  /** Guest-physical address, in bytes. */
  readonly address: number;
  /** The words read, or those that an update was to write; empty when a read aborted. */
  readonly words: Uint32Array;
  /** `true` for a {@link GuestMemory.compareExchange}. */
  readonly update: boolean;
}

/**
 * Passes every access on to another memory and remembers what was read; for tools and tests. The record
 * is of what the SMMU fetches: accesses to bytes, which are the DMA of devices, are not in it.
 */
export class RecordingMemory implements GuestMemory {
  /** Everything so far, in order. */
  readonly fetches: Fetch[] = [];
  private readonly memory: GuestMemory;

  constructor(memory: GuestMemory) {
    this.memory = memory;
  }

  load(address: number, into: Uint32Array, at: number, count: number): boolean {
    const backed = this.memory.load(address, into, at, count);
    const words = backed ? into.slice(at, at + count) : new Uint32Array(0);
    this.fetches.push({ address, words, update: false });
    return backed;
  }

  load64(high: number, low: number, into: Uint32Array): boolean {
    return this.load((high >>> 0) * 0x1_0000_0000 + (low >>> 0), into, 0, 2);
  }

  store(address: number, from: Uint32Array, at: number, count: number): boolean {
    return this.memory.store(address, from, at, count);
  }

  loadBytes(address: number, into: Uint8Array, at: number, count: number): boolean {
    return this.memory.loadBytes(address, into, at, count);
  }

  storeBytes(address: number, from: Uint8Array, at: number, count: number): boolean {
    return this.memory.storeBytes(address, from, at, count);
  }

  compareExchange(address: number, words: Uint32Array, at: number): number {
    this.fetches.push({ address, words: words.slice(at + 2, at + 4), update: true });
    return this.memory.compareExchange(address, words, at);
  }
}
