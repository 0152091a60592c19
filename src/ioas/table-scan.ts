import { levelShift } from '../arch/granule.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import { AddressHalf, type Context } from '../transaction/context.js';
import { addressHighOf, swapBytes } from '../transaction/descriptor.js';

/** Descriptors read at a time: 4 KiB, so that a table is never split over a page of a capture. */
const CHUNK = 512;
const LEVELS = 5;

/**
 * Neighbouring descriptors of one table, none of them a table descriptor; invalid and reserved ones
 * are among them. One object is filled again and again.
 */
export class LeafChunk {
  /** The half of the address space that the table belongs to. */
  half: AddressHalf;
  /** Descriptors as little-endian words: bits 31:0 of descriptor `i` at `2*i`, bits 63:32 after it. */
  words: Uint32Array;
  /** First descriptor of the chunk. */
  first = 0;
  /** Descriptor behind the last one. */
  end = 0;
  /** Level of the table, -1 to 3. */
  level = 0;
  /** log2 of {@link bytes}. */
  shift = 0;
  /** Bytes that one descriptor describes. */
  bytes = 0;
  /** High words of the table descriptors above, ORed; 0 when HAD says to ignore them. */
  tableBits = 0;
  /**
   * The IOVA, in bytes, that the first descriptor describes. In a typed array, since a loop that starts
   * from a double in a plain field or a parameter may box every value that it makes of it.
   */
  readonly iova = new Float64Array(1);

  constructor(half: AddressHalf, words: Uint32Array) {
    this.half = half;
    this.words = words;
  }
}

/** Receives what a {@link TableScan} finds. */
export interface LeafVisitor {
  /** Takes a chunk, which is only lent; returns `false` to end the scan. */
  leaves(chunk: LeafChunk): boolean;
}

/** Why a scan ended. */
export type ScanEnd = 'complete' | 'tables' | 'stopped';

/**
 * Visits every descriptor below a CD, in ascending order of IOVA, however the tables are built: a
 * table that points to itself is visited again each time, until the limit ends the scan.
 */
export class TableScan {
  /** Tables visited by the last scan. */
  tables = 0;
  /** Bytes of tables that the last scan read. */
  bytesRead = 0;
  /** Descriptors of the last scan that were not backed by memory. */
  aborted = 0;
  /** Physical address of the first of {@link aborted}, in bytes; -1 when there was none. */
  firstAborted = -1;
  /** Tables of the last scan that were left out because they lie beyond the effective IPS. */
  outOfRange = 0;

  private readonly memory: GuestMemory;
  private readonly scratch: readonly Uint32Array[];
  private readonly chunk: LeafChunk;
  private tableLimit = 0;
  /** The bounds of the scan; in a typed array, since doubles as parameters would be boxed. */
  private readonly range = new Float64Array(2);
  private end: ScanEnd = 'complete';

  constructor(memory: GuestMemory) {
    this.memory = memory;
    this.scratch = Array.from({ length: LEVELS }, () => new Uint32Array(2 * CHUNK));
    this.chunk = new LeafChunk(new AddressHalf(false), this.scratch[0]!);
  }

  /**
   * Visits both halves of `context`, the lower first.
   * @param tableLimit how many tables may be visited, the two first ones included.
   * @param from first IOVA, in bytes, that matters.
   * @param to the IOVA behind the last that matters; a block that a bound lies in is visited.
   * @returns `complete`, `tables` when the limit ended the scan, `stopped` when the visitor did.
   */
  scan(
    context: Context,
    tableLimit: number,
    visitor: LeafVisitor,
    from = 0,
    to = 2 ** 64,
  ): ScanEnd {
    if (!Number.isSafeInteger(tableLimit) || tableLimit < 1) {
      throw new RangeError(`tableLimit is ${tableLimit}: it must be a whole number, 1 or more`);
    }
    this.tables = 0;
    this.bytesRead = 0;
    this.aborted = 0;
    this.firstAborted = -1;
    this.outOfRange = 0;
    this.tableLimit = tableLimit;
    this.end = 'complete';
    this.range[0] = from;
    this.range[1] = to;
    for (const half of [context.lower, context.upper]) {
      if (!half.enabled || half.base >= to || half.base + 2 ** half.inputBits <= from) continue;
      const entries = half.startMask + 1;
      if (!this.table(context, half, half.startLevel, half.table, entries, half.base, 0, visitor)) {
        return this.end;
      }
    }
    return 'complete';
  }

