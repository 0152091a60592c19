/**
 * Guest memory as the SMMU and devices behind it see it. Addresses are guest-physical, in bytes, below
 * 2^52; words are 32 bits, little-endian, whatever the guest stores in them. The SMMU reads and writes
 * words; bytes are for the DMA of emulated devices.
 */
export interface GuestMemory {
  /**
   * Copies `count` words from `address` (a multiple of 4) into `into`, from index `at`. Each aligned
   * pair of words is one access: it is never seen half old and half new.
   * @returns `false` when any byte is not backed by memory: an external abort to the SMMU. What
   * `into` then holds is of no use.
   */
  load(address: number, into: Uint32Array, at: number, count: number): boolean;

  /**
   * Reads the 64-bit value at address `high:low` (a multiple of 8; signed or unsigned halves) into
   * `into`: bits 31:0 into index 0, bits 63:32 into index 1. What {@link load} does for two words,
   * without a double: table walks, which do little else, take a quarter less time with it.
   * @returns `false` when any byte is not backed by memory: an external abort to the SMMU.
   */
  load64(high: number, low: number, into: Uint32Array): boolean;

  /**
   * Whether the `count` words at `address` (a multiple of 4) are those of `words` from index `at`. What
   * {@link load} and a comparison do, without the copy; a memory that cannot do better leaves it out.
   * @returns `false` when any word differs, or is not backed by memory.
   */
  holds?(address: number, words: Uint32Array, at: number, count: number): boolean;

  /**
   * Copies `count` words of `from`, from index `at`, to `address` (a multiple of 4).
   * @returns `false` when any byte is not backed by writable memory: an external abort to the SMMU.
   */
  store(address: number, from: Uint32Array, at: number, count: number): boolean;

  /**
   * Copies `count` bytes (also 0) from `address` (any alignment) into `into`, from index `at`. An
   * aligned access of 2, 4 or 8 bytes is one access: it is never seen half old and half new.
   * @returns `false` when any byte is not backed by memory: an external abort. What `into` then holds
   * is of no use.
   */
  loadBytes(address: number, into: Uint8Array, at: number, count: number): boolean;

  /**
   * Copies `count` bytes (also 0) of `from`, from index `at`, to `address` (any alignment). An aligned
   * access of 2, 4 or 8 bytes is one access: nobody sees it half done.
   * @returns `false` when any byte is not backed by writable memory: an external abort. Nothing is
   * written then.
   */
  storeBytes(address: number, from: Uint8Array, at: number, count: number): boolean;

  /**
   * Replaces the 64-bit value at `address` (a multiple of 8) if it still is the expected one, in one
   * step as far as the guest's processors can tell. Hardware updates of the access flag and of dirty
   * state go through it.
   * @param words four words from index `at`: expected low and high, replacement low and high.
   * @returns a {@link Exchange}.
   */
  compareExchange(address: number, words: Uint32Array, at: number): number;
}

/** What became of {@link GuestMemory.compareExchange}. */
export const Exchange = {
  /** The value was the expected one and is replaced. */
  swapped: 0,
  /** The value was another one; nothing is written. */
  changed: 1,
  /** The address is not backed by writable memory: an external abort. */
  aborted: 2,
} as const;
