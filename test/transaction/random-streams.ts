import { randomContext, type RandomContext } from './random-contexts.js';
import type { RandomFeatures } from './random-features.js';
import type { Image } from './random-memory.js';
import { at, type Random } from './random.js';

/** A StreamID of the machine and the SubstreamIDs that are worth trying on it. */
export interface RandomStream {
  streamId: number;
  /** `undefined`: an access without SubstreamID. */
  substreams: { substreamId: number | undefined; context: RandomContext }[];
}

export interface RandomStreamTable {
  strtabBase: bigint;
  strtabBaseCfg: number;
  streams: RandomStream[];
}

/** What the parts of one machine share while it is made. */
interface Making {
  random: Random;
  features: RandomFeatures;
  image: Image;
  contexts: RandomContext[];
  usedTables: bigint[];
}

function align(value: bigint, log2: number): bigint {
  return (value >> BigInt(log2)) << BigInt(log2);
}

/** An address of a structure; seldom one beyond the output address size. */
function place(making: Making, alignLog2: number): bigint {
  const { random, features } = making;
  const address = random.address(features.oas, alignLog2);
  if (features.oas < 52 && random.chance(0.02)) {
    return address | at(Math.max(random.between(features.oas, 55), alignLog2), 1);
  }
  return address;
}

/** Makes a stream table with some streams (IHI 0070, section 3.3) and all that hangs on it. */
export function randomStreamTable(
  random: Random,
  features: RandomFeatures,
  image: Image,
): RandomStreamTable {
  const making: Making = { random, features, image, contexts: [], usedTables: [] };
  const log2Size = random.chance(0.05)
    ? random.below(64)
    : Math.min(features.sidSize + random.weighted([3, 1, 1]), random.between(2, 34));
  const fmt = random.chance(0.05) ? random.between(0, 3) : random.weighted([3, 5]);
  const twoLevel = features.twoLevelStreams && fmt === 1;
  const splitField = random.chance(0.8) ? random.pick([6, 8, 10]) : random.below(32);
  const split = [6, 8, 10].includes(splitField) ? splitField : 6;
  const alignLog2 = twoLevel ? Math.max(6, log2Size - split + 3) : log2Size + 6;
  const base = place(making, alignLog2) & ((1n << 56n) - 1n);
  // The SMMU ignores the bits below the alignment.
  const ignored = random.chance(0.3) ? random.bits(Math.min(alignLog2, 56)) & ~0x3fn : 0n;

  const idBits = Math.min(log2Size, features.sidSize, 32);
  const ids = new Set<number>();
  for (let i = 0; i < 4; i++) ids.add(Number(random.edged(idBits)));
  const streams: RandomStream[] = [];
  for (const streamId of ids) {
    const address = twoLevel
      ? addStreamDescriptor(making, base, split, streamId)
      : base + 64n * BigInt(streamId);
    if (address === undefined) streams.push({ streamId, substreams: [anySubstream(making)] });
    else streams.push(addStream(making, address, streamId));
  }
  return {
    strtabBase: base | ignored | at(62, random.bit()),
    strtabBaseCfg: Number(at(0, log2Size) | at(6, splitField) | at(16, fmt)),
    streams,
  };
}

/** Writes the L1STD of a StreamID; returns the address of its STE, or nothing when there is none. */
function addStreamDescriptor(
  making: Making,
  base: bigint,
  split: number,
  streamId: number,
): bigint | undefined {
  const { random, image } = making;
  const index2 = BigInt(streamId % 2 ** split);
  const address = base + 8n * (BigInt(streamId) >> BigInt(split));
  if (random.chance(0.03)) return undefined; // no memory, or zeros
  const needed = index2.toString(2).length * (index2 === 0n ? 0 : 1);
  let span = 1 + random.between(needed, split);
  if (random.chance(0.05)) span = random.pick([0, random.between(12, 31), random.between(1, 11)]);
  const alignLog2 = 6 + Math.max(0, Math.min(span, 11) - 1);
  const l2Ptr = place(making, alignLog2);
  const ignored = random.chance(0.3) ? random.bits(alignLog2) & ~0x3fn : 0n;
  const reserved = random.chance(0.2) ? at(5, 1) | at(56, random.bits(8)) : 0n;
  const before = image.read(address);
  if (before !== 0n) {
    // Another stream has the descriptor: the STE goes where that one says.
    const log2 = 6 + Math.max(0, Number(before & 31n) - 1);
    return align(before & ((1n << 56n) - 64n), log2) + 64n * index2;
  }
  image.write(address, at(0, span) | l2Ptr | ignored | reserved);
  return l2Ptr + 64n * index2;
}

function anySubstream(making: Making): RandomStream['substreams'][number] {
  return { substreamId: undefined, context: contextFor(making) };
}

