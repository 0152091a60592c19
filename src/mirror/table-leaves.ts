import { LeafChunk, type LeafVisitor } from '../ioas/table-scan.js';
import { AddressHalf, type Context } from '../transaction/context.js';
import { swapBytes } from '../transaction/descriptor.js';
import type { TableNode } from './table-node.js';

const From = 0;
const To = 1;

/** Hands the leaves of tables, as they were last read, to whoever collects them. */
export class TableLeaves {
  private readonly context: Context;
  private readonly chunk = new LeafChunk(new AddressHalf(false), new Uint32Array(0));
  /** What is visited; in a typed array, since doubles as parameters would be boxed. */
  private readonly range = new Float64Array(2);
  /** Descriptors of a big-endian table, turned round. */
  private swapped = new Uint32Array(0);

  constructor(context: Context) {
    this.context = context;
  }

  /**
   * Hands the leaves of `[from, to)` below `roots` to `visitor`, ascending; whole blocks where a bound
   * lies in one.
   * @returns `false` when the visitor has ended it.
   */
  collect(roots: readonly TableNode[], from: number, to: number, visitor: LeafVisitor): boolean {
    this.range[From] = from;
    this.range[To] = to;
    for (const root of roots) {
      if (root.iova >= to || root.end <= from) continue;
      if (!this.gather(root, visitor)) return false;
    }
    return true;
  }

  private gather(node: TableNode, visitor: LeafVisitor): boolean {
    const { range } = this;
    const { iova, inverse, children } = node;
    const from = range[From]!;
    let first = from <= iova ? 0 : Math.floor((from - iova) * inverse);
    const end = Math.min(node.entries, Math.ceil((range[To]! - iova) * inverse));
    if (children !== undefined) {
      for (let i = first; i < end; i++) {
        const child = children[i];
        if (child === undefined) continue;
        if (i > first && !this.hand(node, first, i, visitor)) return false;
        first = i + 1;
        if (!this.gather(child, visitor)) return false;
      }
    }
    return first >= end || this.hand(node, first, end, visitor);
  }

  /** Hands descriptors `first` to `end` of a table to the visitor. */
  private hand(node: TableNode, first: number, end: number, visitor: LeafVisitor): boolean {
    const { chunk } = this;
    const { level, shift, bytes } = node;
    chunk.half = node.half;
    chunk.words = this.context.bigEndian ? this.swap(node, first, end) : node.words;
    chunk.first = first;
    chunk.end = end;
    chunk.level = level;
    chunk.shift = shift;
    chunk.bytes = bytes;
    chunk.tableBits = node.tableBits;
    chunk.iova[0] = node.iova + first * bytes;
    return visitor.leaves(chunk);
  }

  private swap({ words }: TableNode, first: number, end: number): Uint32Array {
    if (this.swapped.length < words.length) this.swapped = new Uint32Array(words.length);
    const { swapped } = this;
    for (let i = 2 * first; i < 2 * end; i += 2) {
      swapped[i] = swapBytes(words[i + 1]!);
      swapped[i + 1] = swapBytes(words[i]!);
    }
    return swapped;
  }
}
