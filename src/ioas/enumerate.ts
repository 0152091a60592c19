import type { GuestMemory } from '../memory/guest-memory.js';
import type { AddressHalf, Context } from '../transaction/context.js';
import { addressHighOf, permissionIndex } from '../transaction/descriptor.js';
import { Permission } from '../transaction/permissions.js';
import { RunCollector } from './run-collector.js';
import { Runs } from './runs.js';
import { TableScan } from './table-scan.js';

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
  const collector = new RunCollector(new Runs(), limits.runs);
  collector.begin(context, mask);
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
