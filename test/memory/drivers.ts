/** Every implementation of guest memory, behind one interface, over the same ranges. */
import { AccessorMemory } from '../../src/memory/accessor-memory.js';
import type { GuestMemory } from '../../src/memory/guest-memory.js';
import { Exchange } from '../../src/memory/guest-memory.js';
import { RamMemory } from '../../src/memory/ram-memory.js';
import { SparseMemory } from '../../src/memory/sparse-memory.js';

/** Two ranges that touch, one over 4 GiB, one above it, one up to the end of the address space. */
export const RANGES = [
  { base: 0x4000_0000, byteLength: 0x2000 },
  { base: 0x4000_2000, byteLength: 0x1000 },
  { base: 0xffff_f000, byteLength: 0x2000 },
  { base: 0x1_2345_6000, byteLength: 0x1000 },
  { base: 0x000f_ffff_ffff_f000, byteLength: 0x1000 },
] as const;

/** The byte at an address before anything is written: the address modulo 251, a prime. */
export function byteAt(address: number): number {
  return address % 251;
}

/** The little-endian word at an address before anything is written. */
export function wordAt(address: number): number {
  const bytes = [0, 1, 2, 3].map((i) => byteAt(address + i));
  return bytes.reduceRight((word, byte) => word * 256 + byte, 0);
}

export interface Driver {
  name: string;
  /** Memory over {@link RANGES} that holds what {@link byteAt} says. */
  make: () => GuestMemory;
  /** Both halves of a 64-bit value may be exchanged at once. */
  exchangesBoth: boolean;
}

/** A VMM's own memory: bytes, looked up range by range. */
export class ByteStore {
  readonly ranges = RANGES.map(({ base, byteLength }) => ({
    base,
    bytes: Uint8Array.from({ length: byteLength }, (_, i) => byteAt(base + i)),
  }));

  /** The place of the byte at `address`, if it is backed. */
  private find(address: number): [Uint8Array, number] | undefined {
    const range = this.ranges.find(
      ({ base, bytes }) => address >= base && address < base + bytes.length,
    );
    return range && [range.bytes, address - range.base];
  }

  read(address: number, into: Uint8Array): boolean {
    for (let i = 0; i < into.length; i++) {
      const place = this.find(address + i);
      if (place === undefined) return false;
      into[i] = place[0][place[1]]!;
    }
    return true;
  }

  write(address: number, from: Uint8Array): boolean {
    if (from.some((_, i) => this.find(address + i) === undefined)) return false;
    from.forEach((byte, i) => {
      const [bytes, index] = this.find(address + i)!;
      bytes[index] = byte;
    });
    return true;
  }

  compareExchange(address: number, expected: Uint8Array, replacement: Uint8Array): number {
    const found = new Uint8Array(8);
    if (!this.read(address, found)) return Exchange.aborted;
    if (found.some((byte, i) => byte !== expected[i])) return Exchange.changed;
    this.write(address, replacement);
    return Exchange.swapped;
  }
}

function ram(shared: boolean): GuestMemory {
  return new RamMemory(
    RANGES.map(({ base, byteLength }) => {
      const buffer = shared ? new SharedArrayBuffer(byteLength) : new ArrayBuffer(byteLength);
      new Uint8Array(buffer).forEach((_, i, bytes) => (bytes[i] = byteAt(base + i)));
      return { base, buffer };
    }),
  );
}

function sparse(): GuestMemory {
  const memory = new SparseMemory();
  for (const { base, byteLength } of RANGES) {
    for (let page = base; page < base + byteLength; page += 0x1000) {
      memory.addPage(
        page,
        Uint8Array.from({ length: 0x1000 }, (_, i) => byteAt(page + i)),
      );
    }
  }
  return memory;
}

function zeroFilled(): GuestMemory {
  const memory = new SparseMemory(RANGES);
  for (const { base, byteLength } of RANGES) {
    const words = Uint32Array.from({ length: byteLength / 4 }, (_, i) => wordAt(base + 4 * i));
    memory.store(base, words, 0, words.length);
  }
  return memory;
}

function accessor(exchanges: boolean): GuestMemory {
  const store = new ByteStore();
  const read = store.read.bind(store);
  const write = store.write.bind(store);
  return exchanges
    ? new AccessorMemory({ read, write, compareExchange: store.compareExchange.bind(store) })
    : new AccessorMemory({ read, write });
}

export const DRIVERS: readonly Driver[] = [
  { name: 'RamMemory over ArrayBuffer', make: () => ram(false), exchangesBoth: true },
  { name: 'RamMemory over SharedArrayBuffer', make: () => ram(true), exchangesBoth: false },
  { name: 'SparseMemory of pages', make: sparse, exchangesBoth: true },
  { name: 'SparseMemory, zero-filled', make: zeroFilled, exchangesBoth: true },
  { name: 'AccessorMemory', make: () => accessor(false), exchangesBoth: true },
  { name: 'AccessorMemory with compareExchange', make: () => accessor(true), exchangesBoth: true },
];
