/**
 * A minimal machine made of literal words: one stream, one CD, tables that map the first GiB. No layout
 * of the library is in it: words are 64-bit, positions are those of the manual's tables.
 */
import { SparseMemory } from '../../src/memory/sparse-memory.js';
import { type Features, featuresOf, implementedFeatures } from '../../src/registers/features.js';
import { Translation } from '../../src/transaction/translation.js';
import { Translator } from '../../src/transaction/translator.js';

/** Bits `[msb:lsb]` of 64-bit word number `word`, as the manual's tables name them, and their value. */
export type Edit = readonly [word: number, msb: number, lsb: number, value: number | bigint];

export const STREAM_TABLE = 0x43c0_0000;
export const CD_TABLE = 0x43e0_0000;
/** StreamID of the stream that is configured. */
export const STREAM = 0x10;

/**
 * V, Config=101, S1ContextPtr=0x43e00000, S1DSS=2, S1CIR=S1COR=1, S1CSH=3: what Linux writes for a
 * stage-1 stream.
 */
export const STE: readonly bigint[] = [0x0000_0000_43e0_000bn, 0xd6n, 0n, 0n, 0n, 0n, 0n, 0n];

/** V, Config=100, SHCFG=1. */
export const BYPASS_STE: readonly bigint[] = [0x9n, 0x1000_0000_0000n, 0n, 0n, 0n, 0n, 0n, 0n];

/**
 * ASID=2, T0SZ=16, TG0=4K, EPD1, IPS=44 bits, AA64, A, R, ASET, TTB0=0x43e20000 and Linux's MAIR.
 */
export const CD: readonly bigint[] = [
  0x0002_e204_c000_3510n,
  0x43e2_0000n,
  0n,
  0xffff_ffff_f404_ff44n,
  0n,
  0n,
  0n,
  0n,
];

/** ID registers of the machine that the captures in `fixtures` were recorded on, and their offsets. */
export const ID_REGISTERS = {
  idr0: 0x0d44_101b,
  idr1: 0x0273_0010,
  idr3: 0x0000_1414,
  idr5: 0x0000_0074,
  aidr: 0x0000_0001,
};
const OFFSETS = { idr0: 0x0, idr1: 0x4, idr3: 0xc, idr5: 0x14, aidr: 0x1c };

export type IdRegisters = Partial<typeof ID_REGISTERS>;

/** `words` with some bits replaced. */
export function edited(words: readonly bigint[], ...edits: readonly Edit[]): bigint[] {
  const result = [...words];
  for (const [word, msb, lsb, value] of edits) {
    const ones = (1n << BigInt(msb - lsb + 1)) - 1n;
    if (BigInt(value) > ones) throw new Error(`${value} does not fit [${msb}:${lsb}]`);
    result[word] = (result[word]! & ~(ones << BigInt(lsb))) | (BigInt(value) << BigInt(lsb));
  }
  return result;
}

/** Little-endian 32-bit words of 64-bit ones. */
export function words32(words: readonly bigint[]): Uint32Array {
  return new Uint32Array(
    words.flatMap((word) => [Number(word & 0xffff_ffffn), Number(word >> 32n)]),
  );
}

/** A register frame with ID registers: those of the captures, but for `ids`. */
export function frameOf(ids: IdRegisters = {}): Uint32Array {
  const frame = new Uint32Array(0x2_0000 / 4);
  const all = { ...ID_REGISTERS, ...ids };
  for (const name of ['idr0', 'idr1', 'idr3', 'idr5', 'aidr'] as const) {
    frame[OFFSETS[name] / 4] = all[name];
  }
  return frame;
}

/** What ID registers advertise; the library has less: see {@link implementedFeatures}. */
export function featuresFrom(ids: IdRegisters = {}, more: Partial<Features> = {}): Features {
  return { ...featuresOf(frameOf(ids)), ...more };
}

export class Machine {
  readonly memory = new SparseMemory();
  readonly frame: Uint32Array;

  /** SMMUEN=1, a linear stream table of 2^8 STEs at 0x43c00000, one STE, one CD and their tables. */
  constructor(ids: IdRegisters = {}) {
    this.frame = frameOf(ids);
    this.register(0x20, 0xd);
    this.register(0x2c, 0x2);
    this.register(0x80, STREAM_TABLE);
    this.register(0x88, 8);
    for (let i = 0; i < 4; i++) this.memory.addPage(STREAM_TABLE + 0x1000 * i);
    this.put(STREAM_TABLE + 64 * STREAM, ...STE);
    this.put(CD_TABLE, ...CD);
    // Level 0 and 1 tables, and one read-write block of 1 GiB at 0x80000000.
    this.put(0x43e2_0000, 0x43e3_0003n);
    this.put(0x43e3_0000, 0x8000_0f45n);
  }

  /** Writes a 32-bit register by its offset. */
  register(offset: number, value: number): this {
    this.frame[offset / 4] = value;
    return this;
  }

  /** Writes 64-bit words; pages are made where there are none. */
  put(address: number, ...words: readonly bigint[]): this {
    const from = words32(words);
    for (let page = address - (address % 4096); page < address + 8 * words.length; page += 4096) {
      if (!this.memory.load(page, new Uint32Array(1), 0, 1)) this.memory.addPage(page);
    }
    this.memory.store(address, from, 0, from.length);
    return this;
  }

  /** Replaces the STE of {@link STREAM}. */
  ste(...edits: readonly Edit[]): this {
    return this.put(STREAM_TABLE + 64 * STREAM, ...edited(STE, ...edits));
  }

  /** Replaces CD 0. */
  cd(...edits: readonly Edit[]): this {
    return this.put(CD_TABLE, ...edited(CD, ...edits));
  }

  /** A read of unprivileged data, unless `access` says otherwise; -1 is no SubstreamID. */
  translate(streamId = STREAM, substreamId = -1, address = 0x1234n, access = 0): Translation {
    const translator = new Translator(this.memory, implementedFeatures(featuresOf(this.frame)));
    translator.configure(this.frame);
    const result = new Translation();
    const high = Number(address >> 32n);
    translator.translate(
      streamId,
      substreamId,
      high,
      Number(address & 0xffff_ffffn),
      access,
      result,
    );
    return result;
  }
}

/** The output address, or the number of the event; `silent` when there is neither. */
export function answer(result: Translation): string {
  if (result.outcome === 0) return `output 0x${result.outputAddress.toString(16)}`;
  return result.event === 0 ? 'silent' : `event 0x${result.event.toString(16)}`;
}

// ID registers of the captures, and with other models of stalls.
export const CAPTURE: IdRegisters = {};
export const STALLS: IdRegisters = { idr0: 0x0c44_101b };
export const STALLS_FORCED: IdRegisters = { idr0: 0x0e44_101b };
