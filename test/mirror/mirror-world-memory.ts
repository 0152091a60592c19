/** Guest memory whose pages can vanish, and come back. */
import { Exchange, type GuestMemory } from '../../src/memory/guest-memory.js';
import { SparseMemory } from '../../src/memory/sparse-memory.js';
import type { ReferenceMemory } from '../reference/index.js';

const PAGE = 4096;

export class WorldMemory implements GuestMemory, ReferenceMemory {
  /** Whether it can compare by itself. */
  readonly holds?: (address: number, words: Uint32Array, at: number, count: number) => boolean;
  /** How often something was written, or a page vanished or came back. */
  version = 0;
  /** Numbers of pages that are not there. */
  private readonly holes = new Set<number>();
  private readonly ram: SparseMemory;
  private readonly two = new Uint32Array(2);

  constructor(base: number, byteLength: number, compares: boolean) {
    this.ram = new SparseMemory([{ base, byteLength }]);
    if (!compares) return;
    this.holds = (address, words, at, count) => {
      const found = new Uint32Array(count);
      if (!this.load(address, found, 0, count)) return false;
      return found.every((word, i) => word === words[at + i]);
    };
  }

  load(address: number, into: Uint32Array, at: number, count: number): boolean {
    return this.isThere(address, 4 * count) && this.ram.load(address, into, at, count);
  }

  load64(high: number, low: number, into: Uint32Array): boolean {
    return this.load((high >>> 0) * 0x1_0000_0000 + (low >>> 0), into, 0, 2);
  }

  store(address: number, from: Uint32Array, at: number, count: number): boolean {
    this.version++;
    return this.isThere(address, 4 * count) && this.ram.store(address, from, at, count);
  }

  loadBytes(address: number, into: Uint8Array, at: number, count: number): boolean {
    return this.isThere(address, count) && this.ram.loadBytes(address, into, at, count);
  }

  storeBytes(address: number, from: Uint8Array, at: number, count: number): boolean {
    return this.isThere(address, count) && this.ram.storeBytes(address, from, at, count);
  }

  compareExchange(address: number, words: Uint32Array, at: number): number {
    this.version++;
    if (!this.isThere(address, 8)) return Exchange.aborted;
    return this.ram.compareExchange(address, words, at);
  }

  read64(address: bigint): bigint | null {
    if (!this.load(Number(address), this.two, 0, 2)) return null;
    return (BigInt(this.two[1]!) << 32n) | BigInt(this.two[0]!);
  }

  /** As the guest does it: also where the SMMU sees a hole. */
  write64(address: bigint, value: bigint): boolean {
    this.version++;
    return this.poke(address, value);
  }

  /** As {@link write64}, where nobody reads but the SMMU's queue. */
  poke(address: bigint, value: bigint): boolean {
    this.two[0] = Number(value & 0xffff_ffffn);
    this.two[1] = Number(value >> 32n);
    return this.ram.store(Number(address), this.two, 0, 2);
  }

  /** The page at `address` vanishes, or comes back. @returns whether it is there. */
  toggle(address: number): boolean {
    this.version++;
    const page = Math.floor(address / PAGE);
    const wasHole = this.holes.delete(page);
    if (!wasHole) this.holes.add(page);
    return wasHole;
  }

  /** All pages are there. */
  restore(): void {
    this.version++;
    this.holes.clear();
  }

  private isThere(address: number, bytes: number): boolean {
    if (this.holes.size === 0) return true;
    for (let page = Math.floor(address / PAGE); page * PAGE < address + bytes; page++) {
      if (this.holes.has(page)) return false;
    }
    return true;
  }
}
