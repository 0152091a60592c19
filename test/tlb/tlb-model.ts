/**
 * What a TLB may and must answer, slowly: addresses are BigInts of 64 bits, leaves and entries plain
 * objects. Positions of bits are those of the manual (DDI 0487, section D8.3; IHI 0070, section 4.4).
 */
import fc from 'fast-check';
import { AddressHalf } from '../../src/transaction/context.js';
import { Translation } from '../../src/transaction/translation.js';

/** A kind of leaf (DDI 0487, tables D8.3 and D8.6), by hand. */
export interface Shape {
  readonly granuleLog2: number;
  readonly level: number;
  readonly leafLog2: number;
  /** log2 of the leaves of a contiguous run; 0 where the Contiguous bit is RES0. */
  readonly runLog2: number;
  /** With DS: 52-bit addresses with 4K and 16K. */
  readonly lpa2?: boolean;
}

export const SHAPES: readonly Shape[] = [
  { granuleLog2: 12, level: 3, leafLog2: 12, runLog2: 4 },
  { granuleLog2: 12, level: 2, leafLog2: 21, runLog2: 4 },
  { granuleLog2: 12, level: 1, leafLog2: 30, runLog2: 4 },
  { granuleLog2: 12, level: 0, leafLog2: 39, runLog2: 0, lpa2: true },
  { granuleLog2: 14, level: 3, leafLog2: 14, runLog2: 7 },
  { granuleLog2: 14, level: 2, leafLog2: 25, runLog2: 5 },
  { granuleLog2: 14, level: 1, leafLog2: 36, runLog2: 0, lpa2: true },
  { granuleLog2: 16, level: 3, leafLog2: 16, runLog2: 5 },
  { granuleLog2: 16, level: 2, leafLog2: 29, runLog2: 5 },
  { granuleLog2: 16, level: 1, leafLog2: 42, runLog2: 0 },
  { granuleLog2: 12, level: 3, leafLog2: 12, runLog2: 4, lpa2: true },
  { granuleLog2: 12, level: 2, leafLog2: 21, runLog2: 4, lpa2: true },
  { granuleLog2: 12, level: 1, leafLog2: 30, runLog2: 4, lpa2: true },
  { granuleLog2: 14, level: 3, leafLog2: 14, runLog2: 7, lpa2: true },
  { granuleLog2: 14, level: 2, leafLog2: 25, runLog2: 5, lpa2: true },
];

/** A leaf, or a whole contiguous run, and what holds for it. */
export interface Leaf {
  readonly shape: Shape;
  /** The answer is that of the whole run. */
  readonly isRun: boolean;
  readonly topByteIgnored: boolean;
  /** E0PD of its half. */
  readonly privilegedOnly: boolean;
  /** First input address; bit 55 fills the top byte. */
  readonly first: bigint;
  /** First output address. */
  readonly output: bigint;
  /** The descriptor, but for its output address. */
  readonly bits: bigint;
  /** Six rights, unprivileged first, and the clean page in bit 6. */
  readonly permissions: number;
  readonly attribute: number;
  readonly shareability: number;
}

/** The fields of a translated answer. */
export type Answer = Pick<
  Translation,
  | 'outputAddress'
  | 'bypassed'
  | 'level'
  | 'leafLog2'
  | 'granuleLog2'
  | 'permissions'
  | 'attribute'
  | 'shareability'
  | 'nonGlobal'
  | 'contiguous'
  | 'descriptorHigh'
  | 'descriptorLow'
>;

const TAGS = (1n << 56n) - 1n;
const WHOLE = (1n << 64n) - 1n;

/** Bits 63:32 and 31:0, signed. */
export function halvesOf(address: bigint): { high: number; low: number } {
  return {
    high: Number(BigInt.asIntN(32, address >> 32n)),
    low: Number(BigInt.asIntN(32, address)),
  };
}

/** The address with bit 55 in its top byte. */
export function canonical(address: bigint): bigint {
  return BigInt.asUintN(64, BigInt.asIntN(56, address));
}

/** The address with another top byte. */
export function tagged(address: bigint, tag: number): bigint {
  return (address & TAGS) | (BigInt(tag) << 56n);
}

export function spanLog2Of({ shape, isRun }: Leaf): number {
  return shape.leafLog2 + (isRun ? shape.runLog2 : 0);
}

