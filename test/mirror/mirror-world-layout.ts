/** Where the guest of a mirror's world has its pages: few of them, at the edges of tables and halves. */

export type GranuleLog2 = 12 | 14 | 16;

export interface LayoutOptions {
  readonly granuleLog2: GranuleLog2;
  /** Where the window of the upper half is; `none`: EPD1. */
  readonly upper: 'top' | 'bottom' | 'none';
  /** Bytes of the largest page of a sink. */
  readonly unit: number;
}

/** What one descriptor of level 2 describes: a table of pages, or a block. */
export interface Window {
  readonly start: number;
  readonly upper: boolean;
  /** Of the pages that the guest uses, by their index in the table. */
  readonly pages: readonly number[];
}

/** A range that is mapped as a whole, or not at all. */
export interface Cell {
  readonly start: number;
  readonly end: number;
}

const SPACE = 2 ** 64;
const LOWER = 0x4000_0000;
/** Bits of input addresses: the tables begin at level 1 with 4K, else at level 2. */
const INPUT_BITS = { 12: 39, 14: 34, 16: 36 } as const;

export class Layout {
  readonly granuleLog2: GranuleLog2;
  readonly granule: number;
  /** Bytes of a block of level 2. */
  readonly block: number;
  readonly inputBits: number;
  /** Level of the first table: 1 or 2. */
  readonly startLevel: number;
  readonly windows: readonly Window[];
  /** Ascending; nothing is ever mapped outside. */
  readonly cells: readonly Cell[];
  /** Guest RAM, for streams that bypass the SMMU; parts of windows among it. */
  readonly ram: readonly { base: number; byteLength: number }[];
  /** IOVAs, and memory, that a sink may be unable to map. */
  readonly reserved: readonly { base: number; byteLength: number }[];
  readonly memory: readonly { base: number; byteLength: number }[];
  readonly hasUpper: boolean;

  constructor(options: LayoutOptions) {
    const { granuleLog2, upper, unit } = options;
    const granule = 2 ** granuleLog2;
    this.granuleLog2 = granuleLog2;
    this.granule = granule;
    this.block = granule * 2 ** (granuleLog2 - 3);
    this.inputBits = INPUT_BITS[granuleLog2];
    this.startLevel = granuleLog2 === 12 ? 1 : 2;
    this.hasUpper = upper !== 'none';
    const { block } = this;
    const per = Math.max(1, unit / granule);
    const firsts = Math.max(8, 2 * per);
    const lasts = Math.max(2, per);
    const entries = block / granule;
    const pages = [
      ...Array.from({ length: firsts }, (_, i) => i),
      ...Array.from({ length: lasts }, (_, i) => entries - lasts + i),
    ];
    const windows = [LOWER, LOWER + block].map((start) => ({ start, upper: false, pages }));
    const top = upper === 'top' ? SPACE - block : SPACE - 2 ** this.inputBits;
    if (this.hasUpper) windows.push({ start: top, upper: true, pages });
    this.windows = windows;

    // Bounds of RAM: before the first window, in both, and around 2^32.
    const unitPages = Math.max(1, per);
    const around = 2 ** 32;
    this.ram = [
      range(LOWER - Math.ceil(unitPages / 2) * granule, LOWER + 4 * granule),
      range(LOWER + 5 * granule, LOWER + block + 3 * granule),
      range(around - 2 * unitPages * granule, around + 2 * unitPages * granule),
    ];
    this.reserved = [
      range(LOWER + 2 * granule, LOWER + 3 * granule),
      range(LOWER + block, LOWER + block + granule),
      ...(this.hasUpper ? [range(top + block - granule, top + block)] : []),
    ];
    this.memory = [
      range(LOWER - 16 * granule, LOWER + 3 * granule),
      range(LOWER + 3 * granule, LOWER + 2 * block),
      range(2 * LOWER + 2 * granule, 2 * LOWER + 5 * granule),
      range(2 * LOWER + block, 2 * LOWER + 2 * block),
      range(around - 2 * unitPages * granule, around),
    ];
    const cells: Cell[] = [];
    const single = (start: number, count: number): void => {
      for (let i = 0; i < count; i++) {
        cells.push({ start: start + i * granule, end: start + (i + 1) * granule });
      }
    };
    single(LOWER - unitPages * granule, unitPages);
    for (const { start } of windows.slice(0, 2)) this.window(start, firsts, lasts, single, cells);
    // What else a block of level 1 describes.
    if (granuleLog2 === 12) cells.push({ start: LOWER + 2 * block, end: 2 * LOWER });
    single(around - 2 * unitPages * granule, 4 * unitPages);
    if (this.hasUpper) this.window(top, firsts, lasts, single, cells);
    this.cells = cells;
  }

  /** Index of the first cell that ends beyond `iova`. */
  cellAt(iova: number): number {
    const { cells } = this;
    let low = 0;
    let high = cells.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (cells[middle]!.end > iova) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The cells in runs of `unit` bytes, as the page of a sink has them together; large ones alone. */
  units(unit: number): readonly (readonly number[])[] {
    const found: number[][] = [];
    this.cells.forEach(({ start, end }, i) => {
      const before = found.at(-1);
      const first = before === undefined ? undefined : this.cells[before[0]!]!;
      const isInside =
        first !== undefined &&
        Math.floor(first.start / unit) * unit + unit >= end &&
        end - start < unit;
      if (isInside && Math.floor(start / unit) === Math.floor(first.start / unit)) before!.push(i);
      else found.push([i]);
    });
    return found;
  }

  private window(
    start: number,
    firsts: number,
    lasts: number,
    single: (start: number, count: number) => void,
    cells: Cell[],
  ): void {
    const { granule, block } = this;
    single(start, firsts);
    cells.push({ start: start + firsts * granule, end: start + block - lasts * granule });
    single(start + block - lasts * granule, lasts);
  }
}

function range(start: number, end: number): { base: number; byteLength: number } {
  return { base: start, byteLength: end - start };
}
