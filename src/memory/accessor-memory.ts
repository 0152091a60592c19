import { Exchange, type GuestMemory } from './guest-memory.js';

/**
 * How a VMM reads and writes its guest's memory, as bytes. The arrays are lent for the call, and used
 * again or given back to a device after it: do not keep them. Where processors of the guest run
 * meanwhile, an aligned access of 2, 4 or 8 bytes is to be one access.
 */
export interface MemoryAccessor {
  /**
   * Fills `bytes` from guest-physical `address`, which has any alignment when a device reads.
   * @returns `false` when any byte is not backed by memory.
   */
  read(address: number, bytes: Uint8Array): boolean;
  /**
   * Writes `bytes` to guest-physical `address`, which has any alignment when a device writes.
   * @returns `false` when any byte is not backed by writable memory; nothing is written then.
   */
  write(address: number, bytes: Uint8Array): boolean;
  /**
   * Replaces the 8 bytes at `address` by `replacement` if they are `expected`, atomically.
   * @returns an {@link Exchange}. Without this method the bytes are read, compared and written,
   * which is right as long as no processor of the guest runs meanwhile.
   */
  compareExchange?(address: number, expected: Uint8Array, replacement: Uint8Array): number;
}

const SCRATCH_WORDS = 1024;

/** Guest memory behind any pair of read and write functions. */
export class AccessorMemory implements GuestMemory {
  private readonly accessor: MemoryAccessor;
  private readonly bytes = new Uint8Array(4 * SCRATCH_WORDS);
  private readonly view = new DataView(this.bytes.buffer);
  private readonly eight = this.bytes.subarray(0, 8);
  private readonly sixtyFour = this.bytes.subarray(0, 64);
  private readonly replacement = new Uint8Array(8);

  /** @throws TypeError when `accessor` has no `read` or no `write` method. */
  constructor(accessor: MemoryAccessor) {
    for (const method of ['read', 'write'] as const) {
      if (typeof (accessor as Partial<MemoryAccessor> | undefined)?.[method] !== 'function') {
        throw new TypeError(`accessor.${method} is not a function: pass { read, write }`);
      }
    }
    this.accessor = accessor;
  }

  load(address: number, into: Uint32Array, at: number, count: number): boolean {
    for (let done = 0; done < count;) {
      const words = Math.min(count - done, SCRATCH_WORDS);
      if (!this.accessor.read(address + 4 * done, this.scratch(words))) return false;
      for (let i = 0; i < words; i++) into[at + done + i] = this.view.getUint32(4 * i, true);
      done += words;
    }
    return true;
  }

  load64(high: number, low: number, into: Uint32Array): boolean {
    return this.load((high >>> 0) * 0x1_0000_0000 + (low >>> 0), into, 0, 2);
  }

  store(address: number, from: Uint32Array, at: number, count: number): boolean {
    for (let done = 0; done < count;) {
      const words = Math.min(count - done, SCRATCH_WORDS);
      for (let i = 0; i < words; i++) this.view.setUint32(4 * i, from[at + done + i]!, true);
      if (!this.accessor.write(address + 4 * done, this.scratch(words))) return false;
      done += words;
    }
    return true;
  }

  loadBytes(address: number, into: Uint8Array, at: number, count: number): boolean {
    return count === 0 || this.accessor.read(address, into.subarray(at, at + count));
  }

  storeBytes(address: number, from: Uint8Array, at: number, count: number): boolean {
    return count === 0 || this.accessor.write(address, from.subarray(at, at + count));
  }

  compareExchange(address: number, words: Uint32Array, at: number): number {
    const { accessor, view, eight } = this;
    if (accessor.compareExchange !== undefined) {
      const replacement = new DataView(this.replacement.buffer);
      for (let i = 0; i < 2; i++) {
        view.setUint32(4 * i, words[at + i]!, true);
        replacement.setUint32(4 * i, words[at + 2 + i]!, true);
      }
      return accessor.compareExchange(address, eight, this.replacement);
    }
    if (!accessor.read(address, eight)) return Exchange.aborted;
    if (view.getUint32(0, true) !== words[at] || view.getUint32(4, true) !== words[at + 1]) {
      return Exchange.changed;
    }
    view.setUint32(0, words[at + 2]!, true);
    view.setUint32(4, words[at + 3]!, true);
    return accessor.write(address, eight) ? Exchange.swapped : Exchange.aborted;
  }

  /** The scratch bytes for `words` words; the two sizes that the SMMU reads are ready-made. */
  private scratch(words: number): Uint8Array {
    if (words === 2) return this.eight;
    if (words === 16) return this.sixtyFour;
    return this.bytes.subarray(0, 4 * words);
  }
}