/** A new CD, or one that another stream or substream has as well. */
function contextFor(making: Making): RandomContext {
  const { random, features, contexts, usedTables } = making;
  if (contexts.length > 0 && random.chance(contexts.length >= 4 ? 0.8 : 0.2)) {
    return random.pick(contexts);
  }
  const context = randomContext(random, features, usedTables);
  contexts.push(context);
  return context;
}

/** Writes an STE (IHI 0070, section 5.2) and its CD table. */
function addStream(making: Making, address: bigint, streamId: number): RandomStream {
  const { random, features, image } = making;
  const config = [0b101, 0b100, random.below(4), 0b110, 0b111][random.weighted([82, 8, 5, 1, 1])]!;
  let cdMaxField = random.chance(0.2) ? random.below(32) : 0;
  if (features.ssidSize > 0) {
    cdMaxField = random.chance(0.3) ? 0 : random.between(1, features.ssidSize);
    if (random.chance(0.02)) cdMaxField = random.between(0, 31); // rule 8
  }
  const cdMax = features.ssidSize === 0 ? 0 : cdMaxField;
  let format = features.cd2l || cdMax === 0 ? random.weighted([2, 3, 3, 1]) : random.pick([0, 3]);
  if (random.chance(0.03)) format = random.below(4); // rule 9
  const dss = random.weighted([1, 2, 9, 0.5]);
  const stalls = features.stallModel === 0 ? random.bit(0.1) : random.bit(0.015); // rule 7
  const eats = features.ats ? [0, 1, 3, 2][random.weighted([5, 5, 2, 0.4])]! : random.below(4);

  const substreams: RandomStream['substreams'] = [];
  const indexes = new Set([0]);
  if (cdMax > 0) for (let i = 0; i < 2; i++) indexes.add(Number(random.edged(Math.min(cdMax, 20))));
  const split = cdMax === 0 ? 0 : format === 1 ? 6 : format === 2 ? 10 : 0;
  const alignLog2 = split === 0 ? cdMax + 6 : Math.max(6, cdMax - split + 3);
  const pointer = place(making, alignLog2);
  const ignored = alignLog2 > 6 && random.chance(0.2) ? random.bits(alignLog2) & ~0x3fn : 0n;

  for (const index of indexes) {
    const context = contextFor(making);
    const cd = cdAddress(making, pointer, split, index);
    if (cd !== undefined && !random.chance(0.02)) image.writeAll(cd, context.words);
    const reserved = index === 0 && dss === 2; // F_STREAM_DISABLED
    if (cdMax > 0 && !(reserved && random.chance(0.8))) {
      substreams.push({ substreamId: index, context });
    }
    if (index === 0) substreams.push({ substreamId: undefined, context });
  }

  const noise = random.chance(0.3);
  const word0 =
    at(0, random.bit(0.98)) | // V
    at(1, config) |
    at(4, format) |
    (pointer & ((1n << 56n) - 64n)) |
    ignored |
    at(59, cdMaxField);
  const word1 =
    at(0, dss) |
    at(2, random.bits(6)) | // S1CIR, S1COR, S1CSH
    at(27, stalls) |
    at(28, eats) |
    at(30, random.bits(2)) | // STRW: not used, as there is no EL2
    at(32, random.bits(16)) | // MemAttr to NSCFG
    at(48, random.bits(4)) | // PRIVCFG, INSTCFG
    (noise ? at(8, random.bits(18)) | at(52, random.bits(12)) : 0n);
  const stage2 = Array.from({ length: 6 }, () => (noise ? random.bits(64) : 0n));
  if (!random.chance(0.02)) image.writeAll(address, [word0, word1, ...stage2]);
  return { streamId, substreams };
}

/** Where CD number `index` is; writes its L1CD in a 2-level table (IHI 0070, section 5.3). */
function cdAddress(
  making: Making,
  pointer: bigint,
  split: number,
  index: number,
): bigint | undefined {
  const { random, image } = making;
  if (split === 0) return pointer + 64n * BigInt(index);
  const index2 = BigInt(index % 2 ** split);
  const address = pointer + 8n * (BigInt(index) >> BigInt(split));
  const before = image.read(address);
  if (before !== 0n) return align(before & ((1n << 56n) - 1n), split + 6) + 64n * index2;
  if (random.chance(0.06)) return undefined; // no memory, or zeros
  const l2Ptr = place(making, split + 6);
  // [15:12] of a 64 KB table, [11:1] and [63:56]
  const ignored = random.chance(0.2) ? random.bits(split + 6) & ~1n : 0n;
  const reserved = random.chance(0.1) ? at(56, random.bits(8)) : 0n;
  image.write(address, at(0, random.bit(0.96)) | l2Ptr | ignored | reserved);
  return l2Ptr + 64n * index2;
}
