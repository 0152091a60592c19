/** Guests whose tables have all that a TLB must get right, and where their leaves are. */
import { GuestBuilder } from '../../src/fixtures/guest-builder.js';
import type { AddressSpaceBuilder } from '../../src/fixtures/address-space-builder.js';
import { words32 } from '../transaction/machine.js';
import type { Random } from '../transaction/random.js';
import { placed, SHAPES, tagged, type Shape } from './tlb-model.js';

/** Bytes of neighbouring leaves. */
interface Spot {
  readonly first: bigint;
  readonly bytes: bigint;
}

export interface Access {
  readonly streamId: number;
  readonly substreamId: number;
  readonly address: bigint;
  readonly access: number;
}

export interface RandomGuest {
  readonly guest: GuestBuilder;
  readonly accesses: readonly Access[];
  readonly tags: readonly string[];
}

interface Layout {
  readonly space: AddressSpaceBuilder;
  readonly shapes: readonly Shape[];
  readonly inputBits: number;
  readonly addressBits: number;
  readonly bigEndian: boolean;
}

/** Streams and substreams that use space 0 and space 1; the first three do so through the same words. */
const USERS = [
  [
    { streamId: 1, substreamId: -1 },
    { streamId: 2, substreamId: -1 },
    { streamId: 4, substreamId: -1 },
    { streamId: 4, substreamId: 0 },
  ],
  [
    { streamId: 3, substreamId: -1 },
    { streamId: 4, substreamId: 1 },
  ],
];

/** A guest with two address spaces, and `count` accesses to them: many more than once. */
export function randomGuest(random: Random, count: number): RandomGuest {
  const oasCode = random.pick([5, 6]);
  const guest = new GuestBuilder({
    streamIdBits: 4,
    // As the builder's own, with STT in IDR3, and STALL_MAX, VAX, DS and the output size in IDR5.
    registers: { IDR3: 0x0002_3604, IDR5: 0x0010_04f0 | oasCode },
  });
  const tags: string[] = [];
  const layouts = [0, 1].map(() => randomSpace(random, guest, oasCode === 6, tags));
  const [space0, space1] = layouts.map(({ space }) => space) as [
    AddressSpaceBuilder,
    AddressSpaceBuilder,
  ];
  for (const [streamId, space] of [
    [1, space0],
    [2, space0],
    [3, space1],
  ] as const) {
    const overrides = { PRIVCFG: random.pick([0, 0, 2, 3]), INSTCFG: random.pick([0, 0, 2, 3]) };
    if (overrides.PRIVCFG > 1) tags.push('PRIVCFG');
    if (overrides.INSTCFG > 1) tags.push('INSTCFG');
    guest.attach(streamId, space, overrides);
  }
  const spots = layouts.map((layout) => randomTables(random, layout, tags));
  // Copies of the CDs: their words are the same.
  guest.attachSubstreams(
    4,
    new Map([
      [0, space0],
      [1, space1],
    ]),
  );
  const addresses = spots.map((own) =>
    Array.from({ length: 12 }, () => randomAddress(random, own)),
  );
  const accesses = Array.from({ length: count }, () => {
    const which = random.below(2);
    const user = random.pick(USERS[which]!);
    return { ...user, address: random.pick(addresses[which]!), access: random.below(8) };
  });
  return { guest, accesses, tags };
}

function randomSpace(random: Random, guest: GuestBuilder, oas52: boolean, tags: string[]): Layout {
  const granuleLog2 = random.pick([12, 14, 16] as const);
  const ds = granuleLog2 !== 16 && random.chance(0.3);
  const wide = ds || granuleLog2 === 16;
  const inputBits = random.pick([random.between(21, 40), wide ? 52 : 48, 39, granuleLog2 + 5]);
  const bigEndian = random.chance(0.3);
  const ha = random.bit(0.5);
  const cd = {
    ASID: random.between(1, 2),
    HA: ha,
    HD: random.bit(0.85) & ha,
    AFFD: random.bit(0.3),
    WXN: random.bit(0.2),
    PAN: random.bit(0.25),
    EPAN: random.bit(),
    E0PD0: random.bit(0.2),
    E0PD1: random.bit(0.2),
    HAD0: random.bit(0.3),
    TBI0: random.bit(),
    TBI1: random.bit(),
    // Normal, Device, Normal Non-cacheable.
    MAIR0: 0x0004_ff44,
    IPS: 6,
  };
  for (const [name, value] of Object.entries(cd)) if (value === 1) tags.push(name);
  if (bigEndian) tags.push('big-endian');
  const space = guest.addressSpace({ granuleLog2, inputBits, ds, bigEndian, cd });
  const shapes = SHAPES.filter(
    (shape) =>
      shape.granuleLog2 === granuleLog2 &&
      (shape.lpa2 ?? false) === ds &&
      shape.leafLog2 < inputBits &&
      (shape.leafLog2 < 42 || oas52),
  );
  const addressBits = Math.min(oas52 ? 52 : 48, wide ? 52 : 48);
  return { space, shapes, inputBits, addressBits, bigEndian };
}

