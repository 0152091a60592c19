import { hex } from './memory/hex.js';

/** @throws RangeError when `streamId` is none. */
export function checkStreamId(streamId: number): void {
  if (Number.isInteger(streamId) && streamId >= 0 && streamId < 2 ** 32) return;
  throw new RangeError(`streamId is ${hex(streamId)}: it must be below 2^32, and not negative`);
}

/** @throws RangeError when `substreamId` is neither a SubstreamID nor -1, which is none. */
export function checkSubstreamId(substreamId: number): void {
  if (Number.isInteger(substreamId) && substreamId >= -1 && substreamId < 2 ** 20) return;
  throw new RangeError(`substreamId is ${hex(substreamId)}: it must be below 2^20, or -1`);
}
