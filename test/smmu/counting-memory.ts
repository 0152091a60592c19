import type { GuestMemory } from '../../src/memory/guest-memory.js';

/**
 * Passes accesses on, counts those of words, which are the SMMU's, and insists on what
 * {@link GuestMemory} says of their addresses.
 */
export class CountingMemory implements GuestMemory {
  /** Addresses of loads. */
  loads: number[] = [];
  stores = 0;
  exchanges = 0;
  private readonly memory: GuestMemory;

  constructor(memory: GuestMemory) {
    this.memory = memory;
  }

  /** Loads of what begins in `[first, end)` since the last call of {@link clear}. */
  loadsIn(first: number, end: number): number {
    return this.loads.filter((address) => address >= first && address < end).length;
  }

  clear(): void {
    this.loads = [];
    this.stores = 0;
    this.exchanges = 0;
  }

  load(address: number, into: Uint32Array, at: number, count: number): boolean {
    check(address, 4, 4 * count);
    this.loads.push(address);
    return this.memory.load(address, into, at, count);
  }

  load64(high: number, low: number, into: Uint32Array): boolean {
    const address = (high >>> 0) * 0x1_0000_0000 + (low >>> 0);
    check(address, 8, 8);
    this.loads.push(address);
    return this.memory.load64(high, low, into);
  }

  store(address: number, from: Uint32Array, at: number, count: number): boolean {
    check(address, 4, 4 * count);
    this.stores++;
    return this.memory.store(address, from, at, count);
  }

  loadBytes(address: number, into: Uint8Array, at: number, count: number): boolean {
    return this.memory.loadBytes(address, into, at, count);
  }

  storeBytes(address: number, from: Uint8Array, at: number, count: number): boolean {
    return this.memory.storeBytes(address, from, at, count);
  }

  compareExchange(address: number, words: Uint32Array, at: number): number {
    check(address, 8, 8);
    this.exchanges++;
    return this.memory.compareExchange(address, words, at);
  }
}

function check(address: number, alignment: number, bytes: number): void {
  const right = Number.isInteger(address) && address >= 0 && address + bytes <= 2 ** 52;
  if (!right || address % alignment !== 0) throw new Error(`access to ${address}, ${bytes} bytes`);
}
