import { Context, type AddressHalf } from '../transaction/context.js';
import {
  addressHighOf,
  leafPermissionIndex,
  permissionIndex,
  tablePermissions,
} from '../transaction/descriptor.js';
import { Permission } from '../transaction/permissions.js';
import type { Runs } from './runs.js';
import type { LeafChunk, LeafVisitor } from './table-scan.js';

const NO_CONTEXT = new Context();
const UNPRIVILEGED =
  Permission.unprivilegedRead | Permission.unprivilegedWrite | Permission.unprivilegedExecute;
const AF = 1 << 10;
const NG = 1 << 11;
/** Bits of a leaf that decide what it permits, and to whom: type, AP, AF and nG; DBM, PXN and UXN. */
const DECIDING_LOW = 0b11 | (0b11 << 6) | AF | NG;
const DECIDING_HIGH = (1 << (51 - 32)) | (0b11 << (53 - 32));

/**
 * What the page descriptor `high:low` of level 3 permits, as {@link RunCollector} finds it for many: 0 when
 * nothing is mapped.
 * @param tableBits high words of the table descriptors above it, ORed.
 */
export function pagePermissions(
  context: Context,
  half: AddressHalf,
  high: number,
  low: number,
  tableBits: number,
): number {
  if ((low & 3) !== 3) return 0;
  const isUsed = (low & AF) !== 0 || context.setsAccessFlag || context.ignoresAccessFlag;
  if (!isUsed || (addressHighOf(half, high, low) & context.beyondOutput) !== 0) return 0;
  const permissions = context.permissions[permissionIndex(high, low, tableBits)]!;
  return half.privilegedOnly ? permissions & ~UNPRIVILEGED : permissions;
}

/** Where the run that is still growing stands in {@link RunCollector.growing}. */
const Growing = { iova: 0, nextIova: 1, nextAddress: 2, permissions: 3 } as const;

/**
 * Joins leaves, which come in ascending order, to runs. Two pages are one run when their IOVAs, their
 * addresses and the permissions that matter continue.
 */
export class RunCollector implements LeafVisitor {
  readonly runs: Runs;
  /** A leaf was seen that is global: any ASID names it. */
  sawGlobal = false;
  /** Bytes of the largest leaf that was mapped. */
  largestLeaf = 0;
  /** In a typed array between calls, in locals during one: doubles in plain fields would be boxed. */
  private readonly growing = new Float64Array(4);
  private readonly limit: number;
  private context = NO_CONTEXT;
  private mask = 0;
  private needsAf = true;
  private count = 0;

  /**
   * @param runs where the runs go.
   * @param limit runs that there may be.
   */
  constructor(runs: Runs, limit: number) {
    this.runs = runs;
    this.limit = limit;
  }

  /**
   * Begins anew, without runs.
   * @param mask the {@link Permission} bits that matter; what has none of them is not mapped.
   * @param isExact pages whose access flag the SMMU would have to set are not mapped.
   */
  begin(context: Context, mask: number, isExact = false): void {
    this.context = context;
    this.needsAf = !context.ignoresAccessFlag && (isExact || !context.setsAccessFlag);
    this.mask = mask;
    this.count = 0;
    // Nothing continues an empty run.
    this.growing[Growing.nextIova] = this.growing[Growing.iova]!;
    this.growing[Growing.permissions] = 0;
    this.runs.clear();
  }

  /** First IOVA of the run that is still growing, or that found no room. */
  get growingFrom(): number {
    return this.growing[Growing.iova]!;
  }

  leaves(chunk: LeafChunk): boolean {
    const { context, growing } = this;
    const { half, words, end, level, shift, bytes } = chunk;
    if (level < half.firstBlockLevel) return true;
    const { addressMask, spreadMask, spreadShift } = half;
    const changes = tablePermissions(chunk.tableBits);
    const cleared = ~changes;
    const forced = changes >>> 8;
    const { beyondOutput, permissions } = context;
    const mask = half.privilegedOnly ? this.mask & ~UNPRIVILEGED : this.mask;
    const looked = this.needsAf ? 0b11 | AF : 0b11;
    const wanted = (level === 3 ? 0b11 : 0b01) | (looked & AF);
    const keepLow = shift >= 32 ? 0 : -1 << shift;
    const keepHigh = shift > 32 ? -1 << (shift - 32) : -1;
    let start = growing[Growing.iova]!;
    let nextIova = growing[Growing.nextIova]!;
    let nextAddress = growing[Growing.nextAddress]!;
    let allowed = growing[Growing.permissions]! | 0;
    let at = chunk.iova[0]!;
    let columns = this.runs.open;
    // Neighbours mostly differ in nothing but the address: what follows from the rest is kept.
    let seenLow = 0;
    let seenHigh = 0;
    let leafAllowed = 0;
    for (let i = chunk.first; i < end; i++, at += bytes) {
      const low = words[2 * i]!;
      const high = words[2 * i + 1]!;
      if ((((low ^ seenLow) & DECIDING_LOW) | ((high ^ seenHigh) & DECIDING_HIGH)) !== 0) {
        seenLow = low;
        seenHigh = high;
        leafAllowed =
          (low & looked) === wanted
            ? permissions[(leafPermissionIndex(high, low) & cleared) | forced]! & mask
            : 0;
        if (leafAllowed !== 0) {
          if ((low & NG) === 0) this.sawGlobal = true;
          if (bytes > this.largestLeaf) this.largestLeaf = bytes;
        }
      }
      if (leafAllowed === 0) continue;
      const addressHigh = ((high & addressMask) | ((low & spreadMask) << spreadShift)) & keepHigh;
      if ((addressHigh & beyondOutput) !== 0) continue;
      const address = addressHigh * 0x1_0000_0000 + ((low & keepLow) >>> 0);
      if (address !== nextAddress || at !== nextIova || leafAllowed !== allowed) {
        if (nextIova !== start) {
          if (this.count === this.limit) {
            growing[Growing.iova] = start;
            return false;
          }
          this.count++;
          if (columns.isFull) columns = this.runs.open;
          // Inline: as arguments of a call the doubles would be boxed.
          const index = columns.count++;
          columns.iovas[index] = start;
          columns.lengths[index] = nextIova - start;
          columns.addresses[index] = nextAddress - (nextIova - start);
          columns.permissions[index] = allowed;
        }
        start = at;
        allowed = leafAllowed;
      }
      nextIova = at + bytes;
      nextAddress = address + bytes;
    }
    growing[Growing.iova] = start;
    growing[Growing.nextIova] = nextIova;
    growing[Growing.nextAddress] = nextAddress;
    growing[Growing.permissions] = allowed;
    return true;
  }

  /** Ends the last run; `false` when the limit does not leave room for it. */
  finish(): boolean {
    const { growing } = this;
    const start = growing[Growing.iova]!;
    const length = growing[Growing.nextIova]! - start;
    if (length === 0) return true;
    if (this.count === this.limit) return false;
    const columns = this.runs.open;
    const index = columns.count++;
    columns.iovas[index] = start;
    columns.lengths[index] = length;
    columns.addresses[index] = growing[Growing.nextAddress]! - length;
    columns.permissions[index] = growing[Growing.permissions]!;
    return true;
  }
}