function randomTables(random: Random, layout: Layout, tags: string[]): Spot[] {
  const spots: Spot[] = [];
  for (let i = random.between(3, 6); i > 0; i--) {
    const shape = random.pick(layout.shapes);
    const isRun = shape.runLog2 > 0 && shape.leafLog2 + shape.runLog2 <= layout.inputBits;
    const spot =
      isRun && random.chance(0.6)
        ? randomRun(random, layout, shape, tags)
        : randomLeaves(random, layout, shape);
    if (spot !== null) spots.push(spot);
  }
  return spots;
}

function attributesOf(random: Random, shape: Shape): bigint {
  return (
    (shape.level === 3 ? 3n : 1n) |
    BigInt(random.below(3) << 2) | // AttrIndx
    (BigInt(random.bit(0.75)) << 6n) | // AP[1]
    (BigInt(random.bit(0.4)) << 7n) | // AP[2]
    (shape.lpa2 === true ? 0n : random.bits(2) << 8n) | // SH
    (BigInt(random.bit(0.9)) << 10n) | // AF
    (BigInt(random.bit()) << 11n) | // nG
    (BigInt(random.bit(0.7)) << 51n) | // DBM
    (BigInt(random.bit(0.2)) << 53n) | // PXN
    (BigInt(random.bit(0.2)) << 54n) // UXN
  );
}

/** An input address of either half and an output address, both multiples of 2^`alignLog2`. */
function randomPlace(random: Random, layout: Layout, alignLog2: number): [bigint, bigint] {
  const align = (value: bigint): bigint => (value >> BigInt(alignLog2)) << BigInt(alignLog2);
  const input = align(random.edged(layout.inputBits));
  const upper = (1n << 64n) - (1n << BigInt(layout.inputBits));
  return [random.chance(0.5) ? input : upper + input, align(random.bits(layout.addressBits))];
}

/** A few leaves, one after the other. */
function randomLeaves(random: Random, layout: Layout, shape: Shape): Spot | null {
  const size = 1n << BigInt(shape.leafLog2);
  const [first, output] = randomPlace(random, layout, shape.leafLog2 + 1);
  const tables = random.chance(0.3) ? { APTable: random.below(4), PXNTable: random.bit(0.3) } : {};
  for (let i = 0n; i < 2n; i++) {
    const descriptor = attributesOf(random, shape) | placed(shape, output + i * size);
    if (!write(layout, first + i * size, shape, descriptor, tables)) return null;
  }
  return { first, bytes: 2n * size };
}

/** A contiguous run; half of them are not programmed as they must be. */
function randomRun(random: Random, layout: Layout, shape: Shape, tags: string[]): Spot | null {
  const size = 1n << BigInt(shape.leafLog2);
  const entries = 2 ** shape.runLog2;
  const [first, aligned] = randomPlace(random, layout, shape.leafLog2 + shape.runLog2);
  const attributes = attributesOf(random, shape) | (1n << 52n);
  const spoilt = random.chance(0.5) ? random.below(6) : -1;
  tags.push(spoilt < 0 ? 'run' : 'spoilt run');
  const odd = random.below(entries);
  const output = spoilt === 0 && shape.leafLog2 < 40 ? aligned ^ size : aligned;
  for (let i = 0; i < entries; i++) {
    let address = output + BigInt(i) * size;
    let own = attributes;
    if (i === odd) {
      if (spoilt === 1) own ^= 1n << BigInt(random.pick([6, 7, 10, 11, 51, 52, 53, 54]));
      if (spoilt === 2) own = 0n;
      if (spoilt === 3) address = random.bits(layout.addressBits) & -size;
      if (spoilt === 4) own ^= 1n << 2n;
    }
    if (address >= 1n << BigInt(layout.addressBits)) address = 0n;
    const descriptor = own === 0n ? 0n : own | placed(shape, address);
    if (!write(layout, first + BigInt(i) * size, shape, descriptor, {})) return null;
    // What is not written is invalid.
    if (spoilt === 5 && i === odd) break;
  }
  return { first, bytes: size * BigInt(entries) };
}

/** Returns whether the descriptor could be written: another block may be in the way. */
function write(
  layout: Layout,
  iova: bigint,
  shape: Shape,
  descriptor: bigint,
  tables: { APTable?: number; PXNTable?: number },
): boolean {
  try {
    layout.space.setDescriptor(iova, shape.level, words32([descriptor]), tables);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** An address of what is mapped, at its ends often, or next to it; sometimes with a tag. */
function randomAddress(random: Random, spots: readonly Spot[]): bigint {
  if (spots.length === 0) return random.edged(64);
  const { first, bytes } = random.pick(spots);
  const offset = random.pick([
    0n,
    bytes - 1n,
    (random.bits(52) * bytes) >> 52n,
    (random.bits(52) * bytes) >> 52n,
    (random.bits(52) * bytes) >> 52n,
    random.chance(0.3) ? bytes : 0n,
  ]);
  const address = BigInt.asUintN(64, first + offset);
  return random.chance(0.2) ? tagged(address, random.below(256)) : address;
}