  private table(
    context: Context,
    half: AddressHalf,
    level: number,
    address: number,
    entries: number,
    iova: number,
    tableBits: number,
    visitor: LeafVisitor,
  ): boolean {
    if (this.tables === this.tableLimit) return this.stop('tables');
    this.tables++;
    const words = this.scratch[level + 1]!;
    const shift = levelShift(half.granuleLog2, level);
    const bytes = 2 ** shift;
    const from = this.range[0]!;
    const to = this.range[1]!;
    const start = from <= iova ? 0 : Math.floor((from - iova) / bytes);
    const last = to - iova >= entries * bytes ? entries : Math.ceil((to - iova) / bytes);
    for (let chunk = start; chunk < last; chunk += CHUNK) {
      const count = Math.min(CHUNK, last - chunk);
      this.read(address + 8 * chunk, words, count, context.bigEndian);
      const base = iova + chunk * bytes;
      let first = 0;
      for (let i = 0; level < 3 && i < count; i++) {
        if ((words[2 * i]! & 3) !== 3) continue;
        if (i > first && !this.leaves(half, level, first, i, base, tableBits, visitor))
          return false;
        first = i + 1;
        const low = words[2 * i]!;
        const high = words[2 * i + 1]!;
        const next =
          addressHighOf(half, high, low) * 0x1_0000_0000 + ((low & (-1 << half.granuleLog2)) >>> 0);
        if (next >= context.outputLimit) {
          this.outOfRange++;
          continue;
        }
        const bits = half.flat ? 0 : tableBits | high;
        const below = 1 << half.bitsPerLevel;
        if (!this.table(context, half, level + 1, next, below, base + i * bytes, bits, visitor)) {
          return false;
        }
      }
      if (first < count && !this.leaves(half, level, first, count, base, tableBits, visitor)) {
        return false;
      }
    }
    return true;
  }

  /** Hands descriptors `first` to `end` of the table at `level` to the visitor. */
  private leaves(
    half: AddressHalf,
    level: number,
    first: number,
    end: number,
    base: number,
    tableBits: number,
    visitor: LeafVisitor,
  ): boolean {
    const { chunk } = this;
    chunk.half = half;
    chunk.words = this.scratch[level + 1]!;
    chunk.first = first;
    chunk.end = end;
    chunk.level = level;
    chunk.shift = levelShift(half.granuleLog2, level);
    chunk.bytes = 2 ** chunk.shift;
    chunk.tableBits = tableBits;
    chunk.iova[0] = base + first * chunk.bytes;
    return visitor.leaves(chunk) || this.stop('stopped');
  }

  /** Reads descriptors as little-endian words; those outside memory become invalid ones. */
  private read(address: number, words: Uint32Array, count: number, bigEndian: boolean): void {
    this.bytesRead += 8 * count;
    if (!this.memory.load(address, words, 0, 2 * count)) {
      for (let i = 0; i < count; i++) {
        if (this.memory.load(address + 8 * i, words, 2 * i, 2)) continue;
        words[2 * i] = 0;
        words[2 * i + 1] = 0;
        if (this.aborted++ === 0) this.firstAborted = address + 8 * i;
      }
    }
    if (!bigEndian) return;
    for (let i = 0; i < 2 * count; i += 2) {
      const low = words[i]!;
      words[i] = swapBytes(words[i + 1]!);
      words[i + 1] = swapBytes(low);
    }
  }

  private stop(end: ScanEnd): false {
    this.end = end;
    return false;
  }
}
