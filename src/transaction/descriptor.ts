import type { AddressHalf } from './context.js';
import { PermissionIndex } from './permissions.js';

// Bits of the high word of a table descriptor.
const AP_TABLE_READ_ONLY = 1 << (62 - 32);
const AP_TABLE_PRIVILEGED = 1 << (61 - 32);
const XN_TABLE = 1 << (60 - 32);
const PXN_TABLE = 1 << (59 - 32);

/**
 * Bits 63:32 of the address in a table or leaf descriptor (DDI 0487, section D8.3). What its bits
 * 31:0 are depends on the granule and the level.
 */
export function addressHighOf(half: AddressHalf, high: number, low: number): number {
  return (high & half.addressMask) | ((low & half.spreadMask) << half.spreadShift);
}

/** The {@link PermissionIndex} of the leaf `high:low` by itself: AP[2:1], PXN, UXN and DBM. */
export function leafPermissionIndex(high: number, low: number): number {
  return ((low >>> 6) & 3) | ((high >>> (53 - 32 - 2)) & 0b1100) | ((high >>> (51 - 32 - 4)) & 16);
}

/**
 * What table descriptors make of the {@link PermissionIndex} of a leaf below them: bits 7:0 are to
 * be cleared and bits 15:8 to be set in it (DDI 0487, section D8.4).
 * @param tableBits high words of the table descriptors, ORed.
 */
export function tablePermissions(tableBits: number): number {
  let clear = 0;
  let set = 0;
  if ((tableBits & AP_TABLE_PRIVILEGED) !== 0) clear |= PermissionIndex.unprivileged;
  if ((tableBits & PXN_TABLE) !== 0) set |= PermissionIndex.PXN;
  if ((tableBits & XN_TABLE) !== 0) set |= PermissionIndex.UXN;
  if ((tableBits & AP_TABLE_READ_ONLY) !== 0) {
    // Dirty state cannot give back what a table took away.
    clear |= PermissionIndex.DBM;
    set |= PermissionIndex.readOnly;
  }
  return (set << 8) | clear;
}

/** The {@link PermissionIndex} of the leaf `high:low` below tables whose high words OR to `tableBits`. */
export function permissionIndex(high: number, low: number, tableBits: number): number {
  const changes = tablePermissions(tableBits);
  return (leafPermissionIndex(high, low) & ~changes) | (changes >>> 8);
}

/** The bytes of a 32-bit word in the opposite order. */
export function swapBytes(word: number): number {
  return ((word >>> 24) | ((word >>> 8) & 0xff00) | ((word & 0xff00) << 8) | (word << 24)) >>> 0;
}
