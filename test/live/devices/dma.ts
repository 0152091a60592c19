import type { U64 } from 'vsmmu';

/** How a device reaches guest memory: what `StreamHandle` of the library offers, and what stands in for it. */
export interface Dma {
  /** Reads all of `into`. @returns bytes read; less than its length when the access faults there. */
  read(iova: U64, into: Uint8Array): number;
  /** Writes all of `from`. @returns bytes written, as {@link read}. */
  write(iova: U64, from: Uint8Array): number;
  /** Reads 16 bits in one access. @returns the value, or a negative number when the access faults. */
  load16(iova: U64): number;
  /** Writes 16 bits in one access. @returns 0, or a negative number when the access faults. */
  store16(iova: U64, value: number): number;
}

/** Makes sure that the rings and buffers of a device can be reached, before it looks at them. */
export type BeforeRequests = () => void;