/** Bytes that the answer holds for. */
export function spanOf(leaf: Leaf): bigint {
  return 1n << BigInt(spanLog2Of(leaf));
}

export function nonGlobalOf(leaf: Leaf): number {
  return Number((leaf.bits >> 11n) & 1n);
}

export function halfOf(leaf: Leaf): AddressHalf {
  const half = new AddressHalf((leaf.first & (1n << 55n)) !== 0n);
  half.topByteIgnored = leaf.topByteIgnored;
  half.privilegedOnly = leaf.privilegedOnly;
  return half;
}

/** Bytes from the first address of the leaf to `address`; past its end when it does not cover it. */
export function offsetIn(leaf: Leaf, address: bigint): bigint {
  return (address - leaf.first) & (leaf.topByteIgnored ? TAGS : WHOLE);
}

export function covers(leaf: Leaf, address: bigint): boolean {
  return offsetIn(leaf, address) < spanOf(leaf);
}

/** A page of 4 KiB that everybody may use in any way, non-global; what `changes` say is otherwise. */
export function leafOf(first: bigint, changes: Partial<Leaf> = {}): Leaf {
  return {
    shape: SHAPES[0]!,
    isRun: false,
    topByteIgnored: false,
    privilegedOnly: false,
    first,
    output: 0x80_0000_0000n + (first % (1n << 32n)),
    bits: 0xf43n,
    permissions: 0b11_1111,
    attribute: 0xff,
    shareability: 3,
    ...changes,
  };
}

/** What makes a leaf global. */
export const GLOBAL = { bits: 0x743n };
/** What makes it a block of 2 MiB, and one of 1 GiB. */
export const BLOCK = { shape: SHAPES[1]! };
export const GIGABYTE = { shape: SHAPES[2]! };

/** Where a descriptor has the bits of an output address. */
export function placed({ granuleLog2, lpa2 }: Shape, address: bigint): bigint {
  const low = address & ((1n << 48n) - 1n);
  if (granuleLog2 === 16) return low | ((address >> 48n) << 12n);
  if (lpa2 !== true) return low;
  return low | (address & (3n << 48n)) | ((address >> 50n) << 8n);
}

/** What a walk answers for an address that `leaf` covers. */
export function answerAt(leaf: Leaf, address: bigint): Answer {
  const { shape, output, bits } = leaf;
  const offset = offsetIn(leaf, address);
  const number = offset >> BigInt(shape.leafLog2);
  const descriptor = bits | placed(shape, output + (number << BigInt(shape.leafLog2)));
  return {
    outputAddress: Number(output + offset),
    bypassed: false,
    level: shape.level,
    leafLog2: shape.leafLog2,
    granuleLog2: shape.granuleLog2,
    permissions: leaf.permissions,
    attribute: leaf.attribute,
    shareability: leaf.shareability,
    nonGlobal: nonGlobalOf(leaf),
    contiguous: shape.runLog2 > 0 ? Number((bits >> 52n) & 1n) : 0,
    descriptorHigh: Number(descriptor >> 32n),
    descriptorLow: Number(descriptor & 0xffff_ffffn),
  };
}

/** The answer as the walk leaves it behind. */
export function translationAt(leaf: Leaf, address: bigint): Translation {
  return Object.assign(new Translation(), answerAt(leaf, address));
}

/** The fields of {@link Answer} of a result. */
export function answerOf(result: Translation): Answer {
  const {
    outputAddress,
    bypassed,
    level,
    leafLog2,
    granuleLog2,
    permissions,
    attribute,
    shareability,
    nonGlobal,
    contiguous,
    descriptorHigh,
    descriptorLow,
  } = result;
  return {
    outputAddress,
    bypassed,
    level,
    leafLog2,
    granuleLog2,
    permissions,
    attribute,
    shareability,
    nonGlobal,
    contiguous,
    descriptorHigh,
    descriptorLow,
  };
}

/** The right that an access needs: write 1, instruction 2, privileged 4; a write is always data. */
export function neededOf(access: number): number {
  const kind = (access & 1) !== 0 ? 2 : (access & 2) !== 0 ? 4 : 1;
  return (access & 4) !== 0 ? 8 * kind : kind;
}

/** Whether the walk lets the access through: E0PD, then the rights. */
export function walkAllows(leaf: Leaf, access: number): boolean {
  if (leaf.privilegedOnly && (access & 4) === 0) return false;
  return (leaf.permissions & neededOf(access)) !== 0;
}

