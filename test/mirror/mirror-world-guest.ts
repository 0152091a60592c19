/**
 * The guest of a mirror's world: two address spaces, two CDs, stream table and commands, in literal
 * words at the positions of the manual's tables (IHI 0070, sections 4 and 5; DDI 0487, section D8.3).
 */
import { swap64 } from '../reference/bits.js';
import type { Layout } from './mirror-world-layout.js';
import { WorldMemory } from './mirror-world-memory.js';

export const STREAM_TABLE = 0x1000_0000;
export const CDS = 0x1000_1000;
export const CMDQ = 0x1000_2000;
export const TABLES = 0x1010_0000;
const MEMORY = 0x1000_0000;
const MEMORY_BYTES = 0x100_0000;

/** Bits of a leaf but for type and address. */
export const LEAVES: readonly bigint[] = [
  leaf({ ap: 1n, ng: 1n }),
  leaf({ ap: 3n, ng: 1n }), // read-only
  leaf({ ap: 1n, ng: 0n }), // global
  leaf({ ap: 0n, ng: 1n }), // privileged
  leaf({ ap: 3n, ng: 1n, dbm: 1n }), // clean, with HTTU
  leaf({ ap: 1n, ng: 1n, af: 0n }),
  leaf({ ap: 3n, ng: 0n, dbm: 1n, af: 0n }),
  leaf({ ap: 1n, ng: 1n }),
];
export const READ_ONLY = 1n << 7n;

function leaf(fields: { ap: bigint; ng: bigint; dbm?: bigint; af?: bigint }): bigint {
  const { ap, ng, dbm = 0n, af = 1n } = fields;
  return (ap << 6n) | (3n << 8n) | (af << 10n) | (ng << 11n) | (dbm << 51n);
}

/** What decides over all CDs of a world. */
export interface GuestOptions {
  readonly bigEndian: boolean;
  /** 0: no updates; 1: HA; 2: HA and HD. */
  readonly httu: number;
  /** The SMMU's memory has `holds`. */
  readonly compares: boolean;
  /** Stream 1 has two CDs, by SubstreamID. */
  readonly substreams: boolean;
}

/** What a CD is made of. */
export interface CdChoice {
  readonly space: number;
  readonly asid: number;
  /** Which of two first tables of the lower half. */
  readonly root: number;
  readonly valid: boolean;
}

/** What an STE can be. */
export const STE_MODES = ['cd 0', 'cd 1', 'bypass', 'abort', 'invalid', 'illegal'] as const;
export type SteMode = (typeof STE_MODES)[number];

export class WorldGuest {
  readonly memory: WorldMemory;
  readonly layout: Layout;
  readonly options: GuestOptions;
  /** Writes since it was last emptied. */
  written: { address: number; length: number }[] = [];

  constructor(layout: Layout, options: GuestOptions) {
    this.layout = layout;
    this.options = options;
    this.memory = new WorldMemory(MEMORY, MEMORY_BYTES, options.compares);
    for (let space = 0; space < 2; space++) this.link(space);
  }

  /** A descriptor of a table of pages: table `k` of two for each window. */
  setPage(space: number, window: number, k: number, page: number, value: bigint): void {
    this.put(this.pages(space, window, k) + 8 * page, value);
  }

  /** The descriptor that {@link setPage} wrote. */
  page(space: number, window: number, k: number, page: number): bigint {
    const value = this.memory.read64(BigInt(this.pages(space, window, k) + 8 * page)) ?? 0n;
    return this.options.bigEndian ? swap64(value) : value;
  }

  /** The descriptor of level 2 for a window, in table `k` of two. */
  setWindow(space: number, window: number, k: number, value: bigint): void {
    const { layout } = this;
    const entries = layout.startLevel === 1 ? 512 : 2 ** (layout.inputBits - log2(layout.block));
    const index = (layout.windows[window]!.start / layout.block) % entries;
    this.put(this.middle(space, this.isUpper(window), k) + 8 * index, value);
  }

  /** The descriptor of level 1 above a window, with the 4K granule: in first table `k` of two. */
  setFirst(space: number, window: number, k: number, value: bigint): void {
    const index = Math.floor(this.layout.windows[window]!.start / 2 ** 30) % 512;
    this.put(this.first(space, this.isUpper(window), k) + 8 * index, value);
  }

