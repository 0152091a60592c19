import { AddressFormat } from './context.js';
import { PermissionIndex } from './permissions.js';

// Bits of the high word of a table descriptor.
const AP_TABLE_READ_ONLY = 1 << (62 - 32);
const AP_TABLE_PRIVILEGED = 1 << (61 - 32);
const XN_TABLE = 1 << (60 - 32);
const PXN_TABLE = 1 << (59 - 32);
const TABLE_PERMISSIONS = AP_TABLE_READ_ONLY | AP_TABLE_PRIVILEGED | XN_TABLE | PXN_TABLE;

/**
 * Bits 63:32 of the address in a table or leaf descriptor (DDI 0487, section D8.3). What its bits
 * 31:0 are depends on the granule and the level.
 * @param format an {@link AddressFormat}.
 */
export function addressHighOf(format: number, high: number, low: number): number {
  if (format === AddressFormat.plain) return high & 0xffff;
  if (format === AddressFormat.lpa2) return (high & 0x3_ffff) | ((low & 0x300) << 10);
  return (high & 0xffff) | ((low & 0xf000) << 4);
}

/**
 * Index into the permissions of a context of the leaf `high:low`, below tables whose high words OR
 * to `tableBits` (DDI 0487, section D8.4).
 */
export function permissionIndex(high: number, low: number, tableBits: number): number {
  // AP[2:1] from 7:6; PXN and UXN from 54:53; DBM from 51.
  let index =
    ((low >>> 6) & 3) | ((high >>> (53 - 32 - 2)) & 0b1100) | ((high >>> (51 - 32 - 4)) & 16);
  if ((tableBits & TABLE_PERMISSIONS) === 0) return index;
  if ((tableBits & AP_TABLE_PRIVILEGED) !== 0) index &= ~PermissionIndex.unprivileged;
  if ((tableBits & PXN_TABLE) !== 0) index |= PermissionIndex.PXN;
  if ((tableBits & XN_TABLE) !== 0) index |= PermissionIndex.UXN;
  if ((tableBits & AP_TABLE_READ_ONLY) !== 0) {
    // Dirty state cannot give back what a table took away.
    index = (index | PermissionIndex.readOnly) & ~PermissionIndex.DBM;
  }
  return index;
}

/** The bytes of a 32-bit word in the opposite order. */
export function swapBytes(word: number): number {
  return ((word >>> 24) | ((word >>> 8) & 0xff00) | ((word & 0xff00) << 8) | (word << 24)) >>> 0;
}
