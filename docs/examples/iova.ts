import type { IovaRange, U64 } from 'vsmmu';

/** `iova + bytes`, in 64 bits: a number while that is exact, since a handle takes numbers faster. */
export function plus(iova: U64, bytes: number): U64 {
  if (typeof iova === 'number' && Number.isSafeInteger(iova + bytes)) return iova + bytes;
  return BigInt.asUintN(64, BigInt(iova) + BigInt(bytes));
}

/** The le64 at `offset`, as {@link plus} gives it. */
export function getU64(view: DataView, offset: number): U64 {
  const high = view.getUint32(offset + 4, true);
  if (high >= 0x20_0000) return view.getBigUint64(offset, true);
  return high * 0x1_0000_0000 + view.getUint32(offset, true);
}

/** Whether `iova` is a multiple of `bytes`. */
export function isAligned(iova: U64, bytes: number): boolean {
  return BigInt(iova) % BigInt(bytes) === 0n;
}

/** What `ranges` have behind their first `bytes` bytes. */
export function skip(ranges: readonly IovaRange[], bytes: number): IovaRange[] {
  const rest: IovaRange[] = [];
  let left = bytes;
  for (const { iova, length } of ranges) {
    const skipped = Math.min(left, length);
    left -= skipped;
    if (skipped < length) rest.push({ iova: plus(iova, skipped), length: length - skipped });
  }
  return rest;
}
