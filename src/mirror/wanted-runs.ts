import { pagePermissions, RunCollector } from '../ioas/run-collector.js';
import { RunColumns, Runs } from '../ioas/runs.js';
import { TableScan } from '../ioas/table-scan.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { AddressRange } from '../memory/sparse-memory.js';
import { addressHighOf } from '../transaction/descriptor.js';
import { Permission } from '../transaction/permissions.js';
import type { AddressSpace } from './address-space.js';
import { AreaPermission } from './sink.js';
import type { TableNode } from './table-node.js';
import type { SinkWriter } from './sink-writer.js';

/** Runs that are compared at a time. */
const BATCH = 8192;
/** Areas that are looked up in the tables at a time, and tables that may be visited for that. */
const LOOKED_UP = 4096;
const TABLES = 8192;
const PAGE = 4096;
/** nG, in the low word of a leaf. */
const NG = 1 << 11;

/** {@link Permission} bits of the reads and writes of a device. */
export interface AccessBits {
  readonly read: number;
  readonly write: number;
}

/** Finds out what a sink should hold, as runs with {@link AreaPermission} bits, a batch at a time. */
export class WantedRuns {
  /** What is wanted, from the last question. */
  columns: RunColumns;
  /** Bytes of tables read on demand. */
  bytesRead = 0;

  private readonly ram: readonly AddressRange[];
  private readonly runs = new Runs(BATCH);
  private readonly collector = new RunCollector(this.runs, BATCH);
  private readonly scan: TableScan;
  private readonly cut = new RunColumns(0, BATCH);

  constructor(memory: GuestMemory, ram: readonly AddressRange[]) {
    this.columns = this.runs.start;
    this.ram = ram;
    this.scan = new TableScan(memory);
  }

  /** Nothing. */
  none(): void {
    this.runs.clear();
    this.columns = this.runs.start;
  }

  /** One run. */
  one(iova: number, length: number, address: number, permissions: number): void {
    this.none();
    const { columns } = this;
    const index = columns.add();
    columns.iovas[index] = iova;
    columns.lengths[index] = length;
    columns.addresses[index] = address;
    columns.permissions[index] = permissions;
  }

  /** The identity of guest RAM, as far as physical addresses go. */
  identity(end: number): void {
    this.none();
    const { columns } = this;
    for (const { base, byteLength } of this.ram) {
      const length = Math.min(byteLength, end - base);
      if (length <= 0) continue;
      const index = columns.add();
      columns.iovas[index] = base;
      columns.lengths[index] = length;
      columns.addresses[index] = base;
      columns.permissions[index] = AreaPermission.read | AreaPermission.write;
    }
  }

  /** What the tables as they were last read say of `[from, to)`. @returns how far that was found out. */
  ofTables(space: AddressSpace, bits: AccessBits, from: number, to: number, page: number): number {
    const { collector } = this;
    this.columns = this.runs.start;
    collector.begin(space.context, bits.read | bits.write);
    const isComplete = space.tree!.collect(from, to, collector) && collector.finish();
    this.translatePermissions(space, bits, false);
    return this.reached(from, to, page, isComplete);
  }

  /** What descriptor `index` of a little-endian table of level 3 with 4 KiB pages, as it was last read, says. */
  ofPage(space: AddressSpace, bits: AccessBits, node: TableNode, index: number): void {
    const { half, words, tableBits } = node;
    const low = words[2 * index]!;
    const high = words[2 * index + 1]!;
    this.none();
    const found = pagePermissions(space.context, half, high, low, tableBits);
    const allowed = areaPermissions(found & ~Permission.clean, bits);
    if (allowed === 0) return;
    if ((low & NG) === 0) space.markGlobal();
    const { columns } = this;
    columns.count = 1;
    columns.iovas[0] = node.iova + index * PAGE;
    columns.lengths[0] = PAGE;
    columns.addresses[0] = addressHighOf(half, high, low) * 0x1_0000_0000 + ((low & -PAGE) >>> 0);
    columns.permissions[0] = allowed;
  }

  /** What the tables in memory say of the few pages of `[from, to)`. */
  ofMemory(space: AddressSpace, bits: AccessBits, from: number, to: number): void {
    const { collector, scan } = this;
    this.columns = this.runs.start;
    collector.begin(space.context, bits.read | bits.write | Permission.clean, true);
    scan.scan(space.context, TABLES, collector, from, to);
    this.bytesRead += scan.bytesRead;
    collector.finish();
    this.translatePermissions(space, bits, true);
  }

