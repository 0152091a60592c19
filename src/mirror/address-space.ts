import type { CachedContext } from '../transaction/configuration-cache.js';
import type { Context } from '../transaction/context.js';
import type { MirrorWork } from './mirror-work.js';
import type { TlbRange } from '../tlb/tlb-range.js';
import { RangeSet } from './range-set.js';
import type { StreamMirror } from './stream-mirror.js';
import type { TableNode, TableWatcher } from './table-node.js';
import { TableTree } from './table-tree.js';

/** The whole space of IOVAs. */
export const SPACE = 2 ** 64;

/** What identifies an address space: the words of its CD. */
export function spaceKey(cached: CachedContext): string {
  return cached.words.join();
}

/** The address space of a CD, and the streams that use it. Streams with equal CDs share one. */
export class AddressSpace implements TableWatcher {
  readonly key: string;
  readonly context: Context;
  readonly users = new Set<StreamMirror>();
  /** Its tables as they were read; `undefined` when all its users look into them on demand. */
  tree: TableTree | undefined;
  /** Where {@link tree} may not say what the tables say. */
  readonly dirty = new RangeSet();
  /** It waits for {@link refresh}. */
  isQueued = false;
  /** A mapping is global: TLBI commands with any ASID may name it. */
  hasGlobals = false;
  /** Bytes of the largest leaf that was mapped in any sink. */
  largestLeaf = 4096;
  /** Bytes of tables that trees which are gone have read. */
  bytesBefore = 0;

  /** The users whose sinks follow {@link tree}, and those whose sinks have what was missed. */
  private followers: readonly StreamMirror[] = [];
  private onDemand: readonly StreamMirror[] = [];
  private readonly changes = new RangeSet();
  private isWatched = false;
  private readonly work: MirrorWork;

  constructor(cached: CachedContext, work: MirrorWork) {
    this.work = work;
    this.key = spaceKey(cached);
    this.context = cached.context;
  }

  get bytesRead(): number {
    return this.bytesBefore + (this.tree?.bytesRead ?? 0);
  }

  /** Has a tree, and watches it, as its users need it. */
  fit(): void {
    const { host, options } = this.work;
    this.followers = [...this.users].filter((user) => user.followsTables);
    this.onDemand = [...this.users].filter((user) => !user.followsTables);
    const wantsTree = this.followers.length > 0;
    const wantsWatch = this.followers.some((user) => user.isTracked);
    if (!wantsTree) this.dropTree();
    else if (this.tree === undefined) {
      this.tree = new TableTree(host.memory, this.context, options.tables);
      this.invalidate(0, SPACE);
    }
    if (wantsWatch === this.isWatched) return;
    this.isWatched = wantsWatch;
    if (wantsWatch) {
      this.tree!.watch(this);
      // What was written before somebody watched is not known.
      this.invalidate(0, SPACE);
    } else {
      this.tree?.unwatch();
    }
  }

  /** The tables of `[from, to)` may have changed. */
  invalidate(from: number, to: number): void {
    if (this.tree !== undefined) {
      this.dirty.add(from, to);
      this.work.queueSpace(this);
    }
    if (this.onDemand.length === 0) return;
    // A block, or a contiguous run, is named by any page of it; it may be several areas by now.
    const { largestLeaf } = this;
    const first = Math.floor(from / largestLeaf) * largestLeaf;
    const end = Math.min(SPACE, Math.ceil(to / largestLeaf) * largestLeaf);
    for (const user of this.onDemand) user.invalidate(first, end);
  }

  /** As {@link invalidate}, of what a TLBI by address names. */
  invalidateNamed(range: TlbRange): void {
    // Tagged addresses name what untagged ones do: bit 55 stands for the top byte.
    const firstHigh = (range.firstHigh << 8) >> 8;
    const lastHigh = (range.lastHigh << 8) >> 8;
    const spread = (range.lastHigh >>> 0) - (range.firstHigh >>> 0);
    const from = (firstHigh >>> 0) * 0x1_0000_0000 + ((range.firstLow & -4096) >>> 0);
    const last = (lastHigh >>> 0) * 0x1_0000_0000 + ((range.lastLow & -4096) >>> 0);
    // As large as a half, or around its end.
    if (spread >= 0x0080_0000 || last < from) this.invalidate(0, SPACE);
    else this.invalidate(from, last + 4096);
  }

  /**
   * Reads tables again where they may have changed, and tells the users what did.
   * @returns how many of `budget` tables were not read.
   */
  refresh(budget: number): number {
    const { tree, dirty, changes } = this;
    if (tree === undefined) return budget;
    let left = budget;
    while (!dirty.isEmpty && left > 0 && !tree.isExceeded) {
      left = tree.refresh(dirty, changes, left);
    }
    this.tellChanges();
    return left;
  }

  /** Descriptors of a table were written: of `node`, from index `first`. */
  refreshTable(node: TableNode, first: number, count: number): void {
    const tree = this.tree!;
    tree.refreshTable(node, first, count, this.changes, this.dirty);
    this.tellChanges();
    if (tree.isExceeded || !this.dirty.isEmpty) this.work.queueSpace(this);
  }

  /** A mapping of it is global. */
  markGlobal(): void {
    if (this.hasGlobals) return;
    this.hasGlobals = true;
    this.work.spaces.addGlobal(this);
  }

  added(node: TableNode): void {
    this.work.pages.add(node, this);
  }

  removed(node: TableNode): void {
    this.work.pages.remove(node);
  }

  private tellChanges(): void {
    const { changes, followers, tree } = this;
    if (changes.isEmpty) return;
    if (tree?.hasGlobals === true) this.markGlobal();
    if (tree?.changed !== undefined && followers.length === 1 && changes.count === 1) {
      if (followers[0]!.takePage(tree.changed, tree.changedIndex)) {
        changes.clear();
        return;
      }
    }
    for (const user of followers) user.invalidateAll(changes);
    changes.clear();
  }

  private dropTree(): void {
    if (this.tree === undefined) return;
    this.tree.unwatch();
    this.isWatched = false;
    this.bytesBefore += this.tree.bytesRead;
    this.tree = undefined;
    this.dirty.clear();
  }
}
