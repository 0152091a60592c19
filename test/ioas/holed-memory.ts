import { Exchange, type GuestMemory } from '../../src/memory/guest-memory.js';

/** Memory with a hole from `from` to `to`: whatever touches it aborts. */
export class HoledMemory implements GuestMemory {
  private readonly memory: GuestMemory;
  private readonly from: number;
  private readonly to: number;

  constructor(memory: GuestMemory, from: number, to: number) {
    this.memory = memory;
    this.from = from;
    this.to = to;
  }

  load(address: number, into: Uint32Array, at: number, count: number): boolean {
    return !this.hits(address, 4 * count) && this.memory.load(address, into, at, count);
  }

  load64(high: number, low: number, into: Uint32Array): boolean {
    return this.load((high >>> 0) * 2 ** 32 + (low >>> 0), into, 0, 2);
  }

  store(address: number, from: Uint32Array, at: number, count: number): boolean {
    return !this.hits(address, 4 * count) && this.memory.store(address, from, at, count);
  }

  loadBytes(address: number, into: Uint8Array, at: number, count: number): boolean {
    return !this.hits(address, count) && this.memory.loadBytes(address, into, at, count);
  }

  storeBytes(address: number, from: Uint8Array, at: number, count: number): boolean {
    return !this.hits(address, count) && this.memory.storeBytes(address, from, at, count);
  }

  compareExchange(address: number, words: Uint32Array, at: number): number {
    if (this.hits(address, 8)) return Exchange.aborted;
    return this.memory.compareExchange(address, words, at);
  }

  private hits(address: number, bytes: number): boolean {
    return address < this.to && address + bytes > this.from;
  }
}
