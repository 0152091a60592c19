import type { GuestMemory } from '../memory/guest-memory.js';
import type { AddressHalf, Context } from '../transaction/context.js';
import {
  addressHighOf,
  leafPermissionIndex,
  permissionIndex,
  tablePermissions,
} from '../transaction/descriptor.js';
import { Permission } from '../transaction/permissions.js';
import { Runs } from './runs.js';
import { TableScan, type LeafChunk, type LeafVisitor } from './table-scan.js';

/** How much an enumeration may do. */
export interface EnumerationLimits {
  /** Tables that may be visited. */
  readonly tables: number;
  /** Runs that may be produced. */
  readonly runs: number;
}

/** What {@link enumerate} found. */
export interface Enumeration {
  /** The mappings, ascending and joined. */
  readonly runs: Runs;
  /** `complete`, or the limit that ended it: the runs up to there are right, the rest is missing. */
  readonly end: 'complete' | 'tables' | 'runs';
  /** Tables visited. */
  readonly tables: number;
  /** Descriptors that are not backed by memory: an access that needs one is F_WALK_EABT. */
  readonly aborted: number;
  /** Physical address of the first such descriptor, in bytes; -1 when there is none. */
  readonly firstAborted: number;
}

/** Unprivileged data accesses: what a PCI function without PASID makes. */
export const UNPRIVILEGED_DATA: number = Permission.unprivilegedRead | Permission.unprivilegedWrite;
/** Privileged data accesses. */
export const PRIVILEGED_DATA: number = Permission.privilegedRead | Permission.privilegedWrite;

const UNPRIVILEGED =
  Permission.unprivilegedRead | Permission.unprivilegedWrite | Permission.unprivilegedExecute;
const AF = 1 << 10;
/** Bits of a leaf that decide what it permits: type, AP and AF; DBM, PXN and UXN. */
const DECIDING_LOW = 0b11 | (0b11 << 6) | AF;
const DECIDING_HIGH = (1 << (51 - 32)) | (0b11 << (53 - 32));

/**
 * Every mapping below a CD as joined runs, both halves: all addresses at which an access would
 * succeed. Pages whose access flag or dirty state the SMMU would set are taken as set; memory is only
 * read. Two pages are one run when their IOVAs, their addresses and the permissions in `mask` continue.
 * @param mask the {@link Permission} bits that matter; what has none of them is not mapped.
 */
export function enumerate(
  memory: GuestMemory,
  context: Context,
  mask: number,
  limits: EnumerationLimits,
): Enumeration {
  if (!Number.isSafeInteger(limits.runs) || limits.runs < 1) {
    throw new RangeError(`limits.runs is ${limits.runs}: it must be a whole number, 1 or more`);
  }
  const scan = new TableScan(memory);
  const collector = new RunCollector(context, mask, limits.runs);
  const end = scan.scan(context, limits.tables, collector);
  const complete = collector.finish();
  return {
    runs: collector.runs,
    end: end === 'stopped' || !complete ? 'runs' : end === 'tables' ? 'tables' : 'complete',
    tables: scan.tables,
    aborted: scan.aborted,
    firstAborted: scan.firstAborted,
  };
}

/** Where the run that is still growing stands in {@link RunCollector.growing}. */
const Growing = { iova: 0, nextIova: 1, nextAddress: 2, permissions: 3 } as const;

/** Joins leaves to runs. */
class RunCollector implements LeafVisitor {
  readonly runs = new Runs();
  /** In a typed array between calls, in locals during one: doubles in plain fields would be boxed. */
  private readonly growing = new Float64Array(4);
  private readonly context: Context;
  private readonly mask: number;
  private readonly limit: number;
  private count = 0;

  constructor(context: Context, mask: number, limit: number) {
    this.context = context;
    this.mask = mask;
    this.limit = limit;
  }

  leaves(chunk: LeafChunk): boolean {
    const { context, growing } = this;
    const { half, words, end, level, shift } = chunk;
    if (level < half.firstBlockLevel) return true;
    const { addressMask, spreadMask, spreadShift } = half;
    const changes = tablePermissions(chunk.tableBits);
    const cleared = ~changes;
    const forced = changes >>> 8;
    const { beyondOutput, permissions } = context;
    const mask = half.privilegedOnly ? this.mask & ~UNPRIVILEGED : this.mask;
    const needsAf = !context.setsAccessFlag && !context.ignoresAccessFlag;
    const looked = needsAf ? 0b11 | AF : 0b11;
    const wanted = (level === 3 ? 0b11 : 0b01) | (looked & AF);
    const bytes = 2 ** shift;
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
      }
      if (leafAllowed === 0) continue;
      const addressHigh = ((high & addressMask) | ((low & spreadMask) << spreadShift)) & keepHigh;
      if ((addressHigh & beyondOutput) !== 0) continue;
      const address = addressHigh * 0x1_0000_0000 + ((low & keepLow) >>> 0);
      if (address !== nextAddress || at !== nextIova || leafAllowed !== allowed) {
        if (nextIova !== start) {
          if (columns.isFull) columns = this.runs.open;
          if (this.count === this.limit) return false;
          this.count++;
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

/** One leaf descriptor with where it stands. */
export interface Leaf {
  /** First IOVA, in bytes. */
  readonly iova: number;
  /** Physical address behind it, in bytes. */
  readonly address: number;
  /** -1 to 3. */
  readonly level: number;
  /** log2 of its bytes. */
  readonly sizeLog2: number;
  /** Bits 63:32 of the descriptor, as a little-endian value. */
  readonly high: number;
  /** Bits 31:0 of the descriptor. */
  readonly low: number;
  /** High words of the table descriptors above it, ORed. */
  readonly tableBits: number;
  /** {@link Permission} bits; an access still needs the access flag. */
  readonly permissions: number;
}

/**
 * Calls `visit` for every valid leaf descriptor below a CD whose address is in range, whatever its
 * access flag and permissions, ascending; for tools and tests that want descriptors, not mappings.
 * @param visit returns `false` to end the scan.
 * @returns the scan, for its counters, and why it ended.
 */
export function forEachLeaf(
  memory: GuestMemory,
  context: Context,
  tableLimit: number,
  visit: (leaf: Leaf) => boolean,
): { scan: TableScan; end: 'complete' | 'tables' | 'stopped' } {
  const scan = new TableScan(memory);
  const end = scan.scan(context, tableLimit, {
    leaves({ half, words, first, end, level, shift, tableBits, iova }) {
      if (level < half.firstBlockLevel) return true;
      const type = level === 3 ? 0b11 : 0b01;
      for (let i = first; i < end; i++) {
        const low = words[2 * i]!;
        const high = words[2 * i + 1]!;
        if ((low & 3) !== type) continue;
        const address = leafAddress(half, shift, high, low);
        if (address >= context.outputLimit) continue;
        const leaf: Leaf = {
          iova: iova[0]! + (i - first) * 2 ** shift,
          address,
          level,
          sizeLog2: shift,
          high,
          low,
          tableBits,
          permissions: context.permissions[permissionIndex(high, low, tableBits)]!,
        };
        if (!visit(leaf)) return false;
      }
      return true;
    },
  });
  return { scan, end };
}

function leafAddress(half: AddressHalf, shift: number, high: number, low: number): number {
  const address = addressHighOf(half, high, low) * 0x1_0000_0000 + low;
  return address - (address % 2 ** shift);
}