  /**
   * What the tables in memory say of `[from, to)`, as far as the sink holds it: it was asked for once.
   * @returns how far that was found out.
   */
  ofHeld(
    space: AddressSpace,
    bits: AccessBits,
    from: number,
    to: number,
    writer: SinkWriter,
  ): number {
    const { collector, scan } = this;
    const { held } = writer;
    this.columns = this.runs.start;
    // As the accesses that missed found it: flags that the SMMU would have to set are not set yet.
    collector.begin(space.context, bits.read | bits.write | Permission.clean, true);
    let end = to;
    let isComplete = true;
    let tables = TABLES;
    let areas = 0;
    held.seek(from);
    while (isComplete && !held.isAtEnd) {
      const { chunk, index } = held;
      const start = Math.max(chunk.iovas[index]!, from);
      if (start >= to) break;
      // At least one area, so that there is progress; of one with too many tables the rest is given up.
      if (areas > 0 && (areas === LOOKED_UP || tables <= 0)) {
        end = start;
        break;
      }
      areas++;
      const last = Math.min(chunk.iovas[index]! + chunk.lengths[index]!, to);
      isComplete =
        scan.scan(space.context, Math.max(tables, LEAST), collector, start, last) !== 'stopped';
      tables -= scan.tables;
      this.bytesRead += scan.bytesRead;
      held.next();
    }
    isComplete = isComplete && collector.finish();
    this.translatePermissions(space, bits, true);
    const reached = this.reached(from, end, writer.limits.pageSize, isComplete);
    this.keepHeld(writer, from, reached);
    return reached;
  }

  /** How far a collection from `from` to `to` goes. */
  private reached(from: number, to: number, page: number, isComplete: boolean): number {
    if (isComplete) return to;
    // The run that found no room comes again. A page of the sink with more runs than that has no mapping.
    const reached = Math.floor(this.collector.growingFrom / page) * page;
    return Math.min(to, Math.max(reached, from + page));
  }

  /** Makes {@link AreaPermission} bits of what was collected. */
  private translatePermissions(space: AddressSpace, bits: AccessBits, hasClean: boolean): void {
    const { collector, columns } = this;
    if (collector.largestLeaf > space.largestLeaf) space.largestLeaf = collector.largestLeaf;
    collector.largestLeaf = 0;
    if (collector.sawGlobal) {
      collector.sawGlobal = false;
      space.markGlobal();
    }
    const isPlain = bits.read === AreaPermission.read && bits.write === AreaPermission.write;
    if (!isPlain || hasClean) {
      const { permissions, count } = columns;
      for (let i = 0; i < count; i++) {
        permissions[i] = areaPermissions(permissions[i]!, bits);
      }
    }
  }

  /** Cuts the runs to what the sink holds. */
  private keepHeld({ held }: SinkWriter, from: number, to: number): void {
    const { columns, cut } = this;
    const { iovas, lengths, addresses, permissions, count } = columns;
    cut.count = 0;
    held.seek(from);
    // A block that reaches over several areas was found for each of them.
    let kept = from;
    for (let run = 0; run < count && !held.isAtEnd;) {
      if (permissions[run] === 0) {
        run++;
        continue;
      }
      const { chunk, index } = held;
      const areaEnd = chunk.iovas[index]! + chunk.lengths[index]!;
      const runEnd = iovas[run]! + lengths[run]!;
      const start = Math.max(chunk.iovas[index]!, iovas[run]!, kept);
      const end = Math.min(areaEnd, runEnd, to);
      if (start < end) {
        const at = cut.add();
        cut.iovas[at] = start;
        cut.lengths[at] = end - start;
        cut.addresses[at] = addresses[run]! + (start - iovas[run]!);
        cut.permissions[at] = permissions[run]!;
        kept = end;
      }
      if (runEnd <= areaEnd) run++;
      else held.next();
    }
    this.columns = cut;
  }
}

/** {@link AreaPermission} bits of {@link Permission} bits; a page that is known to be clean is not writable. */
function areaPermissions(found: number, { read, write }: AccessBits): number {
  const reads = (found & read) !== 0 ? AreaPermission.read : 0;
  const isWritable = (found & write) !== 0 && (found & Permission.clean) === 0;
  return isWritable ? reads | AreaPermission.write : reads;
}

/** Tables that an area may need at least: a walk to its first page, and to its last. */
const LEAST = 16;
