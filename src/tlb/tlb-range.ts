/** What an invalidation by address names. One object is filled again and again. */
export class TlbRange {
  /** ASID of the entries, with the global ones; -1 for any. */
  asid = -1;
  /** Bits 63:32 of the first address. */
  firstHigh = 0;
  /** Bits 31:0 of the first address. */
  firstLow = 0;
  /** Bits 63:32 of the last address, which is named too. */
  lastHigh = 0;
  /** Bits 31:0 of the last address. */
  lastLow = 0;
  /** Only leaf entries, no table ones. */
  leaf = false;
  /** log2 of the granule of the entries; 0 for any. */
  granuleLog2 = 0;
  /** Level of the leaf entries, 1 to 3; 0 for any. */
  level = 0;
}
