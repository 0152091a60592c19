import type { AddressSpaceBuilder } from '../../src/fixtures/address-space-builder.js';
import { GuestBuilder } from '../../src/fixtures/guest-builder.js';
import type { GuestMemory } from '../../src/memory/guest-memory.js';
import type { ReferenceMachine, ReferenceMemory } from '../reference/index.js';
import type { Random } from '../transaction/random.js';
import { shiftOf } from '../transaction/random-contexts.js';

/** The library's memory as the reference reads it; updates succeed, and are dropped. */
export class ViewedMemory implements ReferenceMemory {
  private readonly memory: GuestMemory;
  private readonly words = new Uint32Array(2);

  constructor(memory: GuestMemory) {
    this.memory = memory;
  }

  read64(address: bigint): bigint | null {
    if (!this.memory.load(Number(address), this.words, 0, 2)) return null;
    return (BigInt(this.words[1]!) << 32n) | BigInt(this.words[0]!);
  }

  write64(address: bigint): boolean {
    return this.read64(address) !== null;
  }
}

/** The machine of the reference with the registers of a frame, at the offsets of IHI 0070, section 6. */
export function machineOf(memory: GuestMemory, frame: Uint32Array): ReferenceMachine {
  const word = (offset: number): number => frame[offset / 4]!;
  return {
    memory: new ViewedMemory(memory),
    // The reference has no stage 2.
    idr0: word(0x00) & ~1,
    idr1: word(0x04),
    idr3: word(0x0c),
    idr5: word(0x14),
    aidr: word(0x1c),
    cr0: word(0x20),
    cr2: word(0x2c),
    gbpa: word(0x44),
    strtabBase: (BigInt(word(0x84)) << 32n) | BigInt(word(0x80)),
    strtabBaseCfg: word(0x88),
  };
}

/** A guest with one address space on stream 1, and what is special about it. */
export interface RandomSpace {
  guest: GuestBuilder;
  space: AddressSpaceBuilder;
  tags: string[];
}

interface Shape {
  granuleLog2: 12 | 14 | 16;
  inputBits: number;
  ds: boolean;
  bigEndian: boolean;
  addressBits: number;
  firstBlock: number;
  start: number;
}

const OAS_BITS = [32, 36, 40, 42, 44, 48, 52];

function startOf(granuleLog2: number, inputBits: number): number {
  let level = 3;
  while (shiftOf(granuleLog2, level - 1) < inputBits) level--;
  return level;
}

/** Clusters of neighbouring leaves made by the builder, then raw descriptors strewn over its tables. */
export function randomSpace(random: Random): RandomSpace {
  const oasCode = random.weighted([1, 1, 2, 2, 2, 6, 6]);
  const granuleLog2 = random.pick([12, 14, 16] as const);
  const ds = granuleLog2 !== 16 && random.chance(0.4);
  const wide = ds || granuleLog2 === 16;
  const inputBits = random.pick([
    random.between(25, 48),
    random.between(wide ? 40 : 30, wide ? 52 : 48),
    granuleLog2 === 16 ? 17 : 16,
    wide ? 52 : 48,
  ]);
  const ipsCode = random.chance(0.6) ? oasCode : random.below(8);
  const shape: Shape = {
    granuleLog2,
    inputBits,
    ds,
    bigEndian: random.chance(0.35),
    addressBits: Math.min(OAS_BITS[oasCode]!, OAS_BITS[Math.min(ipsCode, 6)]!, wide ? 52 : 48),
    firstBlock: granuleLog2 === 12 ? (ds ? 0 : 1) : ds || (wide && oasCode === 6) ? 1 : 2,
    start: startOf(granuleLog2, inputBits),
  };
  const guest = new GuestBuilder({
    streamIdBits: 4,
    registers: {
      // As the builder's own, with STT in IDR3, and VAX, DS and the output size in IDR5.
      IDR3: 0x0002_3604,
      IDR5: 0x0000_04f0 | oasCode,
    },
  });
  const updates = random.pick([[0, 0] as const, [1, 0] as const, [1, 1] as const, [0, 1] as const]);
  const cd = {
    HA: updates[0],
    HD: updates[1],
    AFFD: random.bit(0.3),
    WXN: random.bit(0.2),
    PAN: random.bit(0.25),
    EPAN: random.bit(),
    E0PD0: random.bit(0.2),
    E0PD1: random.bit(0.2),
    HAD0: random.bit(0.3),
    HAD1: random.bit(0.3),
    TBI0: random.bit(0.3),
    IPS: ipsCode,
    EPD0: random.bit(0.04),
    EPD1: random.bit(0.04),
  };
  const { bigEndian } = shape;
  const space = guest.addressSpace({ granuleLog2, inputBits, ds, bigEndian, cd });
  guest.attach(1, space);
  for (let i = random.between(1, 6); i > 0; i--) cluster(random, space, shape);
  for (let i = random.between(0, 4); i > 0; i--) raw(random, space, shape);

  const tags = [`granule ${granuleLog2}`, bigEndian ? 'big-endian' : 'little-endian'];
  if (ds) tags.push(`DS ${granuleLog2}`);
  if (shape.start < 0) tags.push('level -1');
  for (const [name, value] of Object.entries(cd))
    if (value === 1 && name !== 'IPS') tags.push(name);
  return { guest, space, tags };
}

