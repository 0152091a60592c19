import type { AddressRange } from '../memory/sparse-memory.js';

/** What a device may do in an area, as bits. */
export const AreaPermission = { read: 1, write: 2 } as const;

/** All {@link AreaPermission} bits. */
export const ALLOWED: number = AreaPermission.read | AreaPermission.write;

/** What a sink can do; what is left out is not restricted. */
export interface SinkCapabilities {
  /**
   * What one unmap may name: `any` range, parts of areas included; `areas` only as a whole, any number
   * of them with the holes in between (the kernel's IOAS); or exactly one `area` as it was mapped.
   * Default `any`.
   */
  readonly unmaps?: 'any' | 'areas' | 'area';
  /** Bytes of the smallest page: bounds of areas, on both sides, are multiples of it. A power of two, 4096 by default. */
  readonly pageSize?: number;
  /** IOVAs that nothing can be mapped at. */
  readonly reserved?: readonly AddressRange[];
  /** Guest-physical addresses that can be mapped; an area lies in one of these ranges. Default: all. */
  readonly memory?: readonly AddressRange[];
  /** Areas that there may be at a time. */
  readonly areas?: number;
}

/** `true` when the operation is done, `false` when it was refused; or a promise of that. */
export type SinkAnswer = boolean | Promise<boolean>;

/**
 * Where a mirror writes an IOAS to: it holds **areas**, each made by one `map`. Areas never overlap, and
 * the mirror keeps to the {@link SinkCapabilities}. A sink that throws or rejects has refused.
 *
 * A `map` that is refused has mapped nothing. An `unmap` that is refused has unmapped whole areas, or
 * none; what was unmapped before can be unmapped again without an error. Of an unmap of one single area the refusal means
 * that it is still there.
 */
export interface IoasSink {
  /** Asked once, when the sink is attached. */
  readonly capabilities: SinkCapabilities;
  /**
   * Makes an area: `[iova, iova + length)` goes to guest-physical `address` and what follows it.
   * @param iova first IOVA in bytes, below 2^64 and a multiple of 4096: exact as a number.
   * @param address guest-physical address in bytes, a multiple of 4096.
   * @param length bytes, a multiple of 4096.
   * @param permissions {@link AreaPermission} bits, at least one.
   */
  map(iova: number, address: number, length: number, permissions: number): SinkAnswer;
  /** Unmaps `[iova, iova + length)`, as far as {@link SinkCapabilities.unmaps} lets it be named. */
  unmap(iova: number, length: number): SinkAnswer;
}
