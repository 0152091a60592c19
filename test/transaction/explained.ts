import type { GuestBuilder } from '../../src/fixtures/guest-builder.js';
import { explain, type Explanation } from '../../src/transaction/explain.js';

/** An access that a test wants explained; what is left out is 0, or no SubstreamID. */
export interface Wanted {
  streamId?: number;
  substreamId?: number;
  iova?: bigint;
  access?: number;
}

/** Explains an access to a built guest; StreamID 1 by default. */
export function explained(guest: GuestBuilder, wanted: Wanted = {}): Explanation {
  const { streamId = 1, substreamId = -1, iova = 0n, access = 0 } = wanted;
  return explain(guest.memory, guest.frame, guest.features, {
    streamId,
    substreamId,
    inputHigh: Number(iova >> 32n),
    inputLow: Number(iova & 0xffff_ffffn),
    access,
  });
}
