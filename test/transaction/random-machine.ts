import type { ReferenceAccess } from '../reference/index.js';
import { randomFeatures, type RandomFeatures } from './random-features.js';
import { Image, MEMORY_KINDS, type MemoryKind } from './random-memory.js';
import { randomStreamTable, type RandomStream } from './random-streams.js';
import { randomTables, type Spot } from './random-tables.js';
import { type RandomContext } from './random-contexts.js';
import { Random } from './random.js';

/** An SMMU with its guest's structures, and the accesses that a device makes. */
export interface RandomMachine {
  features: RandomFeatures;
  image: Image;
  memoryKind: MemoryKind;
  /** Numbers of the pages that abort writes. */
  readOnly: ReadonlySet<number>;
  cr0: number;
  cr2: number;
  gbpa: number;
  strtabBase: bigint;
  strtabBaseCfg: number;
  accesses: ReferenceAccess[];
}

/** The machine of a seed, with `count` accesses. Words are placed by the manual's bit positions. */
export function randomMachine(seed: number, count: number): RandomMachine {
  const random = new Random(seed);
  const features = randomFeatures(random);
  const image = new Image();
  const { strtabBase, strtabBaseCfg, streams } = randomStreamTable(random, features, image);
  const spots = new Map<RandomContext, Spot[]>();
  for (const { substreams } of streams) {
    for (const { context } of substreams) {
      if (!spots.has(context)) spots.set(context, contextSpots(random, image, context));
    }
  }

  const readOnly = new Set<number>();
  if (random.chance(0.15)) {
    for (const number of image.pages.keys()) if (random.chance(0.4)) readOnly.add(number);
  }
  const enabled = random.bit(0.98);
  const accesses: ReferenceAccess[] = [];
  for (let i = 0; i < count; i++) accesses.push(randomAccess(random, features, streams, spots));
  return {
    features,
    image,
    memoryKind: random.pick(MEMORY_KINDS),
    readOnly,
    cr0: enabled | (random.u32() & 0x0000_05de),
    cr2: (random.bit(0.75) << 1) | (random.u32() & 0b1101),
    gbpa: (random.bit(0.4) << 20) | (random.u32() & 0x000f_3f1f),
    strtabBase,
    strtabBaseCfg,
    accesses,
  };
}

function contextSpots(random: Random, image: Image, context: RandomContext): Spot[] {
  const spots: Spot[] = [];
  for (const half of context.halves) {
    spots.push(...randomTables(random, image, half, random.between(2, 7)));
  }
  return spots;
}

function randomAccess(
  random: Random,
  features: RandomFeatures,
  streams: readonly RandomStream[],
  spots: ReadonlyMap<RandomContext, Spot[]>,
): ReferenceAccess {
  const stream = random.pick(streams);
  const { substreamId, context } = random.pick(stream.substreams);
  const access: ReferenceAccess = {
    streamId: random.chance(0.02)
      ? Number(random.edged(random.pick([8, 16, 32])))
      : stream.streamId,
    iova: randomInput(random, features, context, spots.get(context) ?? []),
    write: random.chance(0.4),
    instruction: random.chance(0.25),
    privileged: random.chance(0.5),
  };
  if (random.chance(0.04)) {
    if (random.chance(0.6)) access.substreamId = Number(random.edged(20));
  } else if (substreamId !== undefined) {
    access.substreamId = substreamId;
  }
  return access;
}

const ALL = (1n << 64n) - 1n;

/** An input address: in what is mapped mostly, else at the edges of ranges, or anywhere. */
function randomInput(
  random: Random,
  features: RandomFeatures,
  context: RandomContext,
  spots: readonly Spot[],
): bigint {
  const kind = random.weighted([spots.length === 0 ? 0 : 88, 6, 4, 2]);
  if (kind === 0) return withTag(random, inSpot(random, random.pick(spots)));
  if (kind === 1) {
    // First and last of a half and their neighbours in the hole
    const { inputBits } = random.pick(context.halves);
    const end = 1n << BigInt(inputBits);
    const edge = random.pick([0n, end - 1n, end, -end, -end - 1n, -1n]);
    return withTag(random, (edge + BigInt(random.between(-1, 1))) & ALL);
  }
  if (kind === 2) return random.edged(Math.min(64, features.oas + random.below(3)));
  return random.edged(64);
}

function inSpot(random: Random, spot: Spot): bigint {
  const size = 1n << BigInt(spot.sizeLog2);
  const offset = random.bits(spot.sizeLog2);
  switch (random.below(8)) {
    case 0:
      return spot.start;
    case 1:
      return spot.start + size - 1n;
    case 2:
      return (spot.start + random.pick([size, -1n, size + offset])) & ALL; // the neighbour
    default:
      return spot.start + offset;
  }
}

/** Bits 63:56 replaced, seldom: what top-byte-ignore is for. */
function withTag(random: Random, address: bigint): bigint {
  if (!random.chance(0.08)) return address;
  const tagged = (address & ((1n << 56n) - 1n)) | (random.bits(8) << 56n);
  return random.chance(0.15) ? tagged ^ (1n << 55n) : tagged;
}
