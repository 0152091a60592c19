import type { GuestMemory } from '../memory/guest-memory.js';
import type { TableNode } from './table-node.js';

/** By level, plus 1. */
const LEVELS = 5;

/** Reads the descriptors of tables from memory; those that are not backed by any are zeros. */
export class TableReader {
  /** Bytes of tables read. */
  bytesRead = 0;
  /** Of the descriptor that {@link loadOne} has read: bits 31:0, bits 63:32. */
  readonly one = new Uint32Array(2);

  private readonly memory: GuestMemory;
  private readonly scratch: Uint32Array[] = [];

  constructor(memory: GuestMemory) {
    this.memory = memory;
    for (let level = 0; level < LEVELS; level++) this.scratch.push(this.one);
  }

  /** Reads descriptor `i` of a table into {@link one}. */
  loadOne(node: TableNode, i: number): void {
    const { one } = this;
    this.bytesRead += 8;
    // A table is aligned to its size: the sum stays within the low word.
    if (this.memory.load64(node.high, node.low | (8 * i), one)) return;
    one[0] = 0;
    one[1] = 0;
  }

  /**
   * Reads descriptors `first` to `end` of a table.
   * @returns them where they stand in the table, until one of the same level is read.
   */
  load(node: TableNode, first: number, end: number): Uint32Array {
    const level = node.level + 1;
    if (this.scratch[level]!.length < node.words.length) {
      this.scratch[level] = new Uint32Array(node.words.length);
    }
    const words = this.scratch[level]!;
    this.loadInto(words, node, first, end);
    return words;
  }

  /** Reads a whole table into its own words. */
  loadFresh(node: TableNode): void {
    this.loadInto(node.words, node, 0, node.entries);
  }

  /** Whether descriptors `first` to `end` are in memory as they were read before. */
  isUnchanged(node: TableNode, first: number, end: number): boolean {
    const { memory } = this;
    const { words } = node;
    const count = 2 * (end - first);
    if (memory.holds !== undefined) {
      if (!memory.holds(node.address + 8 * first, words, 2 * first, count)) return false;
      this.bytesRead += 4 * count;
      return true;
    }
    const read = this.load(node, first, end);
    for (let i = 2 * first; i < 2 * end; i++) if (read[i] !== words[i]) return false;
    return true;
  }

  private loadInto(words: Uint32Array, node: TableNode, first: number, end: number): void {
    const { memory } = this;
    const { address } = node;
    this.bytesRead += 8 * (end - first);
    if (memory.load(address + 8 * first, words, 2 * first, 2 * (end - first))) return;
    for (let i = first; i < end; i++) {
      if (memory.load(address + 8 * i, words, 2 * i, 2)) continue;
      words[2 * i] = 0;
      words[2 * i + 1] = 0;
    }
  }
}
