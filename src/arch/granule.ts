/**
 * Geometry of VMSAv8-64 translation tables (DDI 0487, section D8.2). A granule is named by the log2
 * of its bytes: 12, 14 or 16. Levels run from -1 to 3.
 */

/** log2 of the bytes of a granule. */
export const GranuleLog2 = { granule4K: 12, granule16K: 14, granule64K: 16 } as const;

/** log2 of the granule that CD.TG0 or STE.S2TG names, by its code; 0 for the reserved code. */
export const TG0_GRANULE_LOG2: readonly number[] = [12, 16, 14, 0];

/** log2 of the granule that CD.TG1 names, by its code; 0 for the reserved code. */
export const TG1_GRANULE_LOG2: readonly number[] = [0, 14, 12, 16];

/** Address bits resolved by one level: log2 of the descriptors in a table. */
export function bitsPerLevel(granuleLog2: number): number {
  return granuleLog2 - 3;
}

/** log2 of the bytes that one descriptor of `level` describes. */
export function levelShift(granuleLog2: number, level: number): number {
  return granuleLog2 + (granuleLog2 - 3) * (3 - level);
}

/** Level at which a stage-1 walk of `inputBits` address bits starts (DDI 0487, section D8.2). */
export function startLevel(granuleLog2: number, inputBits: number): number {
  return 4 - Math.ceil((inputBits - granuleLog2) / (granuleLog2 - 3));
}

/**
 * Lowest level at which a block descriptor is legal: every level from it to 2.
 * @param ds 52-bit addresses with 4K and 16K granules are on (IDR5.DS and CD.DS).
 * @param oas52 the SMMU's output addresses have 52 bits.
 */
export function firstBlockLevel(granuleLog2: number, ds: boolean, oas52: boolean): number {
  if (granuleLog2 === 12) return ds ? 0 : 1;
  if (granuleLog2 === 14) return ds ? 1 : 2;
  return oas52 ? 1 : 2;
}

/**
 * How many neighbours a set Contiguous bit spans at `level`; 1 where the bit is RES0
 * (DDI 0487, section D8.6).
 */
export function contiguousEntries(granuleLog2: number, level: number): number {
  if (granuleLog2 === 12) return level >= 1 ? 16 : 1;
  if (granuleLog2 === 14) return level === 3 ? 128 : level === 2 ? 32 : 1;
  return level >= 2 ? 32 : 1;
}

/** Address bits named by IDR5.OAS, CD.IPS and STE.S2PS, by their code. Code 7 (56 bits) is for D128 only. */
export const ADDRESS_SIZE_BITS: readonly number[] = [32, 36, 40, 42, 44, 48, 52, 56];
