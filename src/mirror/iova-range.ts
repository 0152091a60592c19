import { splitU64, type U64 } from '../memory/u64.js';
import { SPACE } from './address-space.js';
import { pageIova } from './misses.js';

const PAGE = 4096;

/**
 * The pages that `length` bytes from `iova` touch; without a length, all from there on.
 * @throws RangeError when one of them is none.
 */
export function rangeOf(
  iova: U64,
  length: number | undefined,
): { readonly from: number; readonly to: number } {
  const { high, low } = splitU64('iova', iova, { high: 0, low: 0 });
  const from = pageIova(high, low);
  if (length === undefined) return { from, to: SPACE };
  if (!Number.isSafeInteger(length) || length < 0) {
    throw new RangeError(`length is ${length}: it must be a whole number of bytes, 0 or more`);
  }
  return { from, to: Math.min(SPACE, from + Math.ceil(((low % PAGE) + length) / PAGE) * PAGE) };
}