  /** Address of the table of pages `k` of a window. */
  pages(space: number, window: number, k: number): number {
    return this.table(space, 8 + 2 * window + k);
  }

  /** Address of the table of level 2 `k` of a half. */
  middle(space: number, upper: boolean, k: number): number {
    return this.table(space, 4 + (upper ? 2 : 0) + k);
  }

  /** Address of the table that a CD points to. */
  first(space: number, upper: boolean, k: number): number {
    if (this.layout.startLevel === 2) return this.middle(space, upper, k);
    return this.table(space, (upper ? 2 : 0) + k);
  }

  isUpper(window: number): boolean {
    return this.layout.windows[window]!.upper;
  }

  setCd(slot: number, { space, asid, root, valid }: CdChoice): void {
    const { layout, options } = this;
    const size = BigInt(64 - layout.inputBits);
    const tg0 = { 12: 0n, 14: 2n, 16: 1n }[layout.granuleLog2];
    const tg1 = { 12: 2n, 14: 1n, 16: 3n }[layout.granuleLog2];
    const word0 =
      size |
      (tg0 << 6n) |
      (BigInt(options.bigEndian) << 15n) | // ENDI
      (size << 16n) |
      (tg1 << 22n) |
      (BigInt(!layout.hasUpper) << 30n) | // EPD1
      (BigInt(valid) << 31n) |
      (5n << 32n) | // IPS: 48 bits, or the output size
      (1n << 41n) | // AA64
      (BigInt(options.httu >= 2) << 42n) | // HD
      (BigInt(options.httu >= 1) << 43n) | // HA
      (7n << 45n) | // R, A, ASET
      (BigInt(asid) << 48n);
    const words = [
      word0,
      BigInt(this.first(space, false, root)),
      BigInt(this.first(space, true, 0)),
      0xffn,
    ];
    words.forEach((word, i) => this.memory.write64(BigInt(CDS + 64 * slot + 8 * i), word));
  }

  setSte(streamId: number, mode: SteMode): void {
    const { substreams } = this.options;
    const pointer = BigInt(CDS + (mode === 'cd 1' && !substreams ? 64 : 0));
    const config = { 'cd 0': 5n, 'cd 1': 5n, bypass: 4n, abort: 0n, invalid: 5n, illegal: 6n }[
      mode
    ];
    const word0 = BigInt(mode !== 'invalid') | (config << 1n) | pointer;
    const cdMax = substreams ? 1n << 59n : 0n;
    // S1DSS: accesses without SubstreamID use CD 0, or bypass stage 1.
    const word1 = mode === 'cd 1' && substreams ? 1n : 2n;
    const at = BigInt(STREAM_TABLE + 64 * streamId);
    this.memory.write64(at, word0 | cdMax);
    this.memory.write64(at + 8n, word1);
  }

  /** The pages that tables and configuration are on, which can vanish. */
  places(): number[] {
    const found = [STREAM_TABLE, CDS];
    for (const window of this.layout.windows.keys()) found.push(this.pages(0, window, 0));
    found.push(this.middle(0, false, 0), this.first(0, false, 0));
    return found;
  }

  private link(space: number): void {
    const { layout } = this;
    for (let k = 0; k < 2; k++) {
      for (const window of layout.windows.keys()) {
        this.setWindow(space, window, k, BigInt(this.pages(space, window, k)) | 3n);
        if (layout.startLevel === 2) continue;
        this.setFirst(space, window, k, BigInt(this.middle(space, this.isUpper(window), k)) | 3n);
      }
    }
    for (let page = 0; page < 4; page++) {
      const output = 0x4000_0000 + (space === 0 ? page : page + 2) * layout.granule;
      this.setPage(space, 0, 0, page, BigInt(output) | LEAVES[0]! | 3n);
      if (layout.hasUpper) this.setPage(space, 2, 0, page, BigInt(output) | LEAVES[1]! | 3n);
    }
    this.setPage(space, 0, 1, 1, 0x8000_0003n | LEAVES[0]!);
    this.written = [];
  }

  private table(space: number, index: number): number {
    return TABLES + (16 * space + index) * this.layout.granule;
  }

  private put(address: number, value: bigint): void {
    const { bigEndian } = this.options;
    this.memory.write64(BigInt(address), bigEndian ? swap64(value) : value);
    this.written.push({ address, length: 8 });
  }
}

function log2(value: number): number {
  return Math.round(Math.log2(value));
}
