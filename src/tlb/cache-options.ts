/** How many translations a vSMMU keeps. */
export interface CacheOptions {
  /** Translations kept at most, 0 to 2^22; 0 turns the cache off. Default 65,536. */
  readonly entries?: number;
  /**
   * Translations that one stream may keep, 1 or more, when the cache is full: beyond that it makes room
   * among its own. Default: half of `entries`.
   */
  readonly streamEntries?: number;
}

const DEFAULT_ENTRIES = 65_536;
/** Largest `entries` of {@link CacheOptions}. */
export const MAX_ENTRIES = 2 ** 22;

/**
 * The options with their defaults.
 * @throws RangeError when one is out of range.
 */
export function completeOptions(options: CacheOptions): Required<CacheOptions> {
  const entries = options.entries ?? DEFAULT_ENTRIES;
  if (!Number.isInteger(entries) || entries < 0 || entries > MAX_ENTRIES) {
    throw new RangeError(`cache.entries is ${entries}: it must be a whole number up to 2^22`);
  }
  const streamEntries = options.streamEntries ?? Math.max(1, entries >> 1);
  if (!Number.isInteger(streamEntries) || streamEntries < 1) {
    throw new RangeError(
      `cache.streamEntries is ${streamEntries}: it must be a whole number, 1 or more`,
    );
  }
  return { entries, streamEntries };
}
