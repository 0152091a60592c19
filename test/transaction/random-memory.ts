import type { ReferenceMemory } from '../reference/index.js';
import { Exchange, type GuestMemory } from '../../src/memory/guest-memory.js';
import { RamMemory } from '../../src/memory/ram-memory.js';
import { SparseMemory } from '../../src/memory/sparse-memory.js';

const PAGE_BYTES = 4096;

/** Guest memory as the generator writes it: 4 KiB pages of 64-bit little-endian values. */
export class Image {
  readonly pages = new Map<number, BigUint64Array>();

  has(address: bigint): boolean {
    return this.pages.has(Number(address >> 12n));
  }

  /** The value at an 8-aligned address; 0 where nothing was written. */
  read(address: bigint): bigint {
    return this.pages.get(Number(address >> 12n))?.[indexOf(address)] ?? 0n;
  }

  /** Writes a value, making its page. Above 2^52 there is no memory: then nothing happens. */
  write(address: bigint, value: bigint): void {
    if (address >= 1n << 52n) return;
    const number = Number(address >> 12n);
    let page = this.pages.get(number);
    if (page === undefined) this.pages.set(number, (page = new BigUint64Array(PAGE_BYTES / 8)));
    page[indexOf(address)] = value;
  }

  writeAll(address: bigint, values: readonly bigint[]): void {
    for (const [index, value] of values.entries()) this.write(address + BigInt(8 * index), value);
  }
}

function indexOf(address: bigint): number {
  return Number(address & 0xfffn) >> 3;
}

/** The reference's memory: a copy of an image, which counts the hardware updates it sees. */
export class CopiedMemory implements ReferenceMemory {
  readonly pages = new Map<number, BigUint64Array>();
  accessFlags = 0;
  dirtyStates = 0;
  refused = 0;
  private readonly readOnly: ReadonlySet<number>;

  constructor(image: Image, readOnly: ReadonlySet<number>) {
    this.readOnly = readOnly;
    for (const [number, page] of image.pages) this.pages.set(number, page.slice());
  }

  read64(address: bigint): bigint | null {
    return this.pages.get(Number(address >> 12n))?.[indexOf(address)] ?? null;
  }

  write64(address: bigint, value: bigint): boolean {
    const number = Number(address >> 12n);
    const page = this.pages.get(number);
    if (page === undefined || this.readOnly.has(number)) {
      this.refused++;
      return false;
    }
    const changed = page[indexOf(address)]! ^ value;
    // AF is bit 10 and AP[2] bit 7; bits 50 and 63 in a big-endian descriptor.
    if ((changed & ((1n << 10n) | (1n << 50n))) !== 0n) this.accessFlags++;
    if ((changed & ((1n << 7n) | (1n << 63n))) !== 0n) this.dirtyStates++;
    page[indexOf(address)] = value;
    return true;
  }
}

/** Which of the library's memories serves a machine. */
export const MEMORY_KINDS = ['sparse', 'ram', 'shared'] as const;
export type MemoryKind = (typeof MEMORY_KINDS)[number];

/** The library's memory with the pages of `image`, some of them not writable. */
export function libraryMemory(
  image: Image,
  kind: MemoryKind,
  readOnly: ReadonlySet<number>,
): GuestMemory {
  const memory = kind === 'sparse' ? sparseMemory(image) : ramMemory(image, kind === 'shared');
  return readOnly.size === 0 ? memory : new PartlyWritable(memory, readOnly);
}

function sparseMemory(image: Image): SparseMemory {
  const memory = new SparseMemory();
  for (const [number, page] of image.pages) {
    memory.addPage(number * PAGE_BYTES, new Uint8Array(page.buffer));
  }
  return memory;
}

/** A region for each run of neighbouring pages. */
function ramMemory(image: Image, shared: boolean): RamMemory {
  const numbers = [...image.pages.keys()].sort((a, b) => a - b);
  const regions = [];
  for (let first = 0; first < numbers.length;) {
    let end = first + 1;
    while (end < numbers.length && numbers[end] === numbers[end - 1]! + 1) end++;
    const bytes = (end - first) * PAGE_BYTES;
    const buffer = shared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes);
    for (let i = first; i < end; i++) {
      new BigUint64Array(buffer, (i - first) * PAGE_BYTES, PAGE_BYTES / 8).set(
        image.pages.get(numbers[i]!)!,
      );
    }
    regions.push({ base: numbers[first]! * PAGE_BYTES, buffer });
    first = end;
  }
  return new RamMemory(regions);
}

/** Memory of which some pages abort writes, as ROM does. */
class PartlyWritable implements GuestMemory {
  private readonly memory: GuestMemory;
  private readonly readOnly: ReadonlySet<number>;

  constructor(memory: GuestMemory, readOnly: ReadonlySet<number>) {
    this.memory = memory;
    this.readOnly = readOnly;
  }

  load(address: number, into: Uint32Array, at: number, count: number): boolean {
    return this.memory.load(address, into, at, count);
  }

  load64(high: number, low: number, into: Uint32Array): boolean {
    return this.memory.load64(high, low, into);
  }

  store(address: number, from: Uint32Array, at: number, count: number): boolean {
    if (this.readOnly.has(Math.floor(address / PAGE_BYTES))) return false;
    return this.memory.store(address, from, at, count);
  }

  loadBytes(address: number, into: Uint8Array, at: number, count: number): boolean {
    return this.memory.loadBytes(address, into, at, count);
  }

  storeBytes(address: number, from: Uint8Array, at: number, count: number): boolean {
    const last = Math.floor((address + count - 1) / PAGE_BYTES);
    for (let page = Math.floor(address / PAGE_BYTES); page <= last; page++) {
      if (this.readOnly.has(page)) return false;
    }
    return this.memory.storeBytes(address, from, at, count);
  }

  compareExchange(address: number, words: Uint32Array, at: number): number {
    if (this.readOnly.has(Math.floor(address / PAGE_BYTES))) return Exchange.aborted;
    return this.memory.compareExchange(address, words, at);
  }
}

/** Address of the first page that differs between the two memories, or null. */
export function firstDifference(memory: GuestMemory, reference: CopiedMemory): number | null {
  const words = new Uint32Array(PAGE_BYTES / 4);
  for (const [number, page] of reference.pages) {
    const address = number * PAGE_BYTES;
    if (!memory.load(address, words, 0, words.length)) return address;
    const expected = Buffer.from(page.buffer);
    if (expected.compare(new Uint8Array(words.buffer)) !== 0) return address;
  }
  return null;
}
