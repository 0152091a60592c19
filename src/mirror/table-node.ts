import { levelShift } from '../arch/granule.js';
import type { AddressHalf } from '../transaction/context.js';
import { swapBytes } from '../transaction/descriptor.js';

/** nG, in bits 31:0 of a leaf. */
const NG = 1 << 11;

/** Whether bits 31:0 of a leaf descriptor are those of a valid, global one. */
export function isGlobal(low: number): boolean {
  return (low & (NG | 1)) === 1;
}

/** One table where it stands in an address space, as it was when it was last read. */
export class TableNode {
  readonly half: AddressHalf;
  /** -1 to 3. */
  readonly level: number;
  /** log2 of {@link bytes}. */
  readonly shift: number;
  /** Physical address, bits 63:32. */
  readonly high: number;
  /** Physical address, bits 31:0, signed. */
  readonly low: number;
  /** High words of the table descriptors above, ORed; 0 when HAD says to ignore them. */
  readonly tableBits: number;
  /** The IOVA, in bytes, that descriptor 0 describes. */
  readonly iova: number;
  /** Bytes that a descriptor describes. */
  readonly bytes: number;
  /** 1 / {@link bytes}, which is exact: a division would take five times as long. */
  readonly inverse: number;
  /** The descriptors as in memory; zeros until they are read, and where no memory is. */
  readonly words: Uint32Array;
  /** The tables that descriptors point to, by their index; `undefined` while there is none. */
  children: (TableNode | undefined)[] | undefined;
  /** Nothing was read yet. */
  isFresh = true;

  constructor(
    half: AddressHalf,
    level: number,
    high: number,
    low: number,
    entries: number,
    iova: number,
    tableBits: number,
  ) {
    this.half = half;
    this.level = level;
    this.shift = levelShift(half.granuleLog2, level);
    this.high = high;
    this.low = low;
    this.tableBits = tableBits;
    this.bytes = 2 ** this.shift;
    this.inverse = 2 ** -this.shift;
    this.iova = iova;
    this.words = new Uint32Array(2 * entries);
  }

  /** Number of descriptors. */
  get entries(): number {
    return this.words.length >>> 1;
  }

  /** Whether a descriptor of a table of level 3 may be one of a global leaf. */
  hasGlobals(bigEndian: boolean): boolean {
    const { words } = this;
    for (let i = 0; i < words.length; i += 2) {
      if (isGlobal(bigEndian ? swapBytes(words[i + 1]!) : words[i]!)) return true;
    }
    return false;
  }

  /** Physical address, in bytes. */
  get address(): number {
    return this.high * 0x1_0000_0000 + (this.low >>> 0);
  }

  /** The IOVA behind the last descriptor. */
  get end(): number {
    return this.iova + this.entries * this.bytes;
  }
}

/** Who wants to know which tables there are: before one is read for the first time, and when it goes. */
export interface TableWatcher {
  added(node: TableNode): void;
  removed(node: TableNode): void;
}

/** The table at an address that descriptor `i` of `node`, with `high` as its high word, points to. */
export function childOf(
  { half, level, iova, bytes, tableBits }: TableNode,
  i: number,
  high: number,
  addressHigh: number,
  addressLow: number,
): TableNode {
  return new TableNode(
    half,
    level + 1,
    addressHigh,
    addressLow,
    1 << half.bitsPerLevel,
    iova + i * bytes,
    half.flat ? 0 : tableBits | high,
  );
}

/** Calls `visit` for a table and all below it. */
export function forEach(node: TableNode, visit: (node: TableNode) => void): void {
  visit(node);
  for (const child of node.children ?? []) if (child !== undefined) forEach(child, visit);
}
