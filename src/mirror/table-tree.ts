import type { GuestMemory } from '../memory/guest-memory.js';
import type { LeafVisitor } from '../ioas/table-scan.js';
import type { Context } from '../transaction/context.js';
import { addressHighOf, swapBytes } from '../transaction/descriptor.js';
import type { RangeSet } from './range-set.js';
import { TableLeaves } from './table-leaves.js';
import { childOf, forEach, isGlobal, TableNode, type TableWatcher } from './table-node.js';
import { TableReader } from './table-reader.js';

/** Descriptors that are compared one by one; more of them as a table. */
const FEW = 4;
/** What a table that is read for the first time counts as. */
const FRESH = 16;
/** Tables that a step reads at least: enough to come to one that was not read yet. */
const LEAST = 10;
const PAGE = 4096;
const From = 0;
const To = 1;

/**
 * The tables of an address space as they were when they were last read: reading them again finds what
 * has changed. A table that stands in several places is kept for each of them.
 */
export class TableTree {
  readonly context: Context;
  /** Tables kept. */
  tables = 0;
  /** The table in which one page was found to be another, if that is the only change. */
  changed: TableNode | undefined;
  /** The index of its descriptor. */
  changedIndex = 0;
  /** A leaf that was read is global: any ASID names it. */
  hasGlobals = false;
  /** There are more tables than the limit: what is kept is of no use. */
  isExceeded = false;

  private readonly reader: TableReader;
  private readonly leaves: TableLeaves;
  private readonly limit: number;
  private readonly roots: readonly TableNode[];
  private watcher: TableWatcher | undefined;
  /** What is visited; in a typed array, since doubles as parameters would be boxed. */
  private readonly range = new Float64Array(2);
  /** Tables that may still be visited. */
  private left = 0;

  /**
   * Reads nothing yet.
   * @param limit tables that are kept at most.
   */
  constructor(memory: GuestMemory, context: Context, limit: number) {
    this.reader = new TableReader(memory);
    this.leaves = new TableLeaves(context);
    this.context = context;
    this.limit = limit;
    const halves = [context.lower, context.upper].filter((half) => half.enabled);
    this.roots = halves.map((half) => {
      const { startLevel, tableHigh, tableLow, startMask, base } = half;
      return new TableNode(half, startLevel, tableHigh, tableLow, startMask + 1, base, 0);
    });
    this.tables = this.roots.length;
  }

  /** Bytes of tables read. */
  get bytesRead(): number {
    return this.reader.bytesRead;
  }

  /** Tells `watcher` of all tables that there are, and from now on. */
  watch(watcher: TableWatcher): void {
    this.unwatch();
    this.watcher = watcher;
    this.forEachRead((node) => {
      watcher.added(node);
    });
  }

  /** The watcher is told that all tables go, and nothing more. */
  unwatch(): void {
    const { watcher } = this;
    if (watcher === undefined) return;
    this.watcher = undefined;
    this.forEachRead((node) => {
      watcher.removed(node);
    });
  }

  /**
   * Reads the tables of the first of `ranges` again, and takes what it has read out of them. Where a
   * descriptor has changed, the IOVAs that it describes are added to `changes`.
   * @param budget tables that may be read; new ones count as 16.
   * @returns what is left of it.
   */
  refresh(ranges: RangeSet, changes: RangeSet, budget: number): number {
    const { range, roots } = this;
    this.left = Math.max(budget, LEAST);
    this.changed = undefined;
    range[From] = ranges.from(0);
    range[To] = ranges.to(0);
    // Before anything is read: memory may be an accessor that lets the guest go on.
    ranges.shift();
    for (const root of roots) {
      if (root.iova >= range[To] || root.end <= range[From]) continue;
      if (this.isPage(root) ? this.visitPage(root, changes) : this.visit(root, changes)) continue;
      // A table that was found anew is read as a whole, even where only a page of it was named.
      ranges.add(range[From], range[To]);
      return 0;
    }
    return Math.max(0, this.left);
  }

  /**
   * Reads `count` descriptors of a table again, from index `first`.
   * @param found gets the ranges of tables that were found: they are to be read next.
   */
  refreshTable(
    node: TableNode,
    first: number,
    count: number,
    changes: RangeSet,
    found: RangeSet,
  ): void {
    this.changed = undefined;
    if (node.isFresh) return;
    const words = this.reader.load(node, first, first + count);
    for (let i = first; i < first + count; i++) {
      const low = words[2 * i]!;
      const high = words[2 * i + 1]!;
      if (low === node.words[2 * i] && high === node.words[2 * i + 1]) continue;
      this.note(node, i, changes);
      if (!this.replace(node, i, low, high, changes)) return;
      const child = node.children?.[i];
      if (child !== undefined) found.add(child.iova, child.end);
    }
  }

  /** As {@link TableLeaves.collect}, of the tables as they were last read. */
  collect(from: number, to: number, visitor: LeafVisitor): boolean {
    return this.leaves.collect(this.roots, from, to, visitor);
  }

  private forEachRead(visit: (node: TableNode) => void): void {
    for (const root of this.roots) {
      forEach(root, (node) => {
        if (!node.isFresh) visit(node);
      });
    }
  }