/** An input address of one of the halves, aligned to 2^`align`. */
function input(random: Random, shape: Shape, align: number): bigint {
  const low = (random.edged(shape.inputBits) >> BigInt(align)) << BigInt(align);
  const upper = random.chance(0.5);
  return upper ? (1n << 64n) - (1n << BigInt(shape.inputBits)) + low : low;
}

/** Bits of an output address as a descriptor holds them (DDI 0487, section D8.3). */
function placed(shape: Shape, address: bigint): bigint {
  const inPlace = address & 0xffff_ffff_ffffn;
  if (shape.granuleLog2 === 16) return inPlace | (((address >> 48n) & 0xfn) << 12n);
  if (!shape.ds) return inPlace;
  return inPlace | (address & (3n << 48n)) | (((address >> 50n) & 3n) << 8n);
}

function halves(value: bigint): Uint32Array {
  return new Uint32Array([Number(value & 0xffff_ffffn), Number(value >> 32n)]);
}

/** Leaves one after the other, most of them continuing the one before. */
function cluster(random: Random, space: AddressSpaceBuilder, shape: Shape): void {
  const lowest = Math.max(shape.start, shape.firstBlock);
  const level = random.chance(0.6) ? 3 : random.between(Math.min(lowest, 3), 3);
  const shift = BigInt(shiftOf(shape.granuleLog2, level));
  const first = input(random, shape, Number(shift));
  const start = (random.edged(shape.addressBits) >> shift) << shift;
  const leaf =
    (level === 3 ? 3n : 1n) |
    (random.bits(2) << 6n) | // AP
    (BigInt(random.bit(0.85)) << 10n) | // AF
    (BigInt(random.bit(0.3)) << 51n) | // DBM
    (random.bits(2) << 53n) | // PXN, UXN
    (random.bits(3) << 2n); // AttrIndx
  const tables = random.chance(0.4)
    ? { APTable: random.below(4), XNTable: random.bit(0.3), PXNTable: random.bit(0.3) }
    : {};
  let output = start;
  for (let i = 0; i < random.between(1, 40); i++) {
    const iova = (first + (BigInt(i) << shift)) & (2n ** 64n - 1n);
    // The next one would be past the end of its half.
    if (i > 0 && iova % (1n << BigInt(shape.inputBits)) === 0n) break;
    if (random.chance(0.08)) output = (random.bits(shape.addressBits) >> shift) << shift;
    if (output >= 1n << BigInt(shape.addressBits)) output = 0n;
    let own = leaf;
    if (random.chance(0.1)) own ^= 1n << BigInt(random.pick([6, 7, 10, 51, 53, 54]));
    if (random.chance(0.05)) own = random.bits(64) & ~3n; // a hole
    // An address of the other kind, beyond the IPS
    const beyond = random.chance(0.02) && shape.addressBits < 48 ? 1n << 47n : 0n;
    try {
      space.setDescriptor(iova, level, halves(own | placed(shape, output | beyond)), tables);
    } catch {
      return; // A block lies in the way, or tables lead out of RAM.
    }
    output += 1n << shift;
  }
}

/** Any 64-bit value as a descriptor at any level; tables that it names hold zeros or are not there. */
function raw(random: Random, space: AddressSpaceBuilder, shape: Shape): void {
  const level = random.between(shape.start, 3);
  const value = (random.bits(64) & ~3n) | BigInt(random.weighted([1, 2, 1, 4]));
  try {
    space.setDescriptor(input(random, shape, shape.granuleLog2), level, halves(value), {});
  } catch {
    return; // As above.
  }
}