/** Whether a TLB may answer: not the first write of a clean page. */
export function mayHit(leaf: Leaf, access: number): boolean {
  const dirties = (access & 1) !== 0 && (leaf.permissions & 64) !== 0;
  return walkAllows(leaf, access) && !dirties;
}

/** What an invalidation names, and its hints. */
export interface Named {
  /** -1 for any. */
  readonly asid: number;
  readonly first: bigint;
  readonly last: bigint;
  /** 0 for any. */
  readonly granuleLog2: number;
  /** 0 for any. */
  readonly level: number;
}

/**
 * Whether an invalidation must end a leaf that was cached under `asid`, must leave it, or (a hint that
 * was not followed, a tag that was not looked at) may do either.
 */
export function verdictOn(leaf: Leaf, asid: number, named: Named): 'must' | 'may' | 'no' {
  if (named.asid >= 0 && nonGlobalOf(leaf) === 1 && asid !== named.asid) return 'no';
  if (!overlaps(leaf, named, TAGS)) return 'no';
  const { shape } = leaf;
  const isOfGranule = named.granuleLog2 === 0 || named.granuleLog2 === shape.granuleLog2;
  const isOfLevel = named.level === 0 || named.level === shape.level;
  if (named.level > 0) {
    const meant = SHAPES.find(
      ({ granuleLog2, level }) => granuleLog2 === named.granuleLog2 && level === named.level,
    )!;
    const span = spanLog2Of(leaf);
    if (span !== meant.leafLog2 && span !== meant.leafLog2 + meant.runLog2) return 'no';
  }
  const strictly = overlaps(leaf, named, leaf.topByteIgnored ? TAGS : WHOLE);
  return strictly && isOfGranule && isOfLevel ? 'must' : 'may';
}

/** Whether leaf and range share an address, in a space of `mask` + 1 bytes. */
function overlaps(leaf: Leaf, { first, last }: Named, mask: bigint): boolean {
  if (last - first >= mask) return true;
  return (
    ((first - leaf.first) & mask) < spanOf(leaf) || ((leaf.first - first) & mask) <= last - first
  );
}

/** Random leaves of every shape, in both halves. */
export const leaves: fc.Arbitrary<Leaf> = fc
  .record({
    shape: fc.constantFrom(...SHAPES),
    wantsRun: fc.boolean(),
    isContiguous: fc.boolean(),
    upper: fc.boolean(),
    topByteIgnored: fc.boolean(),
    privilegedOnly: fc.boolean(),
    input: fc.bigInt(0n, (1n << 52n) - 1n),
    output: fc.bigInt(0n, (1n << 52n) - 1n),
    attributes: fc.bigInt(0n, (1n << 64n) - 1n),
    permissions: fc.nat(127),
    attribute: fc.nat(255),
    shareability: fc.constantFrom(0, 2, 3),
  })
  .map(({ shape, wantsRun, isContiguous, upper, input, output, attributes, ...rest }) => {
    const isRun = wantsRun && shape.runLog2 > 0;
    const span = BigInt(shape.leafLog2 + (isRun ? shape.runLog2 : 0));
    const inRange = shape.lpa2 === true || shape.granuleLog2 === 16 ? output : output % (1n << 48n);
    return {
      ...rest,
      shape,
      isRun,
      first: upper ? canonical(((input >> span) << span) | (15n << 52n)) : (input >> span) << span,
      output: (inRange >> span) << span,
      bits: attributeBits(shape, attributes, isRun || isContiguous),
    };
  });

/** Bits of a leaf descriptor that are no output address: all but 49:12 (47:12 and 9:8 with DS). */
function attributeBits(shape: Shape, random: bigint, isContiguous: boolean): bigint {
  let mask = 0xffec_0000_0000_0ffcn;
  if (shape.lpa2 === true) mask &= ~0x300n;
  // RES0 and nT below a block's own size; OA[51:48] of the 64K granule is there as well.
  if (shape.level < 3) mask |= ((1n << BigInt(Math.min(shape.leafLog2, 48))) - 1n) & ~0xffffn;
  return (random & mask) | (isContiguous ? 1n << 52n : 0n) | (shape.level === 3 ? 3n : 1n);
}