  /** Reads the part of a table that lies in {@link range}; `false` when it had to stop there. */
  private visit(node: TableNode, changes: RangeSet): boolean {
    const { range } = this;
    const { iova, inverse } = node;
    const from = range[From]!;
    if (this.left <= 0) {
      if (from < iova) range[From] = iova;
      return false;
    }
    this.left--;
    const first = from <= iova ? 0 : Math.floor((from - iova) * inverse);
    const end = Math.min(node.entries, Math.ceil((range[To]! - iova) * inverse));
    const { isFresh } = node;
    if (isFresh) {
      this.left -= FRESH - 1;
      this.watcher?.added(node);
      node.isFresh = false;
      if (node.level === 3) {
        this.reader.loadFresh(node);
        if (!this.hasGlobals) this.hasGlobals = node.hasGlobals(this.context.bigEndian);
        return true;
      }
    }
    if (end - first <= FEW) return this.visitFew(node, first, end, changes);
    if (!isFresh && this.reader.isUnchanged(node, first, end)) {
      return this.visitChildren(node, first, end, changes);
    }
    const words = this.reader.load(node, first, end);
    for (let i = first; i < end; i++) {
      const low = words[2 * i]!;
      const high = words[2 * i + 1]!;
      if (!this.update(node, i, low, high, changes)) return false;
    }
    return true;
  }

  /** Whether {@link range} is one page of 4 KiB, and so in one descriptor of each table. */
  private isPage({ isFresh }: TableNode): boolean {
    return !isFresh && this.range[To]! - this.range[From]! <= PAGE;
  }

  /** As {@link visit}, for one page: what a guest names most. */
  private visitPage(root: TableNode, changes: RangeSet): boolean {
    const { reader, range } = this;
    const { one } = reader;
    const from = range[From]!;
    for (let node = root; ;) {
      const i = ((from - node.iova) * node.inverse) | 0;
      reader.loadOne(node, i);
      this.left--;
      const low = one[0]!;
      const high = one[1]!;
      const { words } = node;
      if (low !== words[2 * i] || high !== words[2 * i + 1]) {
        this.note(node, i, changes);
        if (!this.replace(node, i, low, high, changes)) return false;
      }
      const child = node.children?.[i];
      if (child === undefined) return true;
      if (child.isFresh) return this.visit(child, changes);
      node = child;
    }
  }

  /** Descriptor `i` is about to be a change. */
  private note(node: TableNode, i: number, changes: RangeSet): void {
    this.changed = node.level === 3 && changes.isEmpty ? node : undefined;
    this.changedIndex = i;
  }

  private visitFew(node: TableNode, first: number, end: number, changes: RangeSet): boolean {
    const { one } = this.reader;
    for (let i = first; i < end; i++) {
      this.reader.loadOne(node, i);
      if (!this.update(node, i, one[0]!, one[1]!, changes)) return false;
    }
    return true;
  }

  private visitChildren(node: TableNode, first: number, end: number, changes: RangeSet): boolean {
    const { children } = node;
    if (children === undefined) return true;
    for (let i = first; i < end; i++) {
      const child = children[i];
      if (child !== undefined && !this.visit(child, changes)) return false;
    }
    return true;
  }

  /** Takes over descriptor `i` as it is in memory, and reads the table below it. */
  private update(
    node: TableNode,
    i: number,
    low: number,
    high: number,
    changes: RangeSet,
  ): boolean {
    const { words, children } = node;
    if (low !== words[2 * i] || high !== words[2 * i + 1]) {
      if (!this.replace(node, i, low, high, changes)) return false;
    }
    const child = node.level === 3 ? undefined : (children ?? node.children)?.[i];
    return child === undefined || this.visit(child, changes);
  }

  /**
   * Takes over a descriptor that has changed; the table that it points to now is to be read.
   * @returns `false` when that is one too many.
   */
  private replace(
    node: TableNode,
    i: number,
    rawLow: number,
    rawHigh: number,
    changes: RangeSet,
  ): boolean {
    const { half, level, words, bytes } = node;
    words[2 * i] = rawLow;
    words[2 * i + 1] = rawHigh;
    const start = node.iova + i * bytes;
    changes.add(start, start + bytes);
    const { bigEndian, outputLimit } = this.context;
    const low = bigEndian ? swapBytes(rawHigh) : rawLow;
    const isLeaf = level === 3 || (low & 2) === 0;
    if (isLeaf && isGlobal(low)) this.hasGlobals = true;
    if (level === 3) return true;
    const high = bigEndian ? swapBytes(rawLow) : rawHigh;
    const before = node.children?.[i];
    if (before !== undefined) {
      node.children![i] = undefined;
      forEach(before, (gone) => {
        this.tables--;
        if (!gone.isFresh) this.watcher?.removed(gone);
      });
    }
    if ((low & 3) !== 3) return true;
    const addressHigh = addressHighOf(half, high, low);
    const addressLow = low & (-1 << half.granuleLog2);
    if (addressHigh * 0x1_0000_0000 + (addressLow >>> 0) >= outputLimit) return true;
    if (this.tables >= this.limit) {
      this.isExceeded = true;
      return false;
    }
    this.tables++;
    node.children ??= new Array<TableNode | undefined>(node.entries).fill(undefined);
    node.children[i] = childOf(node, i, high, addressHigh, addressLow);
    const { range } = this;
    if (start < range[From]!) range[From] = start;
    if (start + bytes > range[To]!) range[To] = start + bytes;
    return true;
  }
}
